//! The owner's side by itself: what its first message says, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::AsArray;

use super::kit::*;
use crate::policy::Budgets;
use crate::psi::{
    Aggregate, ChainLink, Error, Fault, Offer, Output, Question, Receipts, Responder, Session, SessionId, SizesTerms,
};
use crate::sql::{Asker, PolicySource};
use crate::transport::{PeerIdentity, TableSource};

pub(super) fn publisher_identity() -> PeerIdentity {
    PeerIdentity { name: "publisher".to_owned(), certificate: None }
}

/// A fresh session's: the books charge none twice.
pub(super) fn offer(filter: Option<&str>) -> Offer {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut session = [7; 16];
    session[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    Offer {
        session: SessionId(session),
        requester: "publisher".to_owned(),
        responder: "advertiser".to_owned(),
        nonce: [3; 32],
        question: Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned(), "phone".to_owned()],
            filter: filter.map(str::to_owned),
            aggregates: vec![Aggregate::Persons.into(), Aggregate::Sum { column: "amount".to_owned() }.into()],
            group_by: None,
            own_groups: false,
        },
        normalisers: vec!["email/1".to_owned(), "phone/1:US".to_owned()],
        persons: vec![11],
        dummies: 0,
        sizes: SizesTerms::Exact { queries: 100 },
        chain: vec![ChainLink { seq: 0, hash: [1; 32] }],
        receipts: Receipts::None,
        ot_width: 2,
    }
}

/// The field of the answer, the first message that leaves.
fn announced(mut session: Responder, field: &str) -> String {
    let Ok(Output::Batch(batch)) = session.poll_output() else { panic!("the answer is the first output") };
    let (names, values) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let row = (0..batch.num_rows()).find(|row| names.value(*row) == field).expect("the answer has the field");
    values.value(row).to_owned()
}

pub(super) async fn source(share: &str) -> (PolicySource, tempfile::TempDir, Budgets) {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(folder.path(), "purchases.parquet", PURCHASES).await;
    let party = Arc::new(advertiser(folder.path(), share));
    let budgets = Budgets::in_memory(&party);
    (PolicySource::new(party, budgets.clone()).unwrap(), folder, budgets)
}

#[tokio::test]
async fn filters_do_not_change_the_announced_length_where_the_policy_hides_it() {
    let (source, _folder, _) = source(OPEN_SHARE).await;
    for filter in [
        None,
        Some("category = 'toys'"),
        Some("amount > 100000"),
        Some("category IS NULL OR bought < DATE '2026-01-03'"),
    ] {
        let session = source.answer(&publisher_identity(), offer(filter)).await.unwrap();
        assert_eq!(announced(session, "persons"), "10", "{filter:?}");
    }
    let revealing = OPEN_SHARE.replace("minimum_matched = 0", "minimum_matched = 0\nfiltered_rows = \"reveal\"");
    let (source, _folder, _) = self::source(&revealing).await;
    for (filter, persons) in [(None, "10"), (Some("category = 'toys'"), "5"), (Some("amount > 100000"), "0")] {
        let session = source.answer(&publisher_identity(), offer(filter)).await.unwrap();
        assert_eq!(announced(session, "persons"), persons, "{filter:?}");
    }
}

#[tokio::test]
async fn a_padded_length_has_fillers_that_differ_from_query_to_query() {
    let padding = OPEN_SHARE
        .replace("minimum_matched = 0", "minimum_matched = 0\nfiltered_rows = \"pad\"")
        .replace("sizes = { exact = true }", "sizes = { epsilon = 2.0, delta = 1e-3 }")
        .replace("queries = 100", "queries = 8");
    let (source, _folder, _) = source(&padding).await;
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let session = source.answer(&publisher_identity(), offer(Some("category = 'toys'"))).await.unwrap();
        let length: u64 = announced(session, "persons").parse().unwrap();
        assert!(length >= 5, "never fewer than there are");
        lengths.insert(length);
    }
    assert!(lengths.len() > 1, "{lengths:?}");
}

#[tokio::test]
async fn the_policys_answer_comes_before_the_files_and_never_depends_on_rows() {
    let (source, folder, budgets) = source(OPEN_SHARE).await;
    let stranger = PeerIdentity { name: "stranger".to_owned(), certificate: None };
    let refused = |error: Error, words: &str| {
        assert_eq!(error.fault(), Fault::Refused, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(source.answer(&stranger, offer(None)).await.err().unwrap(), "stranger");
    refused(source.shares(&stranger).await.err().unwrap(), "stranger");
    let with = |change: &dyn Fn(&mut Offer)| {
        let mut offer = offer(None);
        change(&mut offer);
        offer
    };
    let ask = |offer: Offer| source.answer(&PUBLISHER, offer);
    static PUBLISHER: std::sync::LazyLock<PeerIdentity> = std::sync::LazyLock::new(publisher_identity);
    refused(ask(with(&|offer| offer.question.table = "salaries".to_owned())).await.err().unwrap(), "salaries");
    refused(ask(with(&|offer| offer.question.identifiers[1] = "ssn".to_owned())).await.err().unwrap(), "ssn");
    let secret = Aggregate::Sum { column: "born".to_owned() };
    refused(ask(with(&|offer| offer.question.aggregates[1] = secret.clone().into())).await.err().unwrap(), "born");
    for filter in [
        "email = 'user1@example.org'",
        "1 / amount > 2",
        "amount",
        "amount > (SELECT 1)",
        "amount > 1; DROP TABLE x",
        "nonsense =",
    ] {
        refused(
            ask(with(&|offer| offer.question.filter = Some(filter.to_owned()))).await.err().unwrap(),
            "filter refused",
        );
    }
    let other = ask(with(&|offer| offer.normalisers[0] = "exact/1".to_owned())).await.err().unwrap();
    assert_eq!(other.fault(), Fault::Incompatible, "{other}");
    assert_eq!(budgets.balances().unwrap()[0].spent, 0, "a refused question costs nothing");
    // The file is gone: known terms of shares stay true, answers say that the owner has to look.
    source.shares(&PUBLISHER).await.unwrap();
    std::fs::remove_file(folder.path().join("purchases.parquet")).unwrap();
    assert_eq!(source.shares(&PUBLISHER).await.unwrap().len(), 1);
    refused(ask(with(&|offer| offer.question.table = "salaries".to_owned())).await.err().unwrap(), "salaries");
    let gone = ask(offer(None)).await.err().unwrap();
    assert_eq!(gone.fault(), Fault::Environment);
    assert!(!gone.to_string().contains(folder.path().to_str().unwrap()), "{gone}");
    let mut broken = std::fs::File::create(folder.path().join("purchases.parquet")).unwrap();
    std::io::Write::write_all(&mut broken, b"not a table").unwrap();
    assert_eq!(ask(offer(None)).await.err().unwrap().fault(), Fault::Environment);
}

#[tokio::test]
async fn only_named_columns_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(folder.path(), "purchases.parquet", &format!("SELECT *, 'x' AS secret FROM ({PURCHASES})")).await;
    let party = Arc::new(advertiser(folder.path(), OPEN_SHARE));
    let source = PolicySource::new(Arc::clone(&party), Budgets::in_memory(&party)).unwrap();
    source.check().await.unwrap();
    let shares = source.shares(&publisher_identity()).await.unwrap();
    let names: Vec<&str> = shares[0].schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["email", "phone", "surname", "born", "amount", "price", "weight", "category", "bought"]);
    assert_eq!(shares[0].terms.table, "purchases");
}

#[tokio::test]
async fn a_table_that_changed_is_prepared_afresh() {
    let (source, folder, _) = source(OPEN_SHARE).await;
    let length = || async {
        let session = source.answer(&publisher_identity(), offer(Some("category = 'toys'"))).await.unwrap();
        announced(session, "persons")
    };
    assert_eq!(length().await, "10");
    assert_eq!(length().await, "10");
    let fewer = PURCHASES.replace("generate_series(1, 10)", "generate_series(1, 6)");
    write_parquet(folder.path(), "purchases.parquet", &fewer).await;
    assert_eq!(length().await, "6");
}

#[tokio::test]
async fn a_share_that_does_not_fit_its_table_is_found_at_start_and_not_offered() {
    let (source, _folder, _) = source(&OPEN_SHARE.replace("\"bought\", ", "\"bougth\", ")).await;
    let error = source.check().await.unwrap_err().to_string();
    assert!(error.contains("bougth") && error.contains("bought") && error.contains("party.toml:"), "{error}");
    let told = source.shares(&publisher_identity()).await.err().unwrap();
    assert_eq!(told.fault(), Fault::Environment);
    assert!(!told.to_string().contains("bougth"), "{told}");
}

/// What each phase of a run took, but for the time.
#[derive(Default)]
struct Counts(std::sync::Mutex<Vec<(String, u64, u64, u64)>>);

impl crate::transport::Observer for Counts {
    fn phase_closed(&self, report: &crate::transport::PhaseReport) {
        self.0.lock().unwrap().push((report.phase.to_string(), report.rows, report.bytes_up, report.bytes_down));
    }
}

#[tokio::test]
async fn two_filters_over_one_version_put_as_many_rows_and_bytes_on_the_wire() {
    // Over the real network; `frames` compares message by message, without one.
    let mut seen = Vec::new();
    // Equally long, so that the offer, which carries the text, is as well.
    for filter in ["p.amount > 10000", "p.amount > -9999", "p.amount > 00002"] {
        // Each with books of its own: the heads of their chains, which the hello carries, are about the runs before.
        let pair = Pair::open().await;
        let counts = Arc::new(Counts::default());
        let party = Arc::clone(pair.asker.party());
        let asker = Asker::new(party, pair.asker.budgets().clone()).unwrap().with_observer(Arc::clone(&counts) as _);
        let context = session(&Arc::new(asker)).await;
        let sql = format!(
            "SELECT PRIVATE_INTERSECT_SUM(p.amount) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email WHERE {filter}"
        );
        context.sql(&sql).await.unwrap().collect().await.unwrap();
        seen.push(std::mem::take(&mut *counts.0.lock().unwrap()));
    }
    let without_hello = |run: &Vec<(String, u64, u64, u64)>| run[1..].to_vec();
    assert!(seen[0].iter().any(|(phase, ..)| phase == "release"), "{seen:?}");
    assert_eq!(seen[0][0].3, seen[1][0].3, "the answer to the offer");
    for run in &seen[1..] {
        assert_eq!(without_hello(run), without_hello(&seen[0]));
    }
}

#[tokio::test]
async fn who_watches_is_spared_the_runs_that_the_analyst_does_not_want_shown() {
    let pair = Pair::open().await;
    let counts = Arc::new(Counts::default());
    let party = Arc::clone(pair.asker.party());
    let asker = Asker::new(party, pair.asker.budgets().clone()).unwrap().with_observer(Arc::clone(&counts) as _);
    let context = session(&Arc::new(asker)).await;
    let run = |sql: &'static str| async { context.sql(sql).await.unwrap().collect().await.unwrap() };
    let question =
        "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";
    run("SET psi.progress = false").await;
    run(question).await;
    assert!(counts.0.lock().unwrap().is_empty());
    run("SET psi.progress = true").await;
    run(question).await;
    assert!(!counts.0.lock().unwrap().is_empty());
}
