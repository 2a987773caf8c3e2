//! Questions that are answered from what was blinded before they came.

use datafusion::execution::memory_pool::MemoryConsumer;

use super::kit::*;
use super::responder::{offer, publisher_identity, source};
use crate::psi::{BlindedAhead, Error, Responder, SessionId};
use crate::sql::PolicySource;
use crate::transport::{SessionEnded, TableSource};

/// The open share, of a party that blinds ahead in 16 MB.
fn blinding() -> String {
    format!("{OPEN_SHARE}\n[limits]\nmemory_mb = 64\nblind_ahead_mb = 16\n")
}

/// What a table of ten shoppers takes by so many identifiers.
fn bytes(identifiers: u64) -> usize {
    BlindedAhead::bytes(10, identifiers) as usize
}

/// The session's end, as the transport tells it.
async fn end(source: &PolicySource, id: SessionId, answered: Result<Responder, Error>) {
    drop(answered.expect("an answer"));
    let gone = Error::Environment("the peer is gone".to_owned());
    let outcome = Err(&gone);
    let ended = SessionEnded { id, outcome, sizes: Vec::new(), seconds: 0.0, bytes_up: 0, bytes_down: 0 };
    source.ended(&publisher_identity(), ended).await;
}

#[tokio::test]
async fn questions_after_the_first_are_answered_from_what_was_blinded_ahead_and_as_plain_sql_would() {
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &blinding(), OPEN_ASK).await;
    let normal = "(SELECT lower(trim(email)) AS email, '+1212555' || right(phone, 4) AS phone FROM impressions)";
    for (terms, identifiers) in [("i.email = p.email", 1), ("i.email = p.email OR i.phone = p.phone", 2)] {
        for filter in
            ["", "WHERE p.category = 'toys'", "WHERE p.amount > 100000", "WHERE p.bought >= DATE '2026-01-06'"]
        {
            let private = "PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount)";
            let plain = "count(*), CAST(coalesce(sum(p.amount), 0) AS BIGINT)";
            let private =
                format!("SELECT {private} FROM impressions i JOIN advertiser.purchases p ON {terms} {filter}");
            let plain = format!("SELECT {plain} FROM {normal} i JOIN purchases p ON {terms} {filter}");
            assert_eq!(pair.row(&private).await, pair.truth(&plain).await, "{terms} {filter}");
            // Each list of identifiers is a table of its own; both are kept.
            pair.source.blinded_ahead(identifiers).await;
            assert_eq!(pair.source.memory_held(), if identifiers == 1 { bytes(1) } else { bytes(1) + bytes(2) });
        }
    }
}

#[tokio::test]
async fn a_session_takes_what_is_there_and_its_memory_and_leaves_the_place_to_the_next() {
    let (source, _folder, _) = source(&blinding()).await;
    for filter in [None, Some("category = 'toys'"), Some("amount > 100000")] {
        let question = offer(filter);
        let id = question.session;
        let answered = source.answer(&publisher_identity(), question).await;
        // Whatever was there is gone, and nothing is made while the session runs.
        source.blinded_ahead(0).await;
        let session_s = source.memory_held() / bytes(2);
        assert_eq!(
            session_s,
            usize::from(filter.is_some()),
            "its own, and that of the rows from the second question on"
        );
        end(&source, id, answered).await;
        source.blinded_ahead(1).await;
        assert_eq!(source.memory_held(), bytes(2), "all of it is given back, and taken up for the next");
    }
}

#[tokio::test]
async fn shares_that_drop_filtered_rows_are_never_blinded_ahead_and_none_is_without_the_setting() {
    let revealing = blinding().replace("minimum_matched = 0", "minimum_matched = 0\nfiltered_rows = \"reveal\"");
    for share in [revealing.as_str(), OPEN_SHARE] {
        let (source, _folder, _) = source(share).await;
        for filter in [None, Some("category = 'toys'")] {
            let question = offer(filter);
            let id = question.session;
            let answered = source.answer(&publisher_identity(), question).await;
            end(&source, id, answered).await;
            // Enough for whoever was woken by the session's end.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            source.blinded_ahead(0).await;
            assert_eq!(source.memory_held(), 0);
        }
    }
}

#[tokio::test]
async fn a_table_that_changed_is_blinded_anew_and_the_old_ones_memory_is_given_back() {
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &blinding(), OPEN_ASK).await;
    let sql = "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";
    assert_eq!(pair.row(sql).await, "7");
    pair.source.blinded_ahead(1).await;
    let fewer = PURCHASES.replace("generate_series(1, 10)", "generate_series(1, 6)");
    write_parquet(pair.folder.path(), "purchases.parquet", &fewer).await;
    for _ in 0..2 {
        assert_eq!(pair.row(sql).await, "3");
        pair.source.blinded_ahead(1).await;
        assert_eq!(pair.source.memory_held(), bytes(1));
    }
}

#[tokio::test]
async fn a_session_that_needs_the_room_gets_it_and_is_answered_all_the_same() {
    let (source, _folder, _) = source(&blinding()).await;
    let first = offer(None);
    let id = first.session;
    let answered = source.answer(&publisher_identity(), first).await;
    end(&source, id, answered).await;
    source.blinded_ahead(1).await;
    let others = MemoryConsumer::new("others").register(&source.memory());
    others.try_grow((64 << 20) - source.memory().reserved() - 1000).unwrap();
    let second = offer(Some("category = 'toys'"));
    let id = second.session;
    let answered = source.answer(&publisher_identity(), second).await;
    source.blinded_ahead(0).await;
    assert!(source.memory_held() > others.size() && source.memory_held() < others.size() + bytes(2));
    end(&source, id, answered).await;
    // Once it has ended, there is room again.
    source.blinded_ahead(1).await;
    assert_eq!(source.memory_held(), others.size() + bytes(2));
}
