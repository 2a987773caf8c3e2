//! Budgets that renew, and clocks that do not behave.

use super::*;

#[test]
fn a_budget_renews_with_its_period_and_says_when() {
    let (_folder, _, clock, budgets) = founded(2, Period::Month);
    for _ in 0..2 {
        session(&budgets, &publisher());
    }
    let balance = open(&budgets, &publisher()).balance().unwrap();
    assert_eq!((balance.queries_left, balance.period), (0, Period::Month));
    let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
    assert_eq!((balance.period_start, balance.period_end), (at("2025-01-01T00:00:00Z"), at("2025-02-01T00:00:00Z")));
    let refusal = open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "the budget for peer 'publisher' and population 'people' is used up, 2 of 2 queries, and it renews on 2025-02-01 00:00 UTC"
    );
    clock.set("2025-01-31T23:59:59.999Z");
    assert!(open(&budgets, &publisher()).charge(0, 1, &asked()).is_err());
    clock.set("2025-02-01T00:00:00Z");
    for _ in 0..2 {
        session(&budgets, &publisher());
    }
    assert!(open(&budgets, &publisher()).check_left().is_err());
}

/// What is logged while `act` runs.
fn logged(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            locked(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let kept = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || kept.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(locked(&log.0).clone()).unwrap()
}

#[test]
fn which_lines_would_allow_more_is_for_whose_policy_it_is_and_no_peer_hears_it() {
    let (_folder, party, _, budgets) = founded(1, Period::Month);
    let (answering, asking) = (publisher(), Account::asking("publisher", "people"));
    for account in [&answering, &asking] {
        session(&budgets, account);
    }
    let line = format!("to allow more, write at {}:", party.file.display());
    for refuse in [
        |account: &OpenAccount| account.check_left().unwrap_err(),
        |account: &OpenAccount| account.charge(0, 1, &asked()).unwrap_err(),
    ] {
        let log = logged(|| {
            let told = refuse(&open(&budgets, &answering)).to_string();
            assert!(told.contains("is used up") && !told.contains("party.toml"), "{told}");
        });
        assert!(log.contains(&line) && log.contains("is used up"), "{log}");
        let log = logged(|| {
            let told = refuse(&open(&budgets, &asking)).to_string();
            assert!(told.contains(&line) && told.contains("queries = 2"), "{told}");
        });
        assert_eq!(log, "", "the error has said it");
    }
}

#[test]
fn a_charge_stays_in_the_period_in_which_it_was_made() {
    let (_folder, _, clock, budgets) = founded(2, Period::Day);
    clock.set("2025-01-15T23:59:59Z");
    let held = open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap();
    clock.set("2025-01-16T00:00:01Z");
    assert_eq!(counted(&budgets, &publisher()), 0, "a session over midnight costs yesterday");
    held.refund();
    assert_eq!(counted(&budgets, &publisher()), 0);
    assert_eq!(open(&budgets, &publisher()).balance().unwrap().queries_left, 2);
}

#[test]
fn a_clock_that_runs_backwards_renews_nothing() {
    let (_folder, party, clock, budgets) = founded(2, Period::Day);
    session(&budgets, &publisher());
    session(&budgets, &publisher());
    clock.set("2025-01-14T12:00:00Z");
    assert_eq!(counted(&budgets, &publisher()), 2, "yesterday is over");
    assert!(open(&budgets, &publisher()).charge(0, 1, &asked()).is_err());
    drop(budgets);
    let budgets = load(&party, &clock);
    assert!(open(&budgets, &publisher()).charge(0, 1, &asked()).is_err(), "nor does a restart");
    // Another account goes on, in the newest period that the ledger has seen.
    session(&budgets, &bank());
    assert_eq!(budgets.audit().unwrap().pop().unwrap().at, NOON.parse::<DateTime<Utc>>().unwrap());
    clock.set("2025-01-16T00:00:00Z");
    assert_eq!(counted(&budgets, &publisher()), 0, "and once the clock has caught up, all is well");
}

#[test]
fn a_clock_that_jumps_ahead_and_back_renews_once() {
    let (_folder, _, clock, budgets) = founded(2, Period::Day);
    let mut charged = 0;
    for time in [
        "2025-01-15T12:00:00Z",
        "2026-06-01T00:00:00Z",
        "2025-01-16T00:00:00Z",
        "2025-01-17T00:00:00Z",
        "2026-06-01T23:00:00Z",
    ] {
        clock.set(time);
        for _ in 0..3 {
            charged += usize::from(open(&budgets, &publisher()).charge(0, 1, &asked()).is_ok());
        }
    }
    assert_eq!(charged, 4);
    clock.set("2026-06-02T00:00:00Z");
    session(&budgets, &publisher());
}

#[test]
fn a_policy_of_another_period_counts_what_was_charged_within_it() {
    let (_folder, mut party, clock, budgets) = founded(3, Period::Day);
    session(&budgets, &publisher());
    clock.turn(24 * 60);
    session(&budgets, &publisher());
    drop(budgets);
    for (period, expected) in [(Period::Day, 1), (Period::Week, 2), (Period::Forever, 2)] {
        party.shares[0].budget.period = period;
        assert_eq!(counted(&load(&party, &clock), &publisher()), expected, "{period}");
    }
}

#[test]
fn sizes_compose_within_the_period_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut party = party(folder.path(), 4, Period::Day);
    party.shares[0].budget.sizes = crate::policy::Sizes::Private { epsilon: "2".parse().unwrap(), delta: None };
    Budgets::create(&party).unwrap();
    let clock = Hands::at(NOON);
    let budgets = load(&party, &clock);
    let account = open(&budgets, &publisher());
    let tau = account.dummies().unwrap();
    // Four sizes are planned for, one by each query.
    let _ = account.charge(tau, 4, &asked()).unwrap().spend();
    let refusal = account.charge(tau, 1, &asked()).unwrap_err().to_string();
    assert!(
        refusal.contains("cannot pay for this query") && refusal.ends_with("and it renews on 2025-01-16 00:00 UTC"),
        "{refusal}"
    );
    let large = budgets.open(&publisher(), 1_000_000).unwrap();
    assert!(large.dummies().unwrap() > tau);
    clock.turn(24 * 60);
    let balance = account.balance().unwrap();
    assert_eq!((balance.columns, balance.delta, balance.delta_max), (0, None, None));
    assert_eq!(account.dummies().unwrap(), tau);
    let _ = account.charge(tau, 4, &asked()).unwrap().spend();
}
