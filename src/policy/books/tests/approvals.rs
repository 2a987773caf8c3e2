//! Questions that wait for the operator.

use super::*;
use crate::policy::{Consent, Event};
use crate::psi::Error;

#[test]
fn exactly_the_text_and_terms_that_were_approved_go_through() {
    let (_folder, party, clock, budgets) = founded(5, Period::Forever);
    let ask = |question: &str, terms: &str| budgets.approval("publisher", question, terms);
    let waits = |question: &str, terms: &str| matches!(ask(question, terms), Ok(Consent::Waits { .. }));
    let Ok(Consent::Waits { id: told }) = ask("q", "t") else { panic!("nothing was approved yet") };
    let waiting = budgets.pending().unwrap();
    assert_eq!(waiting.len(), 1);
    let id = waiting[0].id.clone();
    assert!(id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{id}");
    assert_eq!(told, id);
    assert_eq!(
        (waiting[0].peer.as_str(), waiting[0].question.as_str(), waiting[0].terms.as_str()),
        ("publisher", "q", "t")
    );
    assert!(waits("q", "t"));
    assert_eq!(budgets.pending().unwrap().len(), 1, "asked twice, it waits once");

    budgets.approve(&id).unwrap();
    assert_eq!(ask("q", "t"), Ok(Consent::Given));
    assert!(budgets.pending().unwrap().is_empty());
    for (question, terms) in [("q ", "t"), ("q", "t "), ("qt", ""), ("", "qt")] {
        assert!(waits(question, terms), "'{question}' '{terms}'");
    }
    assert_ne!(budgets.approval("bank", "q", "t"), Ok(Consent::Given), "another peer is not approved by it");
    assert_eq!(load(&party, &clock).approval("publisher", "q", "t"), Ok(Consent::Given), "another process knows");

    budgets.withdraw(&id).unwrap();
    assert!(waits("q", "t"));
    let events: Vec<_> =
        budgets.audit().unwrap().into_iter().map(|row| (row.event, row.question, row.outcome)).collect();
    let row = |event| (event, Some("q".to_owned()), Some(id.clone()));
    assert_eq!(events, [row(Event::Approved), row(Event::Withdrawn)]);
}

#[test]
fn approving_twice_is_once_and_an_unknown_id_is_named() {
    let (_folder, _, _, budgets) = founded(5, Period::Forever);
    let _ = budgets.approval("publisher", "q", "t");
    let id = budgets.pending().unwrap()[0].id.clone();
    assert_eq!(budgets.approve(&id).unwrap(), budgets.approve(&id).unwrap());
    assert_eq!(budgets.audit().unwrap().len(), 1);
    let error = budgets.approve("x\u{7}").unwrap_err();
    assert!(
        matches!(&error, Error::Caller(text) if text.starts_with("no question waits or was approved as 'x '")),
        "{error}"
    );
}

#[test]
fn a_peer_that_asks_anything_fills_no_disk() {
    let (_folder, _, _, budgets) = founded(5, Period::Forever);
    for turn in 0..70 {
        let _ = budgets.approval("publisher", &format!("q{turn}"), "t");
    }
    assert_eq!(budgets.pending().unwrap().len(), 64);
    let Err(Error::Refused(text)) = budgets.approval("publisher", "one more", "t") else { panic!() };
    assert!(text.starts_with("64 questions of 'publisher' wait for approval already"), "{text}");
    assert!(matches!(budgets.approval("bank", "q", "t"), Ok(Consent::Waits { .. })));
}
