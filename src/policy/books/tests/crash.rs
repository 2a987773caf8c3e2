//! A crash at every step, two connections at once, and threads.

use super::super::ledger::Step;
use super::*;
use crate::policy::Event;

/// Copies the state at every step of what `act` writes, as a crash there would leave it on the disk.
fn crashes(budgets: &Budgets, party: &Party, to: &Path, act: impl FnOnce(&Budgets)) -> Vec<(Step, Party)> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (noted, state, to) = (Arc::clone(&steps), party.state.clone(), to.to_owned());
    // So small that changed pages go into the file before the commit: a rollback has something to do.
    budgets.ledger().connection().execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1").unwrap();
    *locked(&budgets.ledger().watch) = Some(Box::new(move |step| {
        let mut steps = noted.lock().unwrap();
        let folder = to.join(steps.len().to_string());
        copied(&state, &folder);
        steps.push((step, folder));
    }));
    act(budgets);
    *locked(&budgets.ledger().watch) = None;
    let steps = steps.lock().unwrap().clone();
    steps.into_iter().map(|(step, state)| (step, Party { state, ..party.clone() })).collect()
}

#[test]
fn a_crash_at_any_step_of_a_charge_leaves_it_whole_or_absent() {
    let (folder, party, clock, budgets) = founded(50, Period::Forever);
    session(&budgets, &publisher());
    let long = Asked { question: "x".repeat(60_000), ..asked() };
    let crashed = crashes(&budgets, &party, &folder.path().join("crashed"), |budgets| {
        std::mem::forget(open(budgets, &publisher()).charge(0, 1, &long).unwrap());
    });
    assert_eq!(
        crashed.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        [Step::Composed, Step::Begun, Step::Written, Step::Committed]
    );
    let mut journals = 0;
    for (step, party) in crashed {
        journals +=
            usize::from(party.state.join("ledger.sqlite-journal").metadata().is_ok_and(|found| found.len() > 0));
        let budgets = load(&party, &clock);
        let expected = if step == Step::Committed { 2 } else { 1 };
        assert_eq!(counted(&budgets, &publisher()), expected, "{step:?}");
        budgets.verify_chains().unwrap();
        let last = budgets.audit().unwrap().pop().unwrap();
        if step == Step::Committed {
            // Its process is gone: what it left open has ended, and stays paid.
            assert_eq!((last.event, last.session), (Event::Ended, Some(long.session)));
            assert!(last.outcome.unwrap().starts_with("crashed: "));
            assert_eq!(open(&budgets, &publisher()).balance().unwrap().open, 0);
        }
        let again = open(&budgets, &publisher()).charge(0, 1, &long);
        assert_eq!(again.is_ok(), step != Step::Committed, "the session's name is used up with the charge");
        drop(again);
        let left: Vec<_> = std::fs::read_dir(&party.state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.len() <= 2, "only the ledger and this process's own lock: {left:?}");
    }
    assert!(journals > 0, "a crash in the middle has to leave something to roll back");
}

#[test]
fn a_crash_at_any_step_never_spends_less_than_what_left() {
    let (folder, party, clock, budgets) = founded(50, Period::Forever);
    // What may have left when each step is reached: nothing before the first commit, everything after it.
    let crashed = crashes(&budgets, &party, &folder.path().join("crashed"), |budgets| {
        let asked = asked();
        let reservation = open(budgets, &publisher()).charge(0, 1, &asked).unwrap();
        budgets.chain("publisher").unwrap();
        let _ = reservation.spend();
        budgets.ended(asked.session, &well()).unwrap();
        session(budgets, &publisher());
    });
    // Seven writes: charge, head, spend, end; charge, spend, end.
    let commits = |until: usize| crashed[..=until].iter().filter(|(step, _)| *step == Step::Committed).count();
    assert_eq!((crashed.len(), commits(crashed.len() - 1)), (3 * 7 + 2, 7));
    for (i, (_, party)) in crashed.iter().enumerate() {
        let budgets = load(party, &clock);
        let expected = u64::from(commits(i) >= 1) + u64::from(commits(i) >= 5);
        assert_eq!(counted(&budgets, &publisher()), expected, "step {i}");
        drop(budgets);
        assert_eq!(counted(&load(party, &clock), &publisher()), expected, "step {i}, started once more");
    }
}

#[test]
fn a_crash_at_any_step_of_a_refund_costs_a_query_or_none() {
    let (folder, party, clock, budgets) = founded(50, Period::Forever);
    let reservation = open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap();
    let crashed = crashes(&budgets, &party, &folder.path().join("crashed"), |_| reservation.refund());
    assert_eq!(crashed.len(), 3);
    for (step, party) in crashed {
        let budgets = load(&party, &clock);
        assert_eq!(counted(&budgets, &publisher()), u64::from(step != Step::Committed), "{step:?}");
    }
}

#[test]
fn a_living_process_keeps_its_sessions_and_a_dead_one_does_not() {
    let (_folder, party, clock, first) = founded(50, Period::Forever);
    let asked = asked();
    let held = open(&first, &publisher()).charge(0, 1, &asked).unwrap();
    let second = load(&party, &clock);
    assert_eq!(open(&second, &publisher()).balance().unwrap().open, 1, "its lock is held: it runs");
    held.refund();
    assert_eq!(counted(&second, &publisher()), 0);
    first.ended(asked.session, &well()).unwrap();

    // A session whose caller forgot to say how it ended, in a process that has ended.
    let asked = super::asked();
    let _ = open(&first, &publisher()).charge(0, 1, &asked).unwrap().spend();
    drop(first);
    let third = load(&party, &clock);
    let last = third.audit().unwrap().pop().unwrap();
    assert_eq!((last.event, last.session), (Event::Ended, Some(asked.session)));
    assert!(matches!(second.ended(asked.session, &well()), Err(crate::psi::Error::Internal(_))));
    assert_eq!(counted(&third, &publisher()), 1);
}

#[test]
fn threads_of_two_processes_never_overspend() {
    let (_folder, party, clock, first) = founded(40, Period::Forever);
    let second = load(&party, &clock);
    let spent: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let budgets = if thread % 2 == 0 { first.clone() } else { second.clone() };
                budgets.ledger().connection().pragma_update(None, "synchronous", "OFF").unwrap();
                scope.spawn(move || {
                    let account = open(&budgets, &publisher());
                    let mut spent = 0;
                    for turn in 0..12 {
                        match account.charge(0, 1, &asked()) {
                            Ok(reservation) if (thread + turn) % 5 == 0 => reservation.refund(),
                            Ok(reservation) => {
                                let _ = reservation.spend();
                                spent += 1;
                            }
                            Err(error) => assert!(error.to_string().contains("is used up"), "{error}"),
                        }
                        assert!(counted(&budgets, &publisher()) <= 40);
                    }
                    spent
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((spent, counted(&second, &publisher())), (40, 40));
    first.verify_chains().unwrap();
}

#[test]
fn a_history_that_changes_while_it_is_composed_is_composed_anew() {
    let (_folder, party, clock, first) = founded(8, Period::Forever);
    let second = load(&party, &clock);
    let (rival, turns) = (open(&second, &publisher()), Arc::new(Mutex::new(0)));
    let noted = Arc::clone(&turns);
    // The other process takes one query each time that this one has composed its own.
    *locked(&first.ledger().watch) = Some(Box::new(move |step| {
        if step == Step::Composed {
            *noted.lock().unwrap() += 1;
            drop(rival.charge(0, 1, &asked()));
        }
    }));
    let account = open(&first, &publisher());
    drop(account.charge(0, 1, &asked()).unwrap());
    assert_eq!(*turns.lock().unwrap(), 4, "then it lets the others wait");
    assert_eq!(counted(&second, &publisher()), 5);
    drop(account.charge(0, 1, &asked()).unwrap_err());
    assert_eq!(counted(&second, &publisher()), 8, "the rival took the last ones");
    first.verify_chains().unwrap();
}
