//! What the audit says, and that a changed row shows.

use super::*;
use crate::policy::{Direction, Event};
use crate::psi::Error;
use crate::psi::SignedReceipt;

#[test]
fn a_session_is_two_events_with_everything_that_it_was() {
    let (_folder, party, clock, budgets) = founded(5, Period::Forever);
    let asked = asked();
    let _ = open(&budgets, &publisher()).charge(40, 2, &asked).unwrap().spend();
    clock.turn(1);
    let receipt = SignedReceipt { text: "receipt".to_owned(), own_signature: vec![1, 2], peer_signature: vec![] };
    budgets.ended(asked.session, &Ended { receipt: Some(receipt.clone()), ..well() }).unwrap();
    drop(budgets);
    let budgets = load(&party, &clock);
    let rows = budgets.audit().unwrap();
    let events: Vec<_> = rows.iter().map(|row| (row.id, row.seq, row.event)).collect();
    assert_eq!(events, [(1, 1, Event::Charged), (2, 2, Event::Ended)]);
    let (charged, ended) = (&rows[0], &rows[1]);
    for row in &rows {
        assert_eq!(row.session, Some(asked.session));
        assert_eq!(
            (row.peer.as_str(), row.direction, row.population.as_deref()),
            ("publisher", Some(Direction::Answering), Some("people"))
        );
    }
    assert_eq!((charged.question.as_deref(), charged.terms.as_deref()), (Some("table purchases"), Some("persons 64")));
    assert_eq!((charged.persons_own, charged.persons_peer), (Some(90), Some(100)));
    assert_eq!((charged.tau, charged.tau_booked, charged.columns), (Some(40), Some(40), Some(2)));
    assert_eq!((charged.outputs.as_deref(), charged.padding.as_deref()), (Some("exact"), Some("none")));
    assert_eq!(charged.at, NOON.parse::<DateTime<Utc>>().unwrap());
    assert_eq!((ended.at - charged.at).num_seconds(), 60);
    assert_eq!((ended.sizes.as_deref(), ended.dummies), (Some(&[12, 3][..]), Some(7)));
    assert_eq!((ended.outcome.as_deref(), ended.seconds), (Some("released"), Some(1.25)));
    assert_eq!((ended.bytes_out, ended.bytes_in), (Some(1000), Some(2000)));
    assert_eq!(ended.receipt.as_ref(), Some(&receipt));
    assert_eq!(budgets.receipt(asked.session).unwrap(), Some(receipt));
    let sessions = budgets.sessions().unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!((&sessions[0].charged, sessions[0].refunded, sessions[0].ended.as_ref()), (charged, false, Some(ended)));
}

#[test]
fn a_session_ends_once_and_only_if_it_was_charged() {
    let (_folder, _, _, budgets) = founded(5, Period::Forever);
    assert!(matches!(budgets.ended(asked().session, &well()), Err(Error::Internal(_))));
    let asked = asked();
    let reservation = open(&budgets, &publisher()).charge(0, 1, &asked).unwrap();
    let failed = Ended { outcome: Err("refused: no".repeat(1000)), seconds: f64::NAN, ..well() };
    budgets.ended(asked.session, &failed).unwrap();
    assert!(matches!(budgets.ended(asked.session, &well()), Err(Error::Internal(_))));
    reservation.refund();
    assert_eq!(counted(&budgets, &publisher()), 1, "an ended session is not refunded");
    let last = budgets.audit().unwrap().pop().unwrap();
    assert_eq!((last.event, last.seconds), (Event::Ended, Some(0.0)));
    assert_eq!(last.outcome.map(|text| text.chars().count()), Some(1000), "a peer's words stay short");
}

#[test]
fn a_refund_is_an_event_of_its_own() {
    let (_folder, _, _, budgets) = founded(5, Period::Forever);
    let asked = asked();
    open(&budgets, &publisher()).charge(0, 1, &asked).unwrap().refund();
    budgets.ended(asked.session, &Ended { outcome: Err("the peer is not there".to_owned()), ..well() }).unwrap();
    let session = budgets.sessions().unwrap().remove(0);
    assert!(session.refunded);
    assert_eq!(session.ended.unwrap().outcome.as_deref(), Some("failed: the peer is not there"));
    budgets.verify_chains().unwrap();
}

/// Changes the file behind the ledger's back, as somebody with the file and SQLite could.
fn tampered(party: &Party, sql: &str) -> rusqlite::Result<usize> {
    let connection = rusqlite::Connection::open(party.state.join("ledger.sqlite")).unwrap();
    connection
        .execute_batch("DROP TRIGGER IF EXISTS audit_changes; DROP TRIGGER IF EXISTS audit_deletes; PRAGMA ignore_check_constraints = ON")
        .unwrap();
    connection.execute(sql, [])
}

#[test]
fn rows_are_for_ever_by_mistake_and_on_purpose_it_shows() {
    let (_folder, party, clock, budgets) = founded(50, Period::Forever);
    for _ in 0..3 {
        session(&budgets, &publisher());
        session(&budgets, &bank());
    }
    let connection = budgets.ledger().connection();
    for sql in ["UPDATE audit SET tau = 1", "DELETE FROM audit"] {
        assert!(connection.execute(sql, []).unwrap_err().to_string().contains("audit rows are for ever"));
    }
    drop(connection);
    budgets.chain("bank").unwrap();
    drop(budgets);

    let file = party.state.join("ledger.sqlite");
    let whole = std::fs::read(&file).unwrap();
    let mut changes: Vec<String> = super::super::chain::COLUMNS
        .iter()
        .map(|column| match *column {
            "event" => "UPDATE audit SET event = 'refunded' WHERE id = 6".to_owned(),
            "direction" => "UPDATE audit SET direction = 'asking' WHERE id = 5".to_owned(),
            "seq" => "UPDATE audit SET seq = 99 WHERE id = 5".to_owned(),
            "id" => "UPDATE audit SET id = 99 WHERE id = 5".to_owned(),
            "session" | "salt" => format!("UPDATE audit SET {column} = randomblob(16) WHERE id = 5"),
            "peer" | "population" | "question" | "terms" | "outputs" | "padding" | "sizes" | "outcome" | "receipt" => {
                format!("UPDATE audit SET {column} = 'x' WHERE id = 5")
            }
            "receipt_own" | "receipt_peer" => format!("UPDATE audit SET {column} = x'00' WHERE id = 5"),
            _ => format!("UPDATE audit SET {column} = coalesce({column}, 0) + 1 WHERE id = 5"),
        })
        .collect();
    changes.extend(
        [
            "UPDATE audit SET hash = randomblob(32) WHERE id = 12",
            "UPDATE audit SET question = NULL WHERE id = 1",
            "UPDATE audit SET sizes = '' WHERE id = 1",
            "DELETE FROM audit WHERE id = 5",
            "DELETE FROM audit WHERE id = 12",
            "DELETE FROM audit WHERE peer = 'publisher'",
            "UPDATE ledger SET identity = randomblob(32)",
            "INSERT INTO audit SELECT 13, peer, 7, event, at_ms, randomblob(16), direction, population, question, terms, persons_own, \
             persons_peer, persons_larger, tau, tau_booked, columns, outputs, padding, sizes, dummies, outcome, millis, bytes_out, \
             bytes_in, receipt, receipt_own, receipt_peer, salt, hash FROM audit WHERE id = 11",
        ]
        .map(str::to_owned),
    );
    for sql in changes {
        assert!(tampered(&party, &sql).unwrap() > 0, "{sql}");
        let text = Budgets::load(&party, Arc::clone(&clock) as _).expect_err(&sql).to_string();
        assert!(text.contains("is damaged"), "{sql}: {text}");
        std::fs::write(&file, &whole).unwrap();
    }
    // Whoever hides the last rows and their count is found by what the peer was told.
    tampered(&party, "DELETE FROM audit WHERE id > 10").unwrap();
    tampered(&party, "UPDATE sqlite_sequence SET seq = 10").unwrap();
    let text = Budgets::load(&party, Arc::clone(&clock) as _).unwrap_err().to_string();
    assert!(text.contains("event 6, which peer 'bank' was told of, is not in the audit"), "{text}");
    std::fs::write(&file, &whole).unwrap();
    let heads = load(&party, &clock).verify_chains().unwrap();
    assert_eq!(
        heads.iter().map(|state| (state.peer.as_str(), state.head.seq)).collect::<Vec<_>>(),
        [("bank", 6), ("publisher", 6)]
    );
}

#[test]
fn equal_rows_have_unequal_hashes_so_that_a_head_is_no_test_for_guesses() {
    let clock = Hands::at(NOON);
    let folder = tempfile::tempdir().unwrap();
    let party = party(folder.path(), 5, Period::Forever);
    let asked = asked();
    let heads: Vec<_> = (0..2)
        .map(|_| {
            let budgets = Budgets::in_memory_at(&party, Arc::clone(&clock) as _);
            // The same beginning, as if the same ledger had gone on twice.
            budgets.ledger().connection().execute("UPDATE ledger SET identity = zeroblob(32)", []).unwrap();
            let before = budgets.audit().unwrap();
            drop(open(&budgets, &publisher()).charge(0, 1, &asked).unwrap());
            (before, budgets.audit().unwrap().pop().unwrap().hash)
        })
        .collect();
    assert_eq!(heads[0].0, heads[1].0);
    assert_ne!(heads[0].1, heads[1].1);
}
