//! Tests of the books that cross its files.

mod approvals;
mod audit;
mod chains;
mod crash;
mod file;
mod model;
mod periods;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};

use super::ledger::locked;
use super::{Account, Asked, Budgets, Clock, Ended, OpenAccount, Period};
use crate::policy::{Party, testing};
use crate::psi::SessionId;

/// A clock that tests set.
pub(super) struct Hands(Mutex<DateTime<Utc>>);

impl Hands {
    pub(super) fn at(time: &str) -> Arc<Self> {
        Arc::new(Hands(Mutex::new(time.parse().unwrap())))
    }

    pub(super) fn set(&self, time: &str) {
        *locked(&self.0) = time.parse().unwrap();
    }

    pub(super) fn turn(&self, minutes: i64) {
        *locked(&self.0) += TimeDelta::minutes(minutes);
    }
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *locked(&self.0)
    }
}

/// A Wednesday.
pub(super) const NOON: &str = "2025-01-15T12:00:00Z";

/// A party whose peers, the publisher and the bank, may ask so many queries with exact sizes, and which may ask the publisher.
pub(super) fn party(folder: &Path, queries: u64, period: Period) -> Party {
    let text = testing::PARTIES.to_owned()
        + &format!(
            "[[share]]\ntable = \"purchases\"\nwith = [\"publisher\", \"bank\"]\nidentifiers = {{ a = \"exact/1\" }}\n\
             [share.budget]\npopulation = \"people\"\nqueries = {queries}\nsizes = {{ exact = true }}\noutputs = {{ noise = \"none\" }}\n\
             [[ask]]\nof = [\"publisher\"]\npopulation = \"people\"\nrows = \"reveal\"\n\
             [ask.budget]\nqueries = {queries}\nsizes = {{ exact = true }}\n"
        );
    let mut party = Party::parse(&text, folder.join("party.toml")).unwrap();
    party.shares[0].budget.period = period;
    party.asks[0].budget.period = period;
    party
}

/// Opens a party's ledger by a clock.
pub(super) fn load(party: &Party, clock: &Arc<Hands>) -> Budgets {
    Budgets::load(party, Arc::clone(clock) as _).unwrap()
}

/// A party with a new ledger in a folder of its own.
pub(super) fn founded(queries: u64, period: Period) -> (tempfile::TempDir, Party, Arc<Hands>, Budgets) {
    let folder = tempfile::tempdir().unwrap();
    let party = party(folder.path(), queries, period);
    Budgets::create(&party).unwrap();
    let clock = Hands::at(NOON);
    let budgets = load(&party, &clock);
    (folder, party, clock, budgets)
}

pub(super) fn publisher() -> Account {
    Account::answering("publisher", "people")
}

pub(super) fn bank() -> Account {
    Account::answering("bank", "people")
}

pub(super) fn open(budgets: &Budgets, account: &Account) -> OpenAccount {
    budgets.open(account, 100).unwrap()
}

/// A session of a name that was never used.
pub(super) fn asked() -> Asked {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let session = SessionId((NEXT.fetch_add(1, Ordering::Relaxed) as u128).to_be_bytes());
    let (question, terms) = ("table purchases".to_owned(), "persons 64".to_owned());
    Asked { session, question, terms, persons_own: 90, persons_peer: Some(100) }
}

/// How a good session ends.
pub(super) fn well() -> Ended {
    Ended { sizes: vec![12, 3], dummies: 7, outcome: Ok(()), seconds: 1.25, bytes: (1000, 2000), receipt: None }
}

/// One whole session: charged, spent, ended.
pub(super) fn session(budgets: &Budgets, account: &Account) {
    let asked = asked();
    let _ = open(budgets, account).charge(0, 1, &asked).unwrap().spend();
    budgets.ended(asked.session, &well()).unwrap();
}

/// Queries that count: open ones and spent ones.
pub(super) fn counted(budgets: &Budgets, account: &Account) -> u64 {
    let balance = open(budgets, account).balance().unwrap();
    assert_eq!(balance.queries_left, balance.terms.queries.saturating_sub(balance.open + balance.spent));
    balance.open + balance.spent
}

/// Copies the files of a folder, as a backup or a crash leaves them.
pub(super) fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
