//! The ledger against a plain model, by random histories.

use proptest::prelude::*;

use super::super::period::span;
use super::*;
use crate::dp::Reservation;

const QUERIES: u64 = 4;

/// What may happen. Numbers choose among what there is, modulo their count.
#[derive(Debug, Clone)]
enum Act {
    Charge { process: usize, account: usize },
    Replay { process: usize, session: usize },
    Spend(usize),
    Refund(usize),
    Drop(usize),
    End { process: usize, session: usize },
    Restart(usize),
    Wait(i64),
    Tell(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let process = || 0..2usize;
    prop_oneof![
        6 => (process(), 0..3usize).prop_map(|(process, account)| Act::Charge { process, account }),
        1 => (process(), any::<usize>()).prop_map(|(process, session)| Act::Replay { process, session }),
        2 => any::<usize>().prop_map(Act::Spend),
        2 => any::<usize>().prop_map(Act::Refund),
        1 => any::<usize>().prop_map(Act::Drop),
        3 => (process(), any::<usize>()).prop_map(|(process, session)| Act::End { process, session }),
        1 => process().prop_map(Act::Restart),
        2 => prop_oneof![0..600i64, -600..0i64, 1440..20_000i64].prop_map(Act::Wait),
        1 => process().prop_map(Act::Tell),
    ]
}

/// A charge, as a spreadsheet would hold it.
struct Entry {
    account: usize,
    asked: Asked,
    at: DateTime<Utc>,
    process: usize,
    reservation: Option<Reservation>,
    open: bool,
    refunded: bool,
    ended: bool,
}

struct Model {
    entries: Vec<Entry>,
    latest: Option<DateTime<Utc>>,
    events: u64,
}

impl Model {
    fn now(&self, clock: &Hands) -> DateTime<Utc> {
        self.latest.map_or(clock.now(), |latest| latest.max(clock.now()))
    }

    fn event(&mut self, clock: &Hands) -> DateTime<Utc> {
        let now = self.now(clock);
        self.latest = Some(now);
        self.events += 1;
        now
    }

    fn counted(&self, account: usize, clock: &Hands) -> impl Iterator<Item = &Entry> {
        let span = span(Period::Day, self.now(clock));
        self.entries.iter().filter(move |entry| {
            entry.account == account
                && !entry.refunded
                && span.start.unwrap() <= entry.at
                && entry.at < span.end.unwrap()
        })
    }

    /// One of the entries that match, by a number.
    fn pick(&mut self, number: usize, fits: impl Fn(&Entry) -> bool) -> Option<&mut Entry> {
        let mut fitting: Vec<&mut Entry> = self.entries.iter_mut().filter(|entry| fits(entry)).collect();
        let count = fitting.len();
        (count > 0).then(|| fitting.swap_remove(number % count))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_the_ledger_says_what_the_model_says(acts in prop::collection::vec(act(), 1..60)) {
        let (_folder, party, clock, first) = founded(QUERIES, Period::Day);
        let accounts = [publisher(), bank(), Account::asking("publisher", "people")];
        let start = || {
            let budgets = load(&party, &clock);
            budgets.ledger().connection().pragma_update(None, "synchronous", "OFF").unwrap();
            budgets
        };
        drop(first);
        let mut processes = [Some(start()), Some(start())];
        let mut model = Model { entries: Vec::new(), latest: None, events: 0 };
        for act in acts {
            let of = |process: usize| processes[process].as_ref().unwrap();
            match act.clone() {
                Act::Charge { process, account } => {
                    let asked = asked();
                    let allowed = (model.counted(account, &clock).count() as u64) < QUERIES;
                    let charged = open(of(process), &accounts[account]).charge(3, 1, &asked);
                    prop_assert_eq!(charged.is_ok(), allowed, "{:?}", act);
                    if let Ok(reservation) = charged {
                        let at = model.event(&clock);
                        let reservation = Some(reservation);
                        let (open, refunded, ended) = (true, false, false);
                        model.entries.push(Entry { account, asked, at, process, reservation, open, refunded, ended });
                    }
                }
                Act::Replay { process, session } => {
                    if let Some(entry) = model.pick(session, |_| true) {
                        prop_assert!(open(of(process), &accounts[entry.account]).charge(3, 1, &entry.asked).is_err());
                    }
                }
                Act::Spend(session) | Act::Drop(session) => {
                    if let Some(entry) = model.pick(session, |entry| entry.reservation.is_some()) {
                        let reservation = entry.reservation.take().unwrap();
                        entry.open = false;
                        if matches!(act, Act::Spend(_)) { let _ = reservation.spend(); } else { drop(reservation); }
                    }
                }
                Act::Refund(session) => {
                    let picked = model.pick(session, |entry| entry.reservation.is_some()).map(|entry| {
                        entry.reservation.take().unwrap().refund();
                        // An ended session's words stand.
                        entry.refunded = !entry.ended;
                        entry.open = false;
                        entry.refunded
                    });
                    if picked == Some(true) {
                        model.event(&clock);
                    }
                }
                Act::End { process, session } => {
                    let picked = model.pick(session, |_| true).map(|entry| {
                        let before = entry.ended;
                        entry.ended = true;
                        entry.open = false;
                        (entry.asked.session, before)
                    });
                    if let Some((session, before)) = picked {
                        prop_assert_eq!(of(process).ended(session, &well()).is_err(), before);
                        if !before {
                            model.event(&clock);
                        }
                    }
                }
                Act::Restart(process) => {
                    // What it held is dropped, so spent; what never ended has crashed.
                    for entry in model.entries.iter_mut().filter(|entry| entry.process == process) {
                        if entry.reservation.take().is_some() {
                            entry.open = false;
                        }
                    }
                    processes[process] = None;
                    processes[process] = Some(start());
                    let crashed = model.entries.iter_mut().filter(|entry| entry.process == process && !entry.ended);
                    let count = crashed.map(|entry| entry.ended = true).count();
                    for _ in 0..count {
                        model.event(&clock);
                    }
                }
                Act::Wait(minutes) => clock.turn(minutes),
                Act::Tell(process) => {
                    let chain = of(process).chain("publisher").unwrap();
                    of(process).confirm_chain("publisher", &chain[0]).unwrap();
                }
            }
            for budgets in processes.iter().flatten() {
                for (i, account) in accounts.iter().enumerate() {
                    let balance = open(budgets, account).balance().unwrap();
                    let open = model.counted(i, &clock).filter(|entry| entry.open).count() as u64;
                    let all = model.counted(i, &clock).count() as u64;
                    prop_assert_eq!((balance.open, balance.spent, balance.columns), (open, all - open, all), "{:?}", act);
                    prop_assert!(all <= QUERIES);
                }
            }
        }
        let heads = processes[0].as_ref().unwrap().verify_chains().unwrap();
        prop_assert_eq!(heads.iter().map(|state| state.head.seq).sum::<u64>(), model.events);
        prop_assert_eq!(processes[1].as_ref().unwrap().audit().unwrap().len() as u64, model.events);
    }
}
