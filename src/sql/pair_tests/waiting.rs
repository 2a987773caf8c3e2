//! A ledger that another process holds: who waits for it holds nobody else up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;

use super::kit::{Pair, session};
use crate::policy::{Budgets, SystemClock};
use crate::sql::Asker;

const QUESTION: &str =
    "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";

#[tokio::test]
async fn a_question_runs_to_its_end_while_more_than_there_are_cores_wait_for_a_held_ledger() {
    let pair = Pair::open().await;
    // The same party once more, with books on the disk.
    let party = Arc::clone(pair.asker.party());
    Budgets::create(&party).unwrap();
    let budgets = Budgets::load(&party, Arc::new(SystemClock)).unwrap();
    let held = session(&Arc::new(Asker::new(Arc::clone(&party), budgets).unwrap())).await;
    let other = rusqlite::Connection::open(party.state.join("ledger.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let ended = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..=rayon::current_num_threads())
        .map(|_| {
            let (held, ended) = (held.clone(), Arc::clone(&ended));
            SpawnedTask::spawn(async move {
                let _ = held.sql(QUESTION).await.unwrap().collect().await;
                ended.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pair.row(QUESTION).await, "7");
    assert_eq!(ended.load(Ordering::SeqCst), 0, "the ledger lets nobody through who has to write into it");

    other.execute_batch("ROLLBACK").unwrap();
    for task in waiting {
        // In words, if not with an answer: the peer has met another ledger of this party's meanwhile.
        task.join().await.unwrap();
    }
}
