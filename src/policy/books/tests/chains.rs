//! Chain heads between two ledgers, and what an old copy cannot hide.

use super::*;
use crate::policy::{CHAIN_LINKS_MAX, ChainLink, Event};
use crate::psi::{Error, PeerMisbehaved};

/// The party that watches: its ledger keeps what `advertiser` tells.
fn watcher() -> (Budgets, Arc<Hands>) {
    let clock = Hands::at(NOON);
    let watcher = party(Path::new("elsewhere"), 100, Period::Forever);
    (Budgets::in_memory_at(&watcher, Arc::clone(&clock) as _), clock)
}

const TOLD: &str = "advertiser";

#[test]
fn a_chain_that_goes_on_is_kept_whatever_was_lost_on_the_way() {
    let (_folder, _, _, budgets) = founded(500, Period::Forever);
    let (watcher, _) = watcher();
    watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).unwrap();
    for turn in 0..40 {
        session(&budgets, &publisher());
        let chain = budgets.chain("publisher").unwrap();
        assert_eq!(chain[0].seq, 2 * (turn + 1));
        // Most hellos get lost, and nobody confirms any of them.
        if turn % 7 == 0 {
            watcher.keep_chain(TOLD, &chain).unwrap();
            watcher.keep_chain(TOLD, &chain).unwrap();
        }
    }
}

#[test]
fn a_ledger_that_nobody_confirms_tells_no_more_than_fit_and_never_looks_old() {
    let (_folder, _, _, budgets) = founded(500, Period::Forever);
    let (watcher, clock) = watcher();
    session(&budgets, &publisher());
    watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).unwrap();
    for _ in 0..100 {
        session(&budgets, &publisher());
        budgets.chain("publisher").unwrap();
    }
    let chain = budgets.chain("publisher").unwrap();
    assert_eq!((chain.len(), chain[0].seq, chain[63].seq), (CHAIN_LINKS_MAX, 128, 2));
    clock.turn(60);
    watcher.keep_chain(TOLD, &chain).unwrap();
    // Once the peer is known to have the newest, older ones are not told again, and newer ones are.
    budgets.confirm_chain("publisher", &ChainLink { seq: 128, hash: [0; 32] }).unwrap();
    assert_eq!(budgets.chain("publisher").unwrap().len(), 64, "a link that was never told confirms nothing");
    budgets.confirm_chain("publisher", &chain[0]).unwrap();
    let next = budgets.chain("publisher").unwrap();
    assert_eq!(next.iter().map(|link| link.seq).collect::<Vec<_>>(), [202, 128]);
    watcher.keep_chain(TOLD, &next).unwrap();
}

#[test]
fn a_copied_back_old_ledger_is_noticed_by_the_peer() {
    let (folder, party, clock, budgets) = founded(500, Period::Forever);
    let (watcher, watch) = watcher();
    session(&budgets, &publisher());
    watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).unwrap();
    drop(budgets);
    let backup = folder.path().join("backup");
    copied(&party.state, &backup);

    let budgets = load(&party, &clock);
    session(&budgets, &publisher());
    watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).unwrap();
    drop(budgets);
    copied(&backup, &party.state);

    // The old copy is whole: nothing in it says that it is old.
    let budgets = load(&party, &clock);
    budgets.verify_chains().unwrap();
    assert_eq!(counted(&budgets, &publisher()), 1);
    let told = budgets.chain("publisher").unwrap();
    watcher.keep_chain(TOLD, &told).expect("for two minutes it could be a hello that was overtaken");
    watch.turn(3);
    let Error::Refused(text) = watcher.keep_chain(TOLD, &told).unwrap_err() else { panic!() };
    assert!(
        text.starts_with("the ledger of 'advertiser' is not the one that told its entry 4: it was rolled back"),
        "{text}"
    );
    // Going on from there, it contradicts what it told, early or late.
    session(&budgets, &publisher());
    let forked = budgets.chain("publisher").unwrap();
    assert!(watcher.keep_chain(TOLD, &forked).is_err());

    watcher.forgive_chain(TOLD).unwrap();
    watcher.keep_chain(TOLD, &forked).unwrap();
    let row = watcher.audit().unwrap().pop().unwrap();
    assert_eq!(
        (row.event, row.outcome.as_deref()),
        (Event::Forgiven, Some("the peer's chain, kept up to 4, may begin anew"))
    );
}

#[test]
fn a_rolled_back_ledger_that_goes_on_within_the_two_minutes_contradicts_itself() {
    let (folder, party, clock, budgets) = founded(500, Period::Forever);
    let (watcher, _) = watcher();
    watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).unwrap();
    drop(budgets);
    let backup = folder.path().join("backup");
    copied(&party.state, &backup);
    let mut refused = 0;
    for _ in 0..2 {
        let budgets = load(&party, &clock);
        let held = open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap();
        refused += u32::from(watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).is_err());
        drop(held);
        drop(budgets);
        copied(&backup, &party.state);
    }
    assert_eq!(refused, 1, "the second branch's first charge has the number of the first one's");
}

#[test]
fn a_ledger_made_anew_is_another_one_even_before_its_first_event() {
    let (_folder, party, clock, budgets) = founded(500, Period::Forever);
    let (watcher, _) = watcher();
    let empty = budgets.chain("publisher").unwrap();
    assert_eq!((empty.len(), empty[0].seq), (1, 0));
    assert_ne!(budgets.chain("bank").unwrap(), empty, "each peer is told another beginning");
    watcher.keep_chain(TOLD, &empty).unwrap();
    drop(budgets);
    std::fs::remove_file(party.state.join("ledger.sqlite")).unwrap();
    Budgets::create(&party).unwrap();
    assert!(watcher.keep_chain(TOLD, &load(&party, &clock).chain("publisher").unwrap()).is_err());
}

#[test]
fn peers_see_chains_of_their_own() {
    let (_folder, _, _, budgets) = founded(500, Period::Forever);
    for _ in 0..3 {
        session(&budgets, &publisher());
    }
    let before = budgets.chain("bank").unwrap();
    session(&budgets, &publisher());
    assert_eq!(budgets.chain("bank").unwrap(), before, "what others do is no business of the bank");
    assert_eq!(budgets.chain("publisher").unwrap()[0].seq, 8);
}

#[test]
fn what_is_no_chain_is_the_peers_fault() {
    let (watcher, _) = watcher();
    let link = |seq| ChainLink { seq, hash: [7; 32] };
    let long: Vec<_> = (0..65).rev().map(link).collect();
    for links in [vec![], vec![link(1), link(2)], vec![link(2), link(2)], long, vec![link(u64::MAX)]] {
        let error = watcher.keep_chain(TOLD, &links).unwrap_err();
        assert!(matches!(error, Error::Peer(PeerMisbehaved::Hello { .. })), "{error}");
    }
}

#[test]
fn hellos_that_overtake_each_other_are_no_alarm() {
    let (_folder, _, _, budgets) = founded(500, Period::Forever);
    let (watcher, clock) = watcher();
    session(&budgets, &publisher());
    watcher.keep_chain(TOLD, &budgets.chain("publisher").unwrap()).unwrap();
    let chains: Vec<_> = (0..3)
        .map(|_| {
            session(&budgets, &publisher());
            budgets.chain("publisher").unwrap()
        })
        .collect();
    clock.turn(60);
    for chain in [&chains[2], &chains[0], &chains[1], &chains[2]] {
        watcher.keep_chain(TOLD, chain).unwrap();
    }
}
