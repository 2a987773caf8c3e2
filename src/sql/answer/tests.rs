use super::super::query::PrivateOutput;
use super::*;
use crate::dp::Noise;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};
use datafusion::arrow::util::pretty::pretty_format_batches;

fn word(decimals: u8) -> WordTerms {
    noisy(decimals, Noise::None)
}

fn noisy(decimals: u8, noise: Noise) -> WordTerms {
    WordTerms { min: 0, max: 1 << 40, decimals, noise }
}

fn schema(types: &[DataType]) -> SchemaRef {
    let fields = types.iter().enumerate().map(|(index, kind)| Field::new(format!("c{index}"), kind.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// An answer of one row.
fn one<'a>(
    schema: &'a SchemaRef,
    outputs: &'a [ResultColumn],
    words: &'a [WordTerms],
    cells: &'a [Vec<i128>],
) -> Answer<'a> {
    Answer { schema, groups: &[], outputs, words, labels: None, own: &[], hidden_by: None, cells }
}

fn row(types: &[DataType], outputs: &[PrivateOutput], decimals: &[u8], sums: &[i128]) -> Result<String, Error> {
    let words: Vec<WordTerms> = decimals.iter().map(|decimals| word(*decimals)).collect();
    let outputs: Vec<ResultColumn> = outputs.iter().map(|output| ResultColumn::from(*output)).collect();
    let batch = one(&schema(types), &outputs, &words, &[sums.to_vec()]).rows()?;
    Ok(pretty_format_batches(&[batch]).unwrap().to_string().lines().nth(3).unwrap().to_owned())
}

/// The rows as text, cells by `|`.
fn text(batch: &RecordBatch) -> Vec<String> {
    let text = pretty_format_batches(std::slice::from_ref(batch)).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
}

#[test]
fn every_output_has_its_sql_type_and_its_exact_value() {
    let text = row(
        &[DataType::Int64, DataType::Int64, DataType::Decimal128(38, 2), DataType::Float64, DataType::Float64],
        &[
            PrivateOutput::Count(0),
            PrivateOutput::Sum(1),
            PrivateOutput::Sum(2),
            PrivateOutput::Sum(3),
            PrivateOutput::Avg { sum: 3, rows: 0 },
        ],
        &[0, 0, 2, 3],
        &[4, -17, 123_456_789_012_345_678_901, 1_500],
    )
    .unwrap();
    assert_eq!(
        text.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>(),
        ["4", "-17", "1234567890123456789.01", "1.5", "0.375"]
    );
}

#[test]
fn an_interval_is_as_wide_as_the_noise_and_that_of_a_ratio_holds_every_quotient_of_its_parts() {
    // A discrete Laplace of scale 20: 95 % of it is within 60, 97.5 % within 74.
    let noise: Noise = "laplace 20/1".parse().unwrap();
    let (at_95, at_975) = (noise.interval(0.95) as i128, noise.interval(0.975) as i128);
    assert!((55..=65).contains(&at_95) && (70..=78).contains(&at_975), "{at_95} {at_975}");
    let words = [noisy(1, noise.clone()), noisy(0, noise)];
    let (sum, rows) = (50_000_i128, 1_000_i128);
    let parts = [ResultPart::Value, ResultPart::Low, ResultPart::High, ResultPart::Error];
    let of = |of: PrivateOutput, kind: DataType| {
        let outputs = parts.map(|part| ResultColumn { of, part });
        one(&schema(&[kind.clone(), kind.clone(), kind.clone(), kind]), &outputs, &words, &[vec![sum, rows]])
            .rows()
            .unwrap()
    };
    let sums = of(PrivateOutput::Sum(0), DataType::Decimal128(38, 1));
    let shown: Vec<i128> =
        sums.columns().iter().map(|c| c.as_any().downcast_ref::<Decimal128Array>().unwrap().value(0)).collect();
    assert_eq!(shown, [sum, sum - at_95, sum + at_95, at_95]);
    let means = of(PrivateOutput::Avg { sum: 0, rows: 1 }, DataType::Float64);
    let mean: Vec<f64> =
        means.columns().iter().map(|c| c.as_any().downcast_ref::<Float64Array>().unwrap().value(0)).collect();
    let (low, high) =
        ((sum - at_975) as f64 / 10.0 / (rows + at_975) as f64, (sum + at_975) as f64 / 10.0 / (rows - at_975) as f64);
    assert_eq!(mean, [5.0, low, high, high - 5.0]);
    let outputs = [ResultColumn { of: PrivateOutput::Avg { sum: 0, rows: 1 }, part: ResultPart::Low }];
    let few = one(&schema(&[DataType::Float64]), &outputs, &words, &[vec![sum, 30]]).rows();
    assert_eq!(few.unwrap().column(0).null_count(), 1, "a count that may be zero bounds no mean");
}

#[test]
fn a_sum_over_no_match_is_zero_and_an_average_is_null() {
    let text = row(
        &[DataType::Decimal128(38, 1), DataType::Float64],
        &[PrivateOutput::Sum(0), PrivateOutput::Avg { sum: 0, rows: 1 }],
        &[1, 0],
        &[0, 0],
    )
    .unwrap();
    assert_eq!(text.split('|').map(str::trim).collect::<Vec<_>>(), ["", "0.0", "", ""]);
}

fn spread(sample: bool, root: bool) -> PrivateOutput {
    PrivateOutput::Spread { squares: 0, sum: 1, rows: 2, sample, root }
}

/// Σx², Σx and n of some values with `decimals` decimals.
fn moments(values: &[i128]) -> Vec<i128> {
    vec![values.iter().map(|value| value * value).sum(), values.iter().sum(), values.len() as i128]
}

#[test]
fn variances_are_those_of_plain_sql() {
    // 0.10, 0.40, 0.70: mean 0.40, squares of the differences 0.09 + 0 + 0.09.
    let of = |output, sums: &[i128]| row(&[DataType::Float64], &[output], &[4, 2, 0], sums).unwrap();
    let value = |text: String| text.trim_matches(['|', ' ']).parse::<f64>().ok();
    let values = moments(&[10, 40, 70]);
    for (output, expected) in [
        (spread(true, false), 0.09),
        (spread(false, false), 0.06),
        (spread(true, true), 0.3),
        (spread(false, true), 0.06_f64.sqrt()),
    ] {
        let found = value(of(output, &values)).unwrap();
        assert!((found - expected).abs() < 1e-15, "{output:?}: {found} instead of {expected}");
    }
    // Large values and a small spread: what 64-bit floats alone would lose.
    let far = moments(&[10_i128.pow(12) + 1, 10_i128.pow(12) + 3]);
    assert_eq!(value(of(spread(true, false), &far)).unwrap(), 0.0002);
    assert_eq!(value(of(spread(true, false), &moments(&[5]))), None, "one row has no variance");
    assert_eq!(value(of(spread(false, false), &moments(&[5]))), Some(0.0), "but it has one of a population");
    assert_eq!(value(of(spread(false, false), &[0, 0, 0])), None);
    // Noise may take it below zero: shown as it is, and without a root.
    assert_eq!(value(of(spread(true, false), &[0, 100, 2])), Some(-0.5));
    assert_eq!(value(of(spread(true, true), &[0, 100, 2])), None);
}

#[test]
fn the_interval_of_a_variance_holds_it_whatever_its_parts_noises_are() {
    let noise: Noise = "laplace 5/1".parse().unwrap();
    let words = [noisy(0, "laplace 400/1".parse().unwrap()), noisy(0, noise.clone()), noisy(0, noise.clone())];
    let confidence = 1.0 - 0.05 / 3.0;
    let errors = [words[0].noise.interval(confidence) as i128, noise.interval(confidence) as i128];
    let mut shown = 0;
    for values in [(0..200).collect::<Vec<i128>>(), (-100..100).collect(), (-300..-100).collect()] {
        let truth = moments(&values);
        let exact = |sample: f64| {
            let (squares, sum, rows) = (truth[0] as f64, truth[1] as f64, truth[2] as f64);
            (squares - sum * sum / rows) / (rows - sample)
        };
        for (dx, dy, dn) in (0..27).map(|code| (code % 3 - 1, code / 3 % 3 - 1, code / 9 - 1)) {
            let seen = vec![truth[0] + dx * errors[0], truth[1] + dy * errors[1], truth[2] + dn * errors[1]];
            for (sample, root) in [(true, false), (false, false), (true, true), (false, true)] {
                let outputs = [ResultPart::Value, ResultPart::Low, ResultPart::High, ResultPart::Error]
                    .map(|part| ResultColumn { of: spread(sample, root), part });
                let batch = one(&schema(&vec![DataType::Float64; 4]), &outputs, &words, std::slice::from_ref(&seen))
                    .rows()
                    .unwrap();
                let number = |column: usize| {
                    batch.column(column).as_primitive::<datafusion::arrow::datatypes::Float64Type>().value(0)
                };
                let truth = exact(f64::from(u8::from(sample)));
                let truth = if root { truth.sqrt() } else { truth };
                let (value, low, high, error) = (number(0), number(1), number(2), number(3));
                assert!(low <= truth && truth <= high, "{truth} not in {low}..{high} at {dx} {dy} {dn}");
                if batch.column(0).is_null(0) {
                    // A root of a negative number, around which there is nothing either.
                    assert!(root && batch.column(3).is_null(0));
                    continue;
                }
                shown += 1;
                assert!((value - error) <= truth && truth <= value + error, "{truth}: {value} ± {error}");
            }
        }
    }
    assert!(shown > 200, "{shown} of 324 have a value");
}

#[test]
fn exact_releases_have_intervals_of_no_width_also_where_they_are_computed() {
    let words = [word(4), word(2), word(0)];
    let outputs = [ResultPart::Value, ResultPart::Low, ResultPart::High, ResultPart::Error]
        .map(|part| ResultColumn { of: spread(true, true), part });
    let cells = [moments(&[11, 47, 71, 12_345])];
    let kinds = schema(&vec![DataType::Float64; 4]);
    let answer = one(&kinds, &outputs, &words, &cells);
    let numbers = text(&answer.rows().unwrap()).remove(0);
    let numbers: Vec<&str> = numbers.split('|').collect();
    assert_eq!((numbers[1], numbers[2], numbers[3]), (numbers[0], numbers[0], "0.0"));
    assert_eq!(answer.errors(), vec![vec![Some(0.0)]; 4]);
}

fn groups() -> (Vec<ArrayRef>, Vec<String>) {
    let parts: ArrayRef = Arc::new(StringArray::from(vec![Some("autumn"), Some("spring"), None]));
    (vec![parts], ["toys", "books"].map(str::to_owned).to_vec())
}

#[test]
fn every_label_of_every_group_has_a_row_and_small_ones_show_why_they_show_nothing() {
    let (own, labels) = groups();
    let kinds = schema(&[
        DataType::Utf8View,
        DataType::Utf8,
        DataType::Int64,
        DataType::Float64,
        DataType::Int64,
        DataType::Utf8,
    ]);
    let mean = PrivateOutput::Avg { sum: 1, rows: 2 };
    let outputs = [
        ResultColumn::from(PrivateOutput::Count(0)),
        ResultColumn::from(mean),
        ResultColumn { of: PrivateOutput::Count(0), part: ResultPart::Error },
        ResultColumn { of: mean, part: ResultPart::Note },
    ];
    let words = [word(0), word(1), word(0)];
    let cells: Vec<Vec<i128>> =
        [[5, 100, 4], [4, 100, 4], [50, 7, 0], [5, 0, 1], [-3, 1, 1], [6, -10, 2]].map(|cell| cell.to_vec()).to_vec();
    let answer = Answer {
        schema: &kinds,
        groups: &[GroupColumn::Labels, GroupColumn::Own(3)],
        outputs: &outputs,
        words: &words,
        labels: Some(&labels),
        own: &own,
        hidden_by: Some((0, 5)),
        cells: &cells,
    };
    let under = "fewer persons than the share's minimum, by their noisy count";
    assert_eq!(
        text(&answer.rows().unwrap()),
        [
            "toys|autumn|5|2.5|0|".to_owned(),
            format!("books|autumn||||{under}"),
            "toys|spring|50||0|no rows, by their noisy count".to_owned(),
            "books|spring|5|0.0|0|".to_owned(),
            format!("toys|||||{under}"),
            "books||6|-0.5|0|".to_owned(),
        ]
    );
    let exact = [Some(0.0), None, Some(0.0), Some(0.0), None, Some(0.0)].to_vec();
    assert_eq!(answer.errors()[0], exact, "what is hidden has no bound either");
    assert_eq!((answer.hidden(), Answer { hidden_by: None, ..answer }.hidden()), (2, 0));
    let bare = Answer { hidden_by: None, ..answer };
    assert_eq!(bare.rows().unwrap().column(2).null_count(), 0);
    assert!(matches!(Answer { cells: &cells[1..], ..bare }.rows(), Err(Error::Internal(_))));
}

#[test]
fn labels_are_values_of_every_type_that_may_be_grouped_by_and_of_no_other() {
    let dictionary = |values: DataType| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
    let of = |labels: &[&str], kind: &DataType| {
        label_values(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>(), kind)
    };
    let texts: &[&str] = &["toys", "5", ""];
    let (numbers, days): (&[&str], &[&str]) = (&["5", "100"], &["2026-03-01", "1969-12-31"]);
    for (labels, kind) in [
        (texts, DataType::Utf8),
        (texts, DataType::LargeUtf8),
        (texts, DataType::Utf8View),
        (texts, dictionary(DataType::Utf8)),
        (texts, dictionary(DataType::Utf8View)),
        (numbers, DataType::Int8),
        (numbers, DataType::Int16),
        (numbers, DataType::Int32),
        (numbers, DataType::Int64),
        (numbers, DataType::UInt8),
        (numbers, DataType::UInt16),
        (numbers, DataType::UInt32),
        (numbers, DataType::UInt64),
        (numbers, dictionary(DataType::Int64)),
        (&["true", "false"], DataType::Boolean),
        (days, DataType::Date32),
        (days, DataType::Date64),
    ] {
        let values = of(labels, &kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((values.data_type(), values.null_count()), (&kind, 0));
        // Date64 prints as a moment; its day is meant.
        let shown = if kind == DataType::Date64 { cast(&values, &DataType::Date32).unwrap() } else { values };
        let shown = cast(&cast(&shown, &DataType::Utf8).unwrap(), &DataType::Utf8).unwrap();
        assert_eq!(shown.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), labels, "{kind}");
    }
    for kind in [
        DataType::Float64,
        DataType::Decimal128(10, 2),
        DataType::Binary,
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::new_list(DataType::Utf8, true),
        dictionary(DataType::Float32),
    ] {
        let error = of(&["5"], &kind).unwrap_err().to_string();
        assert!(error.contains(&format!("of type {kind} cannot be shown")), "{error}");
    }
    assert!(of(&["toys"], &DataType::Int8).is_err() && of(&["300"], &DataType::Int8).is_err());
}

#[test]
fn a_total_outside_its_type_is_the_callers_error_and_never_wraps() {
    for (kind, decimals, edge) in [
        (DataType::Int64, 0, i128::from(i64::MAX)),
        (DataType::Int64, 0, i128::from(i64::MIN)),
        (DataType::Decimal128(38, 3), 3, 10_i128.pow(38) - 1),
        (DataType::Decimal128(38, 3), 3, 1 - 10_i128.pow(38)),
    ] {
        let sum = [PrivateOutput::Sum(0)];
        assert!(row(std::slice::from_ref(&kind), &sum, &[decimals], &[edge]).is_ok());
        let past = row(&[kind], &sum, &[decimals], &[edge + edge.signum()]).unwrap_err();
        assert!(matches!(&past, Error::Caller(text) if text.contains("'c0' does not fit")), "{past}");
    }
}

#[test]
fn shapes_that_planning_cannot_produce_are_internal_errors_and_no_panics() {
    let sum = [PrivateOutput::Sum(0)];
    let beyond = [PrivateOutput::Sum(3)];
    let count = [PrivateOutput::Count(0)];
    for (kind, outputs, decimals) in [
        (DataType::Utf8, &sum, 0),
        (DataType::Int64, &sum, 2),
        (DataType::Int64, &beyond, 0),
        (DataType::Int64, &count, 1),
    ] {
        assert!(matches!(row(&[kind], outputs, &[decimals], &[1]), Err(Error::Internal(_))));
    }
    assert!(matches!(row(&[DataType::Int64, DataType::Int64], &sum, &[0], &[1]), Err(Error::Internal(_))));
    let unfit = row(&[DataType::Float64], &[spread(true, false)], &[2, 2, 0], &[1, 1, 1]);
    assert!(matches!(unfit, Err(Error::Internal(_))), "squares have other decimals");
}
