//! Every file of sql-examples/ gives the truth, over Arrow Flight between the two parties of its story.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use datafusion_psi::cli::examples::{self, EXAMPLES, Measure, STORIES, Setting, Story};
use datafusion_psi::{Asker, Budgets, Party, SystemClock, peer_server, register_all, register_tables};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Small tables, and few dummies: the answers are exact whatever their number.
const SETTING: Setting = Setting {
    rows: 600,
    seed: 7,
    ports: [0, 0],
    epsilon: 20.0,
    outputs: "{ noise = \"none\" }",
    approval: "none",
    minimum_matched: 0,
};

/// Both parties of a story, serving in this process, and a session of each.
struct Parties {
    root: tempfile::TempDir,
    sessions: BTreeMap<&'static str, SessionContext>,
    /// Dropped, it ends both servers.
    _servers: JoinSet<()>,
}

async fn open(story: &'static Story) -> Parties {
    let root = tempfile::tempdir().unwrap();
    let mut listeners = Vec::new();
    let mut setting = SETTING;
    for port in &mut setting.ports {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *port = listener.local_addr().unwrap().port();
        listeners.push(listener);
    }
    story.write(root.path(), &setting).unwrap();
    let mut servers = JoinSet::new();
    let mut sessions = BTreeMap::new();
    for (outline, listener) in story.parties.iter().zip(listeners) {
        let party = Arc::new(Party::load(story.policy(root.path(), outline.name)).unwrap());
        let budgets = Budgets::load(&party, Arc::new(SystemClock)).unwrap();
        let server = peer_server(&party, budgets.clone()).unwrap();
        servers.spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        let mut ctx = SessionContext::new();
        register_tables(&ctx, &party).await.unwrap();
        register_all(&mut ctx, Arc::new(Asker::new(party, budgets).unwrap())).unwrap();
        sessions.insert(outline.name, ctx);
    }
    Parties { root, sessions, _servers: servers }
}

async fn every_example_of(name: &str) {
    let story = STORIES.iter().find(|story| story.name == name).unwrap();
    let parties = open(story).await;
    let mut asked = 0;
    for example in EXAMPLES {
        let question = example.question().unwrap();
        if question.story != name {
            continue;
        }
        let answer = examples::run(&parties.sessions[question.asks], question.sql).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", example.name));
        let truth = examples::truth(story, parties.root.path(), example.truth).await;
        let truth = truth.unwrap_or_else(|error| panic!("{}: {error}", example.name));
        let measures = examples::compare(&answer, &truth).unwrap_or_else(|error| panic!("{}: {error}", example.name));
        assert!(!measures.is_empty(), "{} measures nothing", example.name);
        for measure in &measures {
            assert!(measure.is_equal(), "{}: {measure:?}", example.name);
            assert!(measure.truth.is_some_and(|truth| truth > 0.0), "{} is about nobody: {measure:?}", example.name);
        }
        asked += 1;
    }
    assert!(asked > 0, "no example is of the story '{name}'");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_advertising_examples_give_the_truth() {
    every_example_of("advertising").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_examples_give_the_truth() {
    every_example_of("health").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banks_examples_give_the_truth() {
    every_example_of("banks").await;
}

#[test]
fn every_story_is_tested_above() {
    assert_eq!(STORIES.iter().map(|story| story.name).collect::<Vec<_>>(), ["advertising", "health", "banks"]);
}

#[test]
fn a_file_without_its_truth_or_that_the_demo_does_not_know_is_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-examples");
    let found: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sql"))
        .collect();
    let known =
        EXAMPLES.iter().flat_map(|example| ["sql", "truth.sql"].map(|ending| format!("{}.{ending}", example.name)));
    assert_eq!(
        found,
        known.collect(),
        "each example has NAME.sql, NAME.truth.sql, and its name in src/cli/demo/examples.rs"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_the_truth_would_be_seen() {
    let answer = SessionContext::new().sql("SELECT 'a' AS label, 41 AS n, 2.5 AS mean").await.unwrap();
    let truth = SessionContext::new().sql("SELECT 'a' AS label, 42 AS n, 2.5 AS mean").await.unwrap();
    let measures = examples::compare(&answer.collect().await.unwrap(), &truth.collect().await.unwrap()).unwrap();
    assert_eq!(measures.iter().map(Measure::is_equal).collect::<Vec<_>>(), [false, true]);
}
