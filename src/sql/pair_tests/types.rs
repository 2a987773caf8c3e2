//! Every Arrow type, as a column of a share: it works, or is refused by its name before anything is read.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;

use super::kit::advertiser;
use crate::policy::Party;
use crate::psi::normalise::Normaliser;
use crate::sql::parse_filter;

/// Of each type: whether it is an identifier (by exact/1), summed, grouped by, filtered on; a label and a condition.
struct Row {
    kind: DataType,
    works: &'static str,
    label: &'static str,
    condition: &'static str,
}

fn row(kind: DataType, works: &'static str, label: &'static str, condition: &'static str) -> Row {
    Row { kind, works, label, condition }
}

fn dictionary(keys: DataType, values: DataType) -> DataType {
    DataType::Dictionary(Box::new(keys), Box::new(values))
}

fn table() -> Vec<Row> {
    let field = |kind| Arc::new(Field::new("item", kind, true));
    let day = "c >= DATE '2026-01-01' AND date_part('year', c) = 2026";
    let moment = "c >= TIMESTAMP '2026-01-01 00:00:00' AND date_part('hour', c) < 12";
    let text = "c = 'x' OR c LIKE 'x%' OR lower(c) IN ('a', 'b')";
    let number = "c > 1 AND c BETWEEN -5 AND 100";
    // DataFusion compares a decimal of 32 or 64 bits with a whole number as whole numbers, which would cut its fraction off.
    let fraction = "c > 1.5 AND c BETWEEN -5.5 AND 100.5";
    let mut rows = vec![
        row(DataType::Null, "I", "x", "c = 'x'"),
        row(DataType::Boolean, "GF", "true", "c AND NOT c OR c IS NOT TRUE"),
        row(DataType::Float16, "F", "1", "c > 1"),
        row(DataType::Float32, "SF", "1", number),
        row(DataType::Float64, "SF", "1", number),
        row(DataType::Decimal32(5, 2), "SF", "1", fraction),
        row(DataType::Decimal64(12, 2), "SF", "1", fraction),
        row(DataType::Decimal128(20, 2), "SF", "1", number),
        row(DataType::Decimal256(50, 2), "F", "1", "c IS NOT NULL"),
        row(DataType::Date32, "IGF", "2026-01-01", day),
        row(DataType::Date64, "IGF", "2026-01-01", day),
        row(DataType::Utf8, "IGF", "x", text),
        row(DataType::LargeUtf8, "IGF", "x", text),
        row(DataType::Utf8View, "IGF", "x", text),
        row(dictionary(DataType::Int32, DataType::Utf8), "IGF", "x", text),
        row(dictionary(DataType::Int8, DataType::Int64), "IGF", "5", number),
        row(dictionary(DataType::UInt16, DataType::Float64), "F", "5", number),
        row(DataType::Duration(TimeUnit::Second), "", "5", "c IS NULL"),
        row(DataType::Interval(IntervalUnit::DayTime), "", "5", "c IS NULL"),
        row(DataType::List(field(DataType::Int64)), "", "5", "c IS NULL"),
        row(DataType::LargeList(field(DataType::Utf8)), "", "5", "c IS NULL"),
        row(DataType::FixedSizeList(field(DataType::Int64), 2), "", "5", "c IS NULL"),
        row(DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into()), "", "5", "c IS NULL"),
    ];
    for integer in [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ] {
        rows.push(row(integer, "ISGF", "5", number));
    }
    for binary in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView, DataType::FixedSizeBinary(4)] {
        rows.push(row(binary, "IF", "x", "c = X'00ff' OR c IS NULL"));
    }
    for time in [
        DataType::Time32(TimeUnit::Second),
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
    ] {
        // The engine compares no such time with one of nanoseconds, which is what a literal is.
        rows.push(row(time, "", "x", "c > TIME '10:00:00'"));
    }
    rows.push(row(DataType::Time64(TimeUnit::Nanosecond), "F", "x", "c > TIME '10:00:00'"));
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        rows.push(row(DataType::Timestamp(unit, None), "F", "x", moment));
    }
    rows
}

/// The advertiser's policy over a table with one more column, `c`.
fn policy(share: &str) -> Party {
    let share = format!(
        "{share}\nminimum_matched = 0\n[share.budget]\npopulation = \"shoppers\"\nqueries = 9\n\
         sizes = {{ exact = true }}\noutputs = {{ noise = \"none\" }}"
    );
    let share =
        if share.contains("identifiers") { share } else { format!("identifiers = {{ id = \"exact/1\" }}\n{share}") };
    advertiser(std::path::Path::new("."), &share)
}

fn check(share: &str, kind: &DataType) -> Result<(), String> {
    let schema = Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("c", kind.clone(), true)]);
    let party = policy(share);
    party.check_columns(&party.shares[0], &schema).map_err(|error| error.to_string())
}

/// Some values of a type, the least and greatest of integers cast to it among them, and NULL.
fn values(kind: &DataType) -> ArrayRef {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![
        None,
        Some(0),
        Some(1),
        Some(-1),
        Some(i64::MIN),
        Some(i64::MAX),
        Some(2_000_000),
    ]));
    let texts: ArrayRef =
        Arc::new(StringArray::from(vec![None, Some(""), Some("x"), Some("ß%_\\"), Some("2026-01-01")]));
    let some = |array: &ArrayRef| cast(array, kind).ok().filter(|array| array.null_count() < array.len());
    some(&numbers).or_else(|| some(&texts)).unwrap_or_else(|| new_null_array(kind, 3))
}

#[tokio::test]
async fn every_type_works_or_is_refused_by_its_name() {
    for Row { kind, works, label, condition } in table() {
        let expect = |letter: char, result: Result<(), String>| match (works.contains(letter), result) {
            (true, Ok(())) => {}
            (true, Err(error)) => panic!("{kind} should work ({letter}): {error}"),
            (false, Ok(())) => panic!("{kind} should be refused ({letter})"),
            (false, Err(error)) => {
                assert!(error.contains(&kind.to_string()), "{letter}: '{kind}' is not named in: {error}")
            }
        };
        let exact: Normaliser = "exact/1".parse().unwrap();
        let identifier = check("identifiers = { c = \"exact/1\" }", &kind);
        if identifier.is_ok() {
            exact.normalise(&values(&kind)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        expect('I', identifier);
        let decimals = if kind.is_floating() { ", decimals = 2" } else { "" };
        expect('S', check(&format!("aggregates = {{ c = {{ min = 0, max = 9, max_rows = 3{decimals} }} }}"), &kind));
        expect('G', check(&format!("group_by = {{ c = [\"{label}\"] }}"), &kind));
        let schema = Schema::new(vec![Field::new("c", kind.clone(), true)]);
        let filter = parse_filter(condition, &schema, &["c".to_owned()]);
        if let Ok(filter) = &filter {
            // Whatever the value: nothing fails.
            let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![values(&kind)]).unwrap();
            let columns = DFSchema::try_from(schema).unwrap();
            let physical =
                create_physical_expr(filter, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())
                    .unwrap();
            physical.evaluate(&rows).unwrap_or_else(|error| panic!("{kind}: {condition} fails on a value: {error}"));
        }
        expect('F', filter.map(drop).map_err(|error| error.to_string()));
        // Whatever can be shared can be counted.
        check("aggregates = { c = { max_rows = 3 } }", &kind).unwrap();
    }
}
