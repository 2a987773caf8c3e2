use std::sync::Arc;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::dp::{self, Budget, Charge, Reservation};
use crate::policy::{Account, Asked, Budgets, OpenAccount, Party, testing};
use crate::psi::{Error, PeerMisbehaved, SessionId};

/// A session of a name that was never used.
fn asked() -> Asked {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let session = SessionId((NEXT.fetch_add(1, Ordering::Relaxed) as u128).to_be_bytes());
    Asked { session, question: "question".to_owned(), terms: "terms".to_owned(), persons_own: 1, persons_peer: None }
}

fn charge(account: &OpenAccount, tau: u64, columns: u32) -> Result<Reservation, Error> {
    account.charge(tau, columns, &asked())
}

fn party(queries: u64, sizes: &str) -> Party {
    let share = |table: &str, with: &str| {
        format!(
            "[[share]]\ntable = \"{table}\"\nwith = [{with}]\nidentifiers = {{ a = \"exact/1\", b = \"exact/1\" }}\n\
             [share.budget]\npopulation = \"people\"\nqueries = {queries}\nsizes = {sizes}\noutputs = {{ noise = \"none\" }}\n"
        )
    };
    let ask =
        "[[ask]]\nof = [\"publisher\"]\npopulation = \"people\"\n[ask.budget]\nqueries = 7\nsizes = { epsilon = 1 }\n";
    let text = testing::PARTIES.to_owned()
        + &share("purchases", "\"publisher\", \"bank\"")
        + &share("salaries", "\"publisher\"")
        + ask;
    Party::parse(&text, "party.toml").unwrap()
}

fn books(queries: u64, sizes: &str) -> Budgets {
    Budgets::in_memory(&party(queries, sizes))
}

fn publisher() -> Account {
    Account::answering("publisher", "people")
}

#[test]
fn there_is_one_account_for_each_peer_population_and_direction() {
    let accounts: Vec<_> =
        books(3, "{ epsilon = 2.0 }").balances().unwrap().into_iter().map(|balance| balance.account).collect();
    assert_eq!(accounts, [Account::answering("bank", "people"), publisher(), Account::asking("publisher", "people")]);
    let refusal = books(3, "{ epsilon = 2.0 }").open(&Account::asking("bank", "people"), 10).unwrap_err();
    assert_eq!(
        refusal,
        Error::Refused("no budget covers peer 'bank' and population 'people': add one to the policy".to_owned())
    );
}

#[test]
fn planned_queries_all_pass_and_the_next_is_refused() {
    let books = books(3, "{ epsilon = 2.0 }");
    let account = books.open(&publisher(), 1000).unwrap();
    let tau = account.dummies().unwrap();
    assert_eq!(tau, dp::dummies(6, 2.0, 1e-4).unwrap());
    for _ in 0..3 {
        let _ = charge(&account, tau, 2).unwrap().spend();
    }
    let text = "the budget for peer 'publisher' and population 'people' is used up, 3 of 3 queries, and it does not renew: \
                its owner would have to allow more in party.toml";
    assert_eq!(charge(&account, tau, 2).unwrap_err(), Error::Refused(text.to_owned()));
    let balance = account.balance().unwrap();
    assert_eq!((balance.open, balance.spent, balance.columns, balance.delta_max), (0, 3, 6, Some(1e-4)));
    assert!(balance.delta.unwrap() <= 1e-4);
    // The other peer has an account of its own.
    assert!(charge(&books.open(&Account::answering("bank", "people"), 1000).unwrap(), tau, 2).is_ok());
}

#[test]
fn queries_of_more_columns_than_planned_end_the_account_early_by_what_was_composed() {
    let account = books(4, "{ epsilon = 2.0 }").open(&publisher(), 1000).unwrap();
    let tau = account.dummies().unwrap();
    // 8 sizes are planned for.
    let _ = charge(&account, tau, 6).unwrap().spend();
    let text = charge(&account, tau, 6).unwrap_err().to_string();
    assert!(text.starts_with("the budget for peer 'publisher' and population 'people' cannot pay for this query: it would bring delta to "), "{text}");
    assert!(text.contains(", above 1.00e-4, and it does not renew"), "{text}");
    assert!(charge(&account, tau, 2).is_ok());
    let none = charge(&account, 0, 1).unwrap_err();
    assert!(matches!(none, Error::Refused(_)), "sizes without dummies are no private sizes: {none}");
}

#[test]
fn more_dummies_than_planned_cost_less() {
    let account = books(4, "{ epsilon = 2.0 }").open(&publisher(), 1000).unwrap();
    let tau = account.dummies().unwrap();
    for factor in [4, 5, 6, 7] {
        let _ = charge(&account, factor * tau, 5).unwrap().spend();
    }
    let balance = account.balance().unwrap();
    assert_eq!((balance.spent, balance.columns), (4, 20));
    assert!(balance.delta.unwrap() <= 1e-4);
}

#[test]
fn a_refund_leaves_no_trace_and_a_dropped_reservation_is_spent() {
    let books = books(2, "{ epsilon = 2.0 }");
    let account = books.open(&publisher(), 1000).unwrap();
    let before = account.balance().unwrap();
    let reservation = charge(&account, account.dummies().unwrap(), 2).unwrap();
    assert_eq!(account.balance().unwrap().open, 1);
    reservation.refund();
    assert_eq!(account.balance().unwrap(), before);
    drop(charge(&account, account.dummies().unwrap(), 2).unwrap());
    let balance = account.balance().unwrap();
    assert_eq!((balance.open, balance.spent), (0, 1));
}

#[test]
fn the_smallest_default_delta_of_all_queries_counts_whichever_came_first() {
    let books = books(3, "{ epsilon = 2.0 }");
    let first = books.open(&publisher(), 1000).unwrap();
    let second = books.open(&publisher(), 1_000_000).unwrap();
    let tau = first.dummies().unwrap();
    assert!(second.dummies().unwrap() > tau, "nothing is fixed by looking");
    let strict = second.dummies().unwrap();
    let held = charge(&second, strict, 2).unwrap();
    assert_eq!(first.dummies().unwrap(), strict, "few people after many are held to the same");
    held.refund();
    assert_eq!(first.dummies().unwrap(), tau, "a refunded query is none");
    let _ = charge(&first, tau, 2).unwrap().spend();
    assert_eq!(second.dummies().unwrap(), strict, "many people after few are not held to less");
}

#[test]
fn exact_sizes_are_limited_by_the_number_of_queries_alone() {
    let account = books(2, "{ exact = true }").open(&publisher(), 1000).unwrap();
    assert_eq!(account.dummies(), Ok(0));
    let _ = charge(&account, 0, 8).unwrap().spend();
    let _ = charge(&account, 0, 8).unwrap().spend();
    assert!(charge(&account, 0, 1).is_err());
}

#[test]
fn a_charge_for_another_account_is_refused() {
    let account = books(2, "{ exact = true }").open(&publisher(), 1000).unwrap();
    let charge = Charge { peer: "bank".to_owned(), population: "people".to_owned(), tau: 0, columns: 1 };
    assert!(matches!(account.asked(asked()).reserve(charge), Err(dp::BudgetRefusal::UnknownAccount { .. })));
}

#[test]
fn concurrent_queries_cannot_overspend() {
    let books = books(40, "{ epsilon = 2.0 }");
    let tau = books.open(&publisher(), 1000).unwrap().dummies().unwrap();
    let granted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let books = books.clone();
                scope.spawn(move || {
                    let account = books.open(&publisher(), 1000).unwrap();
                    let mut spent = 0;
                    for turn in 0..20 {
                        match charge(&account, tau, 2) {
                            Ok(reservation) if (thread + turn) % 5 == 0 => reservation.refund(),
                            Ok(reservation) => {
                                let _ = reservation.spend();
                                spent += 1;
                            }
                            Err(_) => {}
                        }
                    }
                    spent
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let balance = books.open(&publisher(), 1000).unwrap().balance().unwrap();
    assert_eq!(balance.spent as usize, granted);
    assert_eq!((balance.open, balance.spent, balance.columns), (0, 40, 80));
    assert!(balance.delta.unwrap() <= balance.delta_max.unwrap());
}

#[test]
fn clones_are_the_same_books_behind_any_thread() {
    let books = books(1, "{ exact = true }");
    let budget: Arc<dyn Budget> = Arc::new(books.clone().open(&publisher(), 1).unwrap().asked(asked()));
    let charge = Charge { peer: "publisher".to_owned(), population: "people".to_owned(), tau: 0, columns: 1 };
    let held = budget.reserve(charge.clone()).unwrap();
    assert!(books.open(&publisher(), 1).unwrap().asked(asked()).reserve(charge).is_err());
    let _ = held.spend();
}

#[test]
fn a_session_is_charged_once_ever_even_if_it_was_refunded() {
    let books = books(5, "{ exact = true }");
    let account = books.open(&publisher(), 1).unwrap();
    let asked = asked();
    account.charge(0, 1, &asked).unwrap().refund();
    let replayed = Error::Peer(PeerMisbehaved::Replayed(asked.session.to_string()));
    assert_eq!(account.charge(0, 1, &asked).unwrap_err(), replayed);
    let other = books.open(&Account::answering("bank", "people"), 1).unwrap();
    assert_eq!(other.charge(0, 1, &asked).unwrap_err(), replayed, "nor by another peer");
    let own = books.open(&Account::asking("publisher", "people"), 1).unwrap();
    assert!(
        matches!(own.charge(own.dummies().unwrap(), 1, &asked), Err(Error::Internal(_))),
        "the name of an own session is no peer's fault"
    );
    assert_eq!(account.balance().unwrap().queries_left, 5);
}

#[test]
fn whether_a_query_is_left_can_be_asked_in_vain() {
    let books = books(1, "{ exact = true }");
    let account = books.open(&publisher(), 1).unwrap();
    assert_eq!((account.check_left(), account.balance().unwrap().queries_left), (Ok(()), 1));
    drop(charge(&account, 0, 1).unwrap());
    assert_eq!(account.check_left().unwrap_err(), charge(&account, 0, 1).unwrap_err());
}
