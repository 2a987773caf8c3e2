//! Random tables and random questions, private against the truth by persons.
//!
//! Tables are small and their identifiers few, so that nearly everybody shares one with somebody else; a fifth to four
//! fifths of them are missing. One identifier of four is met by two sides' rows in every way that there is.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::clear::Truth;
use super::kit::{World, rows_of};

/// Identifier columns of both tables.
const COLUMNS: [&str; 4] = ["a", "b", "c", "d"];

const CONDITIONS: [&str; 7] = [
    "t.kind = 'x'",
    "t.kind <> 'x'",
    "t.kind IS NULL OR t.amount > 0",
    "t.amount BETWEEN -5 AND 8",
    "NOT (t.amount < 3)",
    "t.amount IS NULL",
    "o.clicks > 2",
];

const AGGREGATES: [&str; 8] = [
    "PRIVATE_INTERSECT_COUNT(*)",
    "PRIVATE_INTERSECT_SUM(t.amount)",
    "PRIVATE_INTERSECT_COUNT(t.amount)",
    "PRIVATE_INTERSECT_AVG(t.price)",
    "PRIVATE_INTERSECT_SUM(t.price)",
    "PRIVATE_INTERSECT_COUNT(t.kind)",
    "PRIVATE_INTERSECT_SUM(o.clicks)",
    "PRIVATE_INTERSECT_AVG(o.clicks)",
];

/// Both tables, the advertiser's bounds, and some questions.
#[derive(Clone, Debug)]
struct Case {
    theirs: Vec<String>,
    ours: Vec<String>,
    bounds: (i32, i32, u32),
    filtered_rows: &'static str,
    questions: Vec<String>,
}

fn sql<T: std::fmt::Display>(cell: Option<T>) -> String {
    cell.map_or("NULL".to_owned(), |cell| format!("'{cell}'"))
}

/// Rows as tuples of VALUES: four identifiers, a number, a price, a kind.
fn rows() -> impl Strategy<Value = Vec<String>> {
    (1usize..=5, 0.2f64..0.8, 0usize..=16).prop_flat_map(|(alphabet, present, most)| {
        let identifier = proptest::option::weighted(present, select(["k", "K", "l", "kl", "m"][..alphabet].to_vec()));
        let cells = (
            proptest::collection::vec(identifier, COLUMNS.len()),
            proptest::option::weighted(0.8, -12i32..20),
            proptest::option::weighted(0.8, -400i32..900),
            proptest::option::weighted(0.8, select(vec!["x", "y", "z"])),
        );
        let row = cells.prop_map(|(identifiers, number, cents, kind)| {
            let price = cents.map(|cents| format!("{:.2}", f64::from(cents) / 100.0));
            let identifiers: Vec<String> = identifiers.into_iter().map(sql).collect();
            format!("({}, {}, {}, {})", identifiers.join(", "), sql(number), sql(price), sql(kind))
        });
        proptest::collection::vec(row, 0..=most)
    })
}

fn question() -> impl Strategy<Value = String> {
    let terms = subsequence(COLUMNS.to_vec(), 1..=4).prop_shuffle();
    let conditions = subsequence(CONDITIONS.to_vec(), 0..=2);
    let aggregates = subsequence(AGGREGATES.to_vec(), 1..=4);
    // One column of theirs in two terms, now and then.
    let twice = proptest::option::weighted(0.2, select(COLUMNS.to_vec()));
    (terms, conditions, aggregates, twice).prop_map(|(terms, conditions, aggregates, twice)| {
        let mut terms: Vec<String> = terms.iter().map(|column| format!("o.{column} = t.{column}")).collect();
        if let Some(column) = twice {
            terms.push(format!("upper(o.{column}) = t.{column}"));
        }
        let filter = match conditions.as_slice() {
            [] => String::new(),
            conditions => format!(" WHERE ({})", conditions.join(") AND (")),
        };
        let aggregates = aggregates.join(", ");
        format!("SELECT {aggregates} FROM ours o JOIN advertiser.theirs t ON {}{filter}", terms.join(" OR "))
    })
}

fn case() -> impl Strategy<Value = Case> {
    let bounds = (-10i32..10, 0i32..30, 1u32..4).prop_map(|(min, width, rows)| (min, min + width, rows));
    let questions = proptest::collection::vec(question(), 1..=4);
    (rows(), rows(), bounds, select(vec!["hide", "reveal"]), questions).prop_map(
        |(theirs, ours, bounds, filtered_rows, questions)| Case { theirs, ours, bounds, filtered_rows, questions },
    )
}

fn table(name: &str, rows: &[String]) -> String {
    let (rows, none) = match rows {
        [] => ("(NULL, NULL, NULL, NULL, NULL, NULL, NULL)".to_owned(), " WHERE false"),
        rows => (rows.join(", "), ""),
    };
    format!(
        // Each column may be null, also where no row of this case is.
        "CREATE TABLE {name} AS SELECT nullif(a, '#') AS a, nullif(b, '#') AS b, nullif(c, '#') AS c, nullif(d, '#') AS d, \
         CAST(nullif(number, '#') AS BIGINT) AS amount, CAST(nullif(number, '#') AS BIGINT) AS clicks, \
         CAST(nullif(price, '#') AS DECIMAL(8, 2)) AS price, nullif(kind, '#') AS kind \
         FROM (VALUES {rows}) AS v(a, b, c, d, number, price, kind){none};\n"
    )
}

async fn differences(case: &Case) -> Vec<String> {
    let tables = table("advertiser.theirs", &case.theirs) + &table("ours", &case.ours);
    let (min, max, rows) = case.bounds;
    let shares = format!(
        "[[share]]\ntable = \"theirs\"\nwith = [\"publisher\"]\nminimum_matched = 0\nfiltered_rows = \"{}\"\n\
         identifiers = {{ a = \"exact/1\", b = \"exact/1\", c = \"exact/1\", d = \"exact/1\" }}\n\
         requester_values = {{ min = {min}, max = {max}, max_rows = {rows} }}\nfilter_on = [\"kind\", \"amount\"]\n\
         [share.aggregates]\namount = {{ min = {min}, max = {max}, max_rows = {rows} }}\n\
         price = {{ min = {min}, max = {max}, max_rows = {rows} }}\nkind = {{ max_rows = {rows} }}\n\
         [share.budget]\npopulation = \"they\"\nqueries = 100\nsizes = {{ exact = true }}\noutputs = {{ noise = \"none\" }}\n",
        case.filtered_rows
    );
    let asks = "[[ask]]\nof = [\"advertiser\"]\npopulation = \"we\"\nrows = \"reveal\"\nidentifiers = 5\n\
                [ask.budget]\nqueries = 100\nsizes = { exact = true }\n";
    let world = World::new(&tables, &shares, asks, Truth::Persons).await;
    let (private, clear) = (world.private().await, world.clear().await);
    let mut differences = Vec::new();
    for question in &case.questions {
        let found = private.collect(question).await.map(|batches| rows_of(&batches).unwrap());
        let truth = clear.collect(question).await.map(|batches| rows_of(&batches).unwrap());
        match (found, truth) {
            (Ok(found), Ok(truth)) if found == truth => {}
            (found, truth) => differences.push(format!("{question}\ngave {found:?}\nand not {truth:?}")),
        }
    }
    differences
}

#[test]
fn random_questions_over_random_tables_give_the_truth() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let tested = TestRunner::new(config).run(&case(), |case| {
        let differences = runtime.block_on(differences(&case));
        prop_assert!(differences.is_empty(), "{}", differences.join("\n\n"));
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
}
