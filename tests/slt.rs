//! SQL against its truth: each query of tests/slt runs between two parties, and in plain SQL over both parties' tables in
//! one place. Both answers are held against the one that is written in the file (the format is sqllogictest's).
//!
//! A folder is a world with tables and policies of its own; see `slt/README.md`. `SLT_REWRITE=1 cargo test --test slt`
//! writes the private answers of today into the files, and still fails where the truth is another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "slt/answer.rs"]
mod answer;
#[path = "slt/clear.rs"]
mod clear;
#[path = "slt/derive.rs"]
mod derive;
#[path = "slt/generate.rs"]
mod generate;
#[path = "slt/kit.rs"]
mod kit;
#[path = "slt/persons.rs"]
mod persons;
#[path = "slt/random.rs"]
mod random;

use std::path::Path;
use std::time::Instant;

use sqllogictest::{
    AsyncDB, Condition, DBOutput, DefaultColumnType, QueryExpect, Record, default_normalizer, default_validator,
    strict_column_validator,
};

use clear::Truth;
use kit::{Engine, Failed, World};

/// The folders of tests/slt, and how the truth of their questions is found.
const WORLDS: [(&str, Truth); 7] = [
    ("unique", Truth::Join),
    ("people", Truth::Persons),
    ("grouped", Truth::Persons),
    ("types", Truth::Join),
    ("spellings", Truth::Join),
    ("dummies", Truth::Persons),
    ("refused", Truth::Join),
];

/// The one file of refusals that costs something: what only the other side, or the answer, can refuse.
const REFUSED_AFTER_THE_CHARGE: &str = "charged.slt";

/// Whether the files are written anew with what is answered today.
fn rewrites() -> bool {
    std::env::var_os("SLT_REWRITE").is_some()
}

fn records(path: &Path) -> Vec<Record<DefaultColumnType>> {
    sqllogictest::parse_file(path).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a file's records one after the other; what did not come as written.
async fn failures<F, M>(path: &Path, make: M) -> Vec<String>
where
    F: Future<Output = Result<Engine, Failed>>,
    M: FnMut() -> F,
{
    let mut runner = kit::runner(make);
    let mut failures = Vec::new();
    for record in records(path) {
        if let Err(error) = runner.run_async(record).await {
            failures.push(format!("{}", error.display(false)));
        }
    }
    failures
}

/// Writes what one engine answers today.
async fn rewrite<F, M>(path: &Path, make: M)
where
    F: Future<Output = Result<Engine, Failed>>,
    M: FnMut() -> F,
{
    let mut runner = kit::runner(make);
    let written = runner.update_test_file(path, " ", default_validator, default_normalizer, strict_column_validator);
    written.await.unwrap();
}

async fn every_file_of(world: &str) {
    let (_, truth) = WORLDS.into_iter().find(|(name, _)| *name == world).unwrap();
    let parties = World::open(world, truth).await;
    let private = || async { Ok(parties.private().await) };
    let mut wrong = Vec::new();
    for path in kit::files(world) {
        let (start, charged) = (Instant::now(), parties.charged());
        if rewrites() && world != "refused" {
            rewrite(&path, private).await;
            // What only the clear can answer; should it answer the rest otherwise, then the run below says so.
            rewrite(&path, || async { Ok(parties.clear().await) }).await;
        }
        let found = failures(&path, private).await;
        wrong.extend(found.into_iter().map(|error| format!("in private: {error}")));
        let asked = start.elapsed();
        if world != "refused" {
            let found = failures(&path, || async { Ok(parties.clear().await) }).await;
            wrong.extend(found.into_iter().map(|error| format!("in the clear: {error}")));
        } else if parties.charged() != charged && !path.ends_with(REFUSED_AFTER_THE_CHARGE) {
            wrong.push(format!("{}: a refusal was charged: {charged:?}, then {:?}", path.display(), parties.charged()));
        }
        eprintln!("{}: {asked:.1?} in private, {:.1?} in the clear", path.display(), start.elapsed() - asked);
    }
    let (asked, answered) = parties.charged();
    eprintln!("{world}: {asked} queries charged by the publisher, {answered} by the advertiser");
    assert!(wrong.is_empty(), "{} failed\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unique_persons_give_the_plain_join() {
    generated_files_are_up_to_date("unique");
    every_file_of("unique").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn persons_of_many_rows_that_share_identifiers_give_the_waterfall() {
    generated_files_are_up_to_date("people");
    every_file_of("people").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_filters_of_one_number_and_variances_are_those_of_persons() {
    every_file_of("grouped").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_every_type_are_matched_summed_and_filtered_or_refused_by_name() {
    every_file_of("types").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spellings_of_one_identifier_meet_and_those_of_two_do_not() {
    every_file_of("spellings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dummies_and_padding_leave_the_answers_as_they_are() {
    every_file_of("dummies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_is_refused_in_words_and_costs_nothing() {
    every_file_of("refused").await;
}

/// Where identifiers are unique, persons and the plain join are two truths that know nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_join_and_the_persons_agree_where_both_are_the_truth() {
    let parties = World::open("unique", Truth::Persons).await;
    let found = failures(&kit::folder("unique").join("generated.slt"), || async { Ok(parties.clear().await) }).await;
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// The questions of `generated.slt` are those of the generator.
fn generated_files_are_up_to_date(world: &str) {
    let path = kit::folder(world).join("generated.slt");
    let questions = generate::questions(world).unwrap();
    let found: Vec<String> = match path.exists() {
        true => records(&path).into_iter().filter_map(asked).map(|(sql, _)| sql).collect(),
        false => Vec::new(),
    };
    if found != questions && rewrites() {
        std::fs::write(&path, generate::file(&questions)).unwrap();
    } else {
        assert!(found == questions, "{} is not the generator's of today: SLT_REWRITE=1 writes it", path.display());
    }
}

/// A question that is to be answered, with the engine that alone is asked, if it is one.
fn asked(record: Record<DefaultColumnType>) -> Option<(String, Option<String>)> {
    let Record::Query { sql, conditions, expected: QueryExpect::Results { .. }, .. } = record else { return None };
    let only = conditions.into_iter().find_map(|condition| match condition {
        Condition::OnlyIf { label } => Some(label),
        Condition::SkipIf { .. } => None,
    });
    Some((sql, only))
}

/// The private questions of all worlds that are answered both ways, and what stands for the truth of those that SQL's
/// own functions cannot answer from the same text.
#[test]
fn hundreds_of_questions_are_answered_in_private_and_in_the_clear() {
    let mut answered = 0;
    for (world, _) in WORLDS {
        for path in kit::files(world) {
            let mut pending: Option<(String, Vec<String>)> = None;
            for record in records(&path) {
                let expected = match &record {
                    Record::Query { expected: QueryExpect::Results { results, .. }, .. } => results.clone(),
                    _ => Vec::new(),
                };
                let Some((sql, only)) = asked(record) else { continue };
                match (only.as_deref(), pending.take()) {
                    (Some("private"), None) => pending = Some((sql, expected)),
                    (Some("clear"), Some((private, answer))) => {
                        assert_eq!(answer, expected, "{}: {private} and its truth differ", path.display());
                        answered += 1;
                    }
                    (None, None) if world != "refused" => {
                        answered += usize::from(sql.to_uppercase().contains("PRIVATE_INTERSECT_"));
                    }
                    (None, None) => {}
                    (only, pending) => panic!("{}: {sql} stands for {only:?} after {pending:?}", path.display()),
                }
            }
            assert!(pending.is_none(), "{}: {pending:?} has no truth", path.display());
        }
    }
    assert!(answered >= 300, "{answered} questions");
    eprintln!("{answered} questions");
}

#[test]
fn every_folder_is_a_world() {
    let folders = std::fs::read_dir(kit::folder("")).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<String> = folders
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut known = WORLDS.map(|(name, _)| name);
    known.sort_unstable();
    assert_eq!(found, known);
    for world in known {
        assert!(!kit::files(world).is_empty(), "{world} asks nothing");
    }
}

/// A suite whose two sides could not differ would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_answer_or_a_wrong_truth_would_be_seen() {
    let parties = World::open("people", Truth::Persons).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.slt");
    let query =
        "query I\nSELECT PRIVATE_INTERSECT_COUNT(*) FROM sightings s JOIN advertiser.visits v ON s.email = v.email\n";
    std::fs::write(&path, format!("{query}----\n1\n")).unwrap();
    assert_eq!(failures(&path, || async { Ok(parties.private().await) }).await.len(), 1);
    assert_eq!(failures(&path, || async { Ok(parties.clear().await) }).await.len(), 1);
    // A plain join counts rows where persons are asked for.
    let joined = World::open("people", Truth::Join).await;
    let mut plain = joined.clear().await;
    let sql = query.split_once('\n').unwrap().1;
    let (persons, rows) = (parties.clear().await.run(sql).await, plain.run(sql).await);
    let number = |answer| match answer {
        Ok(DBOutput::Rows { rows, .. }) => rows[0][0].parse::<u64>().unwrap(),
        _ => panic!("no row"),
    };
    let (persons, rows) = (number(persons), number(rows));
    assert!(rows > persons, "{rows} rows, {persons} persons");
}
