//! What a session sets aside in the engine's pool, held against what it takes: this program's allocator counts.
//!
//! Both sessions of a run are in this one process, so it is their sum that counts. A program of its own, with one test: whatever
//! else ran beside it would count, too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sessions;

use arrow::array::Array;
use datafusion_psi::crypto::ChaCha20Rng;
use datafusion_psi::psi::{
    Aggregate, Entries, Footprint, Offer, Output, Question, Requester, Responder, Role, Session, SessionId, SessionRows,
};
use peak_alloc::PeakAlloc;
use rand_core::SeedableRng;

use sessions::{entries, requester, responder, word};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What does not grow with the tables: frames on their way, one open round of oblivious transfers, blocks of each thread.
const CONSTANT: u64 = 2 << 20;

fn deliver<F: Session, T: Session>(from: &mut F, to: &mut T, ended: &mut bool) {
    while !*ended {
        match from.poll_output().unwrap() {
            Output::Batch(batch) => to.receive(batch).unwrap(),
            Output::Wait => return,
            Output::Done => {
                to.end_input().unwrap();
                *ended = true;
            }
        }
    }
}

fn run(requester: &mut Requester, responder: &mut Responder) {
    while requester.phase().is_some() {
        let mut ended = [false; 2];
        while ended != [true; 2] {
            deliver(requester, responder, &mut ended[0]);
            deliver(responder, requester, &mut ended[1]);
        }
        requester.advance().unwrap();
        responder.advance().unwrap();
    }
}

/// (bytes at the peak, those of the two tables included; bytes set aside), for so many persons of the two sides.
fn measured(columns: usize, asking: usize, answering: usize) -> (u64, u64) {
    let session = SessionId([7; 16]);
    let question = Question {
        identifiers: ["email", "phone", "name"][..columns].iter().map(|name| (*name).to_owned()).collect(),
        table: "purchases".to_owned(),
        filter: None,
        aggregates: vec![Aggregate::Sum { column: "amount".to_owned() }.into()],
        group_by: None,
        own_groups: false,
    };
    let words = vec![word(1000, 0)];
    let before = ALLOCATOR.current_usage();
    let asked = entries(columns, 0, asking, vec![]);
    // Half of the smaller table is common.
    let from = asking - asking.min(answering) / 2;
    let answered = entries(columns, from, from + answering, vec![(0..answering as i128).map(|v| v % 9).collect()]);
    let identifiers = |entries: &Entries| -> u64 {
        entries.identifiers.iter().map(|column| column.get_array_memory_size() as u64).sum()
    };
    let identifiers = [identifiers(&asked), identifiers(&answered)];
    // Not what it took to build the tables.
    ALLOCATOR.reset_peak_usage();
    let mut requester = requester(session, question, words.clone(), asked, ChaCha20Rng::seed_from_u64(1));
    let Output::Batch(offer) = requester.poll_output().unwrap() else { panic!("no offer") };
    let mut responder = responder(&Offer::from_batch(&offer).unwrap(), words, answered).unwrap();
    run(&mut requester, &mut responder);
    let taken = ALLOCATOR.peak_usage().saturating_sub(before) as u64;
    requester.into_answer().unwrap();
    let (columns, parts) = (columns as u64, 1);
    let (asking, answering) = (asking as u64 + 2 * columns, answering as u64 + 2 * columns);
    let footprint = |role, own, peer, values, identifiers| {
        Footprint { role, columns, parts, values, rows: SessionRows { own, peer }, identifiers }.bytes(false)
    };
    let aside = footprint(Role::Requester, asking, answering, 0, identifiers[0])
        + footprint(Role::Responder, answering, asking, 1, identifiers[1]);
    (taken, aside)
}

#[test]
fn sessions_take_what_they_have_set_aside_and_no_more() {
    // Pools of threads and tables of constants come once.
    measured(2, 2000, 2000);
    for (columns, asking, answering) in
        [(1, 20_000, 20_000), (3, 10_000, 10_000), (2, 1_000, 20_000), (2, 20_000, 1_000)]
    {
        let (taken, aside) = measured(columns, asking, answering);
        eprintln!("{columns} identifiers, {asking} against {answering}: {taken} bytes taken, {aside} set aside");
        assert!(taken <= aside + CONSTANT, "{columns} identifiers, {asking} against {answering}: {taken} > {aside}");
        // Not three times too much either: that would keep sessions out for nothing.
        assert!(
            3 * (taken + CONSTANT) >= aside,
            "{columns} identifiers, {asking} against {answering}: {taken} << {aside}"
        );
    }
}
