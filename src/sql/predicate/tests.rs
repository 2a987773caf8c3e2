use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use proptest::prelude::*;

use super::*;

fn columns() -> Schema {
    Schema::new(vec![
        Field::new("email", DataType::Utf8, true),
        Field::new("category", DataType::Utf8, true),
        Field::new("Odd Name", DataType::Utf8, true),
        Field::new("select", DataType::Int32, true),
        Field::new("days", DataType::Int32, true),
        Field::new("big", DataType::Int64, true),
        Field::new("amount", DataType::Decimal128(10, 2), true),
        Field::new("score", DataType::Float64, true),
        Field::new("bought_at", DataType::Date32, true),
        Field::new("paid_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("seen_at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("member", DataType::Boolean, true),
        Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
    ])
}

fn filter_on() -> Vec<String> {
    let names = [
        "category",
        "Odd Name",
        "select",
        "days",
        "big",
        "amount",
        "score",
        "bought_at",
        "paid_at",
        "seen_at",
        "member",
        "tags",
    ];
    names.map(str::to_owned).to_vec()
}

fn parse(text: &str) -> Result<Expr, NotAllowed> {
    parse_filter(text, &columns(), &filter_on())
}

/// The least and greatest values of every type, nulls, and text of every kind.
fn extremes() -> RecordBatch {
    let texts = || {
        Arc::new(StringArray::from(vec![None, Some(""), Some("ß\u{1F600}'%_\\"), Some("toys"), Some("-12e400")]))
            as ArrayRef
    };
    let schema = columns();
    let days = || Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(i32::MAX), Some(0), Some(-1)])) as ArrayRef;
    let far = vec![None, Some(i64::MIN), Some(i64::MAX), Some(0), Some(1_700_000_000_000_000)];
    let arrays: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "select" | "days" => days(),
            "big" => Arc::new(Int64Array::from(far.clone())) as ArrayRef,
            "amount" => Arc::new(
                Decimal128Array::from(vec![None, Some(-9_999_999_999), Some(9_999_999_999), Some(0), Some(1)])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            "score" => Arc::new(Float64Array::from(vec![
                None,
                Some(f64::NAN),
                Some(f64::INFINITY),
                Some(f64::MIN),
                Some(-0.0),
            ])),
            "bought_at" => {
                Arc::new(Date32Array::from(vec![None, Some(i32::MIN), Some(i32::MAX), Some(0), Some(20_000)]))
            }
            "paid_at" => Arc::new(TimestampMicrosecondArray::from(far.clone())),
            "seen_at" => Arc::new(TimestampNanosecondArray::from(far.clone())),
            "member" => Arc::new(BooleanArray::from(vec![None, Some(true), Some(false), Some(true), Some(false)])),
            "tags" => datafusion::arrow::array::new_null_array(field.data_type(), 5),
            _ => texts(),
        })
        .collect();
    RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
}

fn evaluate(filter: &Expr, rows: &RecordBatch) -> Vec<Option<bool>> {
    let schema = DFSchema::try_from(rows.schema().as_ref().clone()).unwrap();
    let physical =
        create_physical_expr(filter, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default()).unwrap();
    let values = physical.evaluate(rows).unwrap_or_else(|error| panic!("{filter} fails on a value: {error}"));
    let array = values.into_array(rows.num_rows()).unwrap();
    array.as_any().downcast_ref::<BooleanArray>().unwrap().iter().collect()
}

const ACCEPTED: &[&str] = &[
    "category = 'toys'",
    "category <> 'toys' AND (days >= 3 OR days IS NULL)",
    "days IN (1, 2, 3, 5, 8)",
    "days NOT IN (1, 2, 3, 5, 8)",
    "category IN ('toys', NULL)",
    "(days NOT IN (1, 2, NULL)) IS NOT FALSE",
    "days BETWEEN -5 AND 5",
    "amount >= 12.50",
    "amount NOT BETWEEN 0.01 AND 99999999.99",
    "score < 0.1",
    "score > 1e300",
    "big > 2147483648",
    "days < 3000000000",
    "days = big",
    "days < score",
    "bought_at >= DATE '2026-03-01'",
    "bought_at < '2026-03-01'",
    "paid_at >= TIMESTAMP '2026-03-01 10:00:00'",
    "paid_at < '2026-03-01'",
    "TRY_CAST(bought_at AS TIMESTAMP) > TIMESTAMP '2026-03-01 10:00:00'",
    "bought_at > TIMESTAMP '2026-03-01 10:00:00'",
    "category LIKE 't_y%'",
    "category NOT ILIKE '%\\%%'",
    "member",
    "NOT member",
    "member IS NOT TRUE",
    "member IS UNKNOWN",
    "lower(category) = 'toys'",
    "upper(category) IN ('A', 'B', 'C', 'D')",
    "character_length(category) > 3",
    "octet_length(category) > 3",
    "starts_with(category, 'to') OR ends_with(category, 'ys') OR contains(category, 'oy')",
    "strpos(category, 'oy') > 0",
    "left(category, 2) = 'to' OR right(category, 2) = 'ys'",
    "substr(category, 2, 2) = 'oy'",
    "substring(category from 2 for 2) = 'oy'",
    "trim(category) = 'toys' OR ltrim(category) = 'x' OR trim(both 'xy' from category) = 'z'",
    "EXTRACT(YEAR FROM bought_at) = 2026",
    "EXTRACT(MONTH FROM bought_at) IN (3, 4, 5, 6)",
    "date_part('dow', paid_at) = 0 OR date_part('hour', paid_at) > 12 OR date_part('week', seen_at) = 7",
    "date_part('second', seen_at) = 1 OR date_part('millisecond', seen_at) = 1 OR date_part('quarter', bought_at) = 1",
    "date_part('doy', bought_at) = 1 OR date_part('isodow', bought_at) = 1 OR date_part('minute', paid_at) = 1 OR date_part('day', bought_at) = 3",
    "coalesce(category, 'none') = 'none' OR nvl(category, 'none') = 'none' OR ifnull(category, 'x') = 'x'",
    "greatest(days, 3) = 3 OR least(days, big) < 0 OR greatest(score, 1.5) > 2.5",
    "initcap(category) = 'Toys' OR reverse(category) = 'syot' OR ascii(category) = 116",
    "position('oy' IN category) = 2",
    "length(category) > 3 OR char_length(category) > 3 OR btrim(category) = 'toys' OR rtrim(category) = 'toys'",
    "EXTRACT(DOW FROM bought_at) = 0 OR date_part('month', paid_at) = 3",
    "(days = 1) = member OR (days IN (1, 2)) IS TRUE",
    "nullif(category, 'none') IS NULL",
    "CASE WHEN days > 3 THEN category ELSE 'x' END = 'x'",
    "category IS DISTINCT FROM 'toys'",
    "category IS NOT DISTINCT FROM NULL",
    "\"Odd Name\" = 'x' AND \"select\" = 1",
    "DATE '2026-03-01' <= bought_at",
    "CAST(days AS BIGINT) = 3 AND CAST(days AS VARCHAR) LIKE '3%'",
];

#[test]
fn accepted_filters_evaluate_on_the_ugliest_values() {
    let rows = extremes();
    for text in ACCEPTED {
        let filter = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(evaluate(&filter, &rows).len(), rows.num_rows(), "{text}");
    }
}

#[test]
fn what_the_requester_writes_means_the_same_to_the_owner() {
    let rows = extremes();
    let schema = filter_schema(&columns(), &filter_on()).unwrap();
    let moment = Moment::now(&ConfigOptions::default());
    let folded = [
        "days > 2 * 3 + 4",
        "bought_at >= DATE '2026-03-01' - INTERVAL '1 month'",
        "paid_at > now() - INTERVAL '1 year'",
        "score = CAST('NaN' AS DOUBLE) OR score > CAST('-inf' AS DOUBLE)",
        "amount = CAST(12.5 AS DECIMAL(4, 2))",
    ];
    for text in ACCEPTED.iter().chain(&folded) {
        let parsed = PARSER.create_logical_expr(text, &schema).unwrap();
        let written = render_filter(vec![parsed], &columns(), &filter_on(), &moment)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let written = written.unwrap_or_else(|| panic!("{text} is no constant"));
        let read = parse(&written).unwrap_or_else(|error| panic!("{text} written as {written}: {error}"));
        let meant = moment.fold(PARSER.create_logical_expr(text, &schema).unwrap(), &schema).unwrap();
        assert_eq!(evaluate(&read, &rows), evaluate(&meant, &rows), "{text} written as {written}");
    }
}

#[test]
fn refused_filters_name_the_part_that_is_in_the_way() {
    let deep = format!("{}member{}", "(".repeat(400), ")".repeat(400));
    let chain = vec!["days = 1"; 1200].join(" AND ");
    let long = format!("category = '{}'", "x".repeat(FILTER_BYTES_MAX));
    for (text, reason) in [
        ("", "no condition in SQL: Expected: an expression"),
        ("category = = 'x'", "no condition in SQL: Expected: an expression, found: ="),
        ("category = 'x", "no condition in SQL: Unterminated string literal"),
        (
            "email = 'x@y.z'",
            "column 'email' may not be filtered on (columns for filters: category, Odd Name, select, days, big, amount, \
             score, bought_at, paid_at, seen_at, member, tags); to allow it, the table's owner would have to have in filter_on",
        ),
        ("nothing = 1", "column 'nothing' may not be filtered on"),
        ("p.category = 'x'", "'p.category' is qualified"),
        ("p.email = 'x'", "column 'email' may not be filtered on"),
        ("category = 'x'; DROP TABLE t", "end of expression"),
        ("category = 'x' AS y", "no alias"),
        ("category", "of type Utf8"),
        ("tags IS NULL", "cannot be compared"),
        ("days + 1 > 3", "operator + on a column can overflow"),
        ("days * 2 > 3", "operator * on a column can overflow"),
        ("-days > 3", "negation"),
        ("10 / days > 3", "operator / can divide by zero"),
        ("10 % days > 3", "operator % can divide by zero"),
        ("category || 'x' = 'y'", "operator || can build"),
        ("days & 1 = 1", "operator & is not allowed"),
        ("category ~ '(a+)+$'", "regular expression"),
        ("category !~* 'a'", "regular expression"),
        ("category SIMILAR TO 'a%'", "regular expression"),
        ("regexp_like(category, 'a')", "function regexp_like is not allowed"),
        ("category LIKE category", "literal pattern"),
        ("category LIKE 'a' ESCAPE 'x'", "ESCAPE"),
        ("CAST(category AS INT) = 1", "CAST from Utf8 to Int32 can fail"),
        ("TRY_CAST(category AS INT) = 1", "TRY_CAST from Utf8 to Int32 can fail"),
        ("CAST(paid_at AS DATE) = DATE '2026-01-01'", "CAST from Timestamp"),
        ("CAST(big AS INT) = 1", "CAST from Int64 to Int32 can fail"),
        ("arrow_cast(category, 'Int32') = 1", "function arrow_cast"),
        ("random() < 0.5", "function random"),
        ("now() > paid_at", "function now"),
        ("bought_at > current_date", "function current_date"),
        ("repeat(category, 1000000000) = 'x'", "function repeat"),
        ("left(category, days) = 'x'", "literal numbers"),
        ("left(category, -9223372036854775808) = 'x'", "literal numbers"),
        ("substr(category, 1, -1) = 'x'", "literal numbers"),
        ("trim(both category from category) = 'x'", "literal text"),
        ("date_part(category, bought_at) = 1", "date_part and EXTRACT take one of"),
        ("date_part('epoch', bought_at) = 1", "date_part and EXTRACT take one of"),
        ("date_part('year', category) = 1", "can fail"),
        ("date_trunc('year', paid_at) = TIMESTAMP '2026-01-01'", "function date_trunc"),
        ("to_date(category) = bought_at", "function to_date"),
        ("abs(days) = 1", "function abs"),
        ("true", "same for every row"),
        ("1 = 2", "same for every row"),
        ("days > 1 + 1", "operator +"),
        ("days IN (SELECT 1)", "subquery"),
        ("EXISTS (SELECT 1)", "subquery"),
        ("days = (SELECT 1)", "subquery"),
        ("count(*) > 1", "function"),
        ("sum(days) OVER () > 1", "function"),
        ("days = $1", "parameter"),
        ("amount < score", "CAST from Float64 to Decimal"),
        ("days = @x", "variable"),
        ("sleep(100)", "function"),
        ("days = 1/0", "zero"),
        ("CAST('x' AS INT) = days", "cast"),
        ("category = ARRAY['x']", ""),
        ("tags = ARRAY['x']", ""),
        ("category ~~ 'a%'", "write LIKE"),
        ("category !~~* category", "write LIKE"),
        ("strpos(category, \"Odd Name\") > 0", "literal text to look for"),
        (deep.as_str(), "nested too deeply"),
        (chain.as_str(), "more than 2000 terms"),
        (long.as_str(), "bytes, more than"),
    ] {
        let error = parse(text).map(|filter| panic!("accepted: {text} as {filter}")).unwrap_err();
        let shown = error.to_string();
        assert!(shown.to_lowercase().contains(&reason.to_lowercase()), "{text:.100}: {shown}");
        assert!(shown.len() < 1000, "{text:.100}: the reason has {} bytes", shown.len());
    }
}

#[test]
fn what_would_cost_too_much_is_refused_before_it_does() {
    let nested = |open: &str, inner: &str, close: &str, deep: usize| {
        format!("{}{inner}{}", open.repeat(deep), close.repeat(deep))
    };
    let refused: Vec<(String, &str)> = vec![
        // Too large for a regular expression, in a branch that is not evaluated where no row reaches it.
        (
            format!(
                "CASE WHEN days = 5 THEN category LIKE '{}' WHEN days = 6 THEN category IS NULL \
                 WHEN days = 7 THEN category IS NOT NULL ELSE true END",
                "_".repeat(12_000)
            ),
            "more than 1000 bytes",
        ),
        (format!("category LIKE '{}'", "x".repeat(1001)), "more than 1000 bytes"),
        (format!("category NOT ILIKE 'a{}'", "_".repeat(101)), "more than 100 wildcards"),
        (vec![format!("category LIKE 'a{}'", "%b".repeat(26)); 4].join(" OR days = 1 OR "), "more than 100 wildcards"),
        (format!("btrim(category, '{}') = 'a'", "x".repeat(101)), "at most 100 bytes"),
        // The parser would try these twice at each depth, since what they hold is no SQL.
        (nested("TRIM(", "= =", ")", 40), "nested more than 8 deep"),
        (nested("CAST(", "= =", " AS INT)", 40), "nested more than 8 deep"),
        (nested("NOT (", "= =", ")", 40), "nested more than 8 deep"),
        (nested("[", "= =", "]", 40), "arrays and maps"),
        (nested("POSITION(", "= =", ")", 8), "no condition in SQL"),
        // Types and copies that would double at each depth.
        (nested("CASE WHEN ", "member", " THEN member END", 9), "CASE is nested more than 8 deep"),
        (nested("CASE WHEN ", "member", " = member THEN member END", 8), "once it is written out"),
        (nested("coalesce(", "category", ", \"Odd Name\", 'y')", 8) + " = 'x'", "once it is written out"),
        (nested("(", "member", " BETWEEN member AND member)", 15), "once it is written out"),
        (nested("(", "member", " IN (member, NOT member, member))", 11), "once it is written out"),
    ];
    for (text, reason) in refused {
        let error = parse(&text).map(|filter| panic!("accepted: {text:.100} as {filter}")).unwrap_err().to_string();
        assert!(error.contains(reason), "{text:.100}: {error}");
    }
}

#[test]
fn texts_that_are_trees_as_deep_as_they_are_long_are_refused_and_end_no_process() {
    let long =
        |first: &str, then: &str| format!("{first}{}", then.repeat((FILTER_BYTES_MAX - first.len()) / then.len()));
    for text in [
        long("days", "=days"),
        long("select", "+1"),
        long("category", "||''"),
        long("member", "::bool"),
        long("member", " IS NULL"),
        long("", "INTERVAL "),
        long("", "NOT "),
        long("", "CASE "),
        long("", "DATE "),
        long("days = 1", " AND member"),
        long("paid_at", " AT TIME ZONE 'UTC'"),
        long("category", " COLLATE a"),
        long("", "("),
        long("", "a."),
        vec!["member"; 900].join(" = "),
        vec!["days = 1"; 501].join(" = "),
    ] {
        let reader =
            std::thread::Builder::new().stack_size(2 << 20).spawn(move || parse(&text).unwrap_err().to_string());
        assert!(reader.unwrap().join().unwrap().starts_with("filter refused: "));
    }
}

#[test]
fn what_is_within_the_limits_is_read_and_evaluated() {
    let rows = extremes();
    let nested = |open: &str, inner: &str, close: &str, deep: usize| {
        format!("{}{inner}{}", open.repeat(deep), close.repeat(deep))
    };
    for text in [
        // Two characters have three cases each: the largest that a thousand bytes become.
        format!("category ILIKE '%{}_'", "k".repeat(998)),
        format!("category ILIKE '%{}%'", "s_".repeat(100)),
        format!("category LIKE 'a{}'", "_".repeat(100)),
        vec!["category ILIKE '%toys%'"; 200].join(" OR days = 1 OR "),
        nested("(", "member", " OR days = 1) AND category LIKE 'a%'", 20),
        nested("CASE WHEN ", "member", " THEN member END", 4),
        nested("coalesce(", "category", ", \"Odd Name\")", 4) + " = 'x'",
        nested("lower(", "category", ")", 8) + " = 'x'",
        nested("NOT (", "member", " OR days = 1)", 8),
        format!("CASE {} ELSE false END", "WHEN days = 1 THEN true WHEN days = 2 THEN false ".repeat(20)),
    ] {
        let filter = parse(&text).unwrap_or_else(|error| panic!("{text:.100}: {error}"));
        assert_eq!(evaluate(&filter, &rows).len(), rows.num_rows(), "{text:.100}");
    }
}

#[test]
fn whether_a_row_passes_an_accepted_filter_depends_on_no_other_row() {
    let rows = extremes();
    for text in ACCEPTED {
        let filter = parse(text).unwrap();
        let each: Vec<_> = (0..rows.num_rows()).flat_map(|row| evaluate(&filter, &rows.slice(row, 1))).collect();
        assert_eq!(evaluate(&filter, &rows), each, "{text}");
    }
}

#[test]
fn a_filter_at_its_limits_is_read_on_a_small_stack() {
    let terms = NODES_MAX_FOR_TEST / 4;
    let text = vec!["days = 1 OR days IS NULL"; terms / 2].join(" AND ");
    let text = text[..text.len().min(FILTER_BYTES_MAX)].rsplit_once(" AND ").unwrap().0.to_owned();
    let reader = std::thread::Builder::new().stack_size(2 << 20).spawn(move || parse(&text).map(drop).is_ok());
    assert!(reader.unwrap().join().expect("no stack overflow"));
}

const NODES_MAX_FOR_TEST: usize = super::allow::NODES_MAX;

#[test]
fn a_function_of_the_same_name_is_not_the_allowed_one() {
    use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
    let fake = create_udf(
        "lower",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(|arguments: &[ColumnarValue]| Ok(arguments[0].clone())),
    );
    let schema = filter_schema(&columns(), &filter_on()).unwrap();
    let (columns, filter_on) = (columns(), filter_on());
    let scope = Scope { columns: &columns, filter_on: &filter_on, schema: &schema };
    let argument = datafusion::prelude::col("category");
    let refusal = walk(&fake.call(vec![argument.clone()]), &scope).unwrap_err();
    assert!(refusal.what.contains("function lower is not allowed"), "{refusal}");
    walk(&datafusion::functions::string::lower().call(vec![argument]), &scope).unwrap();
}

/// Words of the grammar, from which sentences and nonsense are put together.
const WORDS: &[&str] = &[
    "category",
    "days",
    "amount",
    "bought_at",
    "paid_at",
    "score",
    "member",
    "email",
    "\"Odd Name\"",
    "=",
    "<",
    ">=",
    "<>",
    "AND",
    "OR",
    "NOT",
    "IN",
    "(",
    ")",
    ",",
    "BETWEEN",
    "LIKE",
    "IS",
    "NULL",
    "TRUE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST(",
    "AS",
    "INT",
    "DATE",
    "TRY_CAST(",
    "VARCHAR",
    "'toys'",
    "'2026-01-01'",
    "''",
    "0",
    "1",
    "-1",
    "1.5",
    "1e400",
    "99999999999",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "~",
    "lower(",
    "date_part(",
    "'year'",
    "substr(",
    "left(",
    "coalesce(",
    "nullif(",
    "now()",
    "random()",
    "SELECT",
    "INTERVAL",
    "'1 month'",
    "$1",
    "@x",
    ";",
    "--",
    "/*",
    "::",
    "[",
    "]",
    "{",
    "}",
    "EXTRACT(YEAR FROM",
    "EXISTS",
    "X'00'",
    "U&'\\0041'",
    "ARRAY[",
    "count(*)",
    "OVER",
    "\u{1F600}",
    "\u{0}",
    "\"",
    "'",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reading_never_panics_and_what_it_accepts_never_fails(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..14)) {
        if let Ok(filter) = parse(&words.join(" ")) {
            evaluate(&filter, &extremes());
        }
    }

    #[test]
    fn reading_arbitrary_text_never_panics(text in "\\PC{0,60}") {
        if let Ok(filter) = parse(&text) {
            evaluate(&filter, &extremes());
        }
    }

    #[test]
    fn conditions_of_literals_mean_the_same_on_both_sides(
        text in "\\PC{0,12}", number in any::<i32>(), cents in -9_999_999_999i64..=9_999_999_999, day in -100_000i32..100_000, double in any::<f64>(),
    ) {
        use datafusion::prelude::{col, lit};
        let cents = Expr::Literal(ScalarValue::Decimal128(Some(cents.into()), 10, 2), None);
        let day = Expr::Literal(ScalarValue::Date32(Some(day)), None);
        let rows = extremes();
        let moment = Moment::now(&ConfigOptions::default());
        for term in [
            col("category").eq(lit(text.clone())), col("category").like(lit(text)), col("days").lt(lit(number)), col("amount").gt_eq(cents),
            col("bought_at").lt_eq(day), col("score").gt(lit(double)),
        ] {
            // Failing closed is fine (no text says NaN); meaning something else is not.
            let Ok(Some(written)) = render_filter(vec![term.clone()], &columns(), &filter_on(), &moment) else { continue };
            let read = parse(&written).unwrap();
            let schema = filter_schema(&columns(), &filter_on()).unwrap();
            let meant = moment.fold(term, &schema).unwrap();
            prop_assert_eq!(evaluate(&read, &rows), evaluate(&meant, &rows), "{}", written);
        }
    }
}
