//! The file itself: made, missing, damaged, of somebody else, full, read-only.

use std::fs;

use super::*;
use crate::psi::Error;

fn refused(party: &Party) -> String {
    Budgets::load(party, Hands::at(NOON)).unwrap_err().to_string()
}

fn file(party: &Party) -> std::path::PathBuf {
    party.state.join("ledger.sqlite")
}

#[test]
fn a_missing_ledger_is_no_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let party = party(folder.path(), 3, Period::Forever);
    let text = refused(&party);
    assert!(text.starts_with("there is no ledger at "), "{text}");
    let advice = format!("create one by `datafusion-psi ledger --create --config {}`", party.file.display());
    assert!(text.contains("Restore it from a copy") && text.ends_with(&advice), "{text}");
    assert!(!party.state.exists(), "looking makes nothing");
    Budgets::create(&party).unwrap();
    assert_eq!(counted(&load(&party, &Hands::at(NOON)), &publisher()), 0);
}

#[test]
fn a_new_ledger_never_takes_the_place_of_another() {
    let (_folder, party, clock, budgets) = founded(3, Period::Forever);
    session(&budgets, &publisher());
    let text = Budgets::create(&party).unwrap_err().to_string();
    assert!(text.starts_with("there is a ledger at "), "{text}");
    drop(budgets);
    assert_eq!(counted(&load(&party, &clock), &publisher()), 1);
    fs::write(file(&party), "").unwrap();
    assert!(Budgets::create(&party).is_err(), "nor of an empty file: somebody emptied it");
    let left: Vec<_> = fs::read_dir(&party.state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ledger.sqlite"], "and leaves nothing behind");
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_ledger_or_what_sqlite_puts_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (_folder, party, clock, budgets) = founded(3, Period::Forever);
    assert_eq!((mode(&party.state), mode(&file(&party))), (0o700, 0o600));
    let (seen, state) = (Arc::new(Mutex::new(Vec::new())), party.state.clone());
    let noted = Arc::clone(&seen);
    *locked(&budgets.ledger().watch) = Some(Box::new(move |_| {
        noted
            .lock()
            .unwrap()
            .extend(fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).map(|path| mode(&path)));
    }));
    session(&budgets, &publisher());
    *locked(&budgets.ledger().watch) = None;
    drop(budgets);
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 8 && seen.iter().all(|mode| *mode == 0o600), "{seen:?}");
    // A copy comes back with the modes of whoever copied.
    fs::set_permissions(file(&party), PermissionsExt::from_mode(0o644)).unwrap();
    drop(load(&party, &clock));
    assert_eq!(mode(&file(&party)), 0o600);
}

#[test]
fn a_damaged_ledger_refuses_to_serve_wherever_the_damage_is() {
    let (_folder, party, _, budgets) = founded(100, Period::Forever);
    for _ in 0..30 {
        session(&budgets, &publisher());
    }
    drop(budgets);
    let whole = fs::read(file(&party)).unwrap();
    let pages = whole.len() / 4096;
    for page in 0..pages {
        fs::write(file(&party), &whole[..4096 * page + 1000]).unwrap();
        let text = refused(&party);
        assert!(text.contains("is damaged") && text.contains("Restore the newest copy"), "cut in page {page}: {text}");
    }
    fs::write(file(&party), "").unwrap();
    assert!(refused(&party).contains("is damaged: it is not a ledger of datafusion-psi"));
    fs::write(file(&party), "no database at all, but as long as its header would be ........................................................").unwrap();
    assert!(refused(&party).contains("is damaged"));
    fs::write(file(&party), &whole).unwrap();
    assert_eq!(counted(&load(&party, &Hands::at(NOON)), &publisher()), 30, "what was read back is whole");
}

#[test]
fn a_flipped_bit_never_gives_budget_back() {
    let (_folder, party, clock, budgets) = founded(100, Period::Forever);
    for _ in 0..6 {
        session(&budgets, &publisher());
    }
    open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap().refund();
    drop(budgets);
    let whole = fs::read(file(&party)).unwrap();
    let (mut shown, mut unused) = (0, 0);
    // Every 61st byte: all pages, all kinds of places.
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(file(&party), &flipped).unwrap();
        match Budgets::load(&party, Arc::clone(&clock) as _) {
            Err(_) => shown += 1,
            // Free space, counters, or a table beside the audit.
            Ok(budgets) => {
                unused += 1;
                if let Ok(balance) = open(&budgets, &publisher()).balance() {
                    assert_eq!(balance.open + balance.spent, 6, "byte {at}");
                }
            }
        }
    }
    assert!(shown > 50 && unused > 50, "{shown} {unused}");
}

#[test]
fn the_ledger_of_another_party_or_version_is_refused() {
    let (_folder, mut party, clock, budgets) = founded(3, Period::Forever);
    drop(budgets);
    party.name = "somebody".to_owned();
    let text = refused(&party);
    assert_eq!(
        text,
        "the ledger belongs to party 'advertiser', and this is 'somebody': give each party a folder `state` of its own"
    );
    party.name = "advertiser".to_owned();
    load(&party, &clock).ledger().connection().pragma_update(None, "user_version", 2).unwrap();
    assert!(refused(&party).contains("is of version 2, and this program writes version 1"));
    let connection = rusqlite::Connection::open(file(&party)).unwrap();
    connection.pragma_update(None, "application_id", 7).unwrap();
    drop(connection);
    assert!(refused(&party).contains("it is not a ledger of datafusion-psi"));
}

#[test]
fn on_a_full_disk_a_charge_fails_and_costs_nothing() {
    let (_folder, party, clock, budgets) = founded(100, Period::Forever);
    session(&budgets, &publisher());
    let pages: i64 = {
        let connection = budgets.ledger().connection();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let _: i64 = connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
        pages
    };
    let account = open(&budgets, &publisher());
    let long = Asked { question: "x".repeat(5000), ..asked() };
    let error = account.charge(0, 1, &long).unwrap_err();
    let Error::Environment(text) = error else { panic!("{error}") };
    assert!(text.starts_with("the budget could not be recorded, so nothing was sent: "), "{text}");
    assert!(text.contains("its disk is full"), "{text}");
    assert!(!text.contains("sqlite") && !text.contains('/'), "the peer may read it, and no file of ours: {text}");
    assert_eq!(counted(&budgets, &publisher()), 1);
    let _: i64 = budgets
        .ledger()
        .connection()
        .query_row(&format!("PRAGMA max_page_count = {}", pages + 100), [], |row| row.get(0))
        .unwrap();
    drop(account.charge(0, 1, &long).unwrap());
    drop((budgets, account));
    assert_eq!(counted(&load(&party, &clock), &publisher()), 2, "the session's name was not used up by the failure");
}

#[test]
fn where_nothing_can_be_written_reading_goes_on_and_a_charge_fails() {
    let (_folder, _, _, budgets) = founded(100, Period::Forever);
    let kept = asked();
    let held = open(&budgets, &publisher()).charge(0, 1, &kept).unwrap();
    let refundable = open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap();
    // As a disk that the system has made read-only: file permissions do not bind whoever runs this as root.
    budgets.ledger().connection().pragma_update(None, "query_only", true).unwrap();
    let error = open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap_err().to_string();
    assert!(error.contains("it cannot be written"), "{error}");
    assert!(budgets.ended(kept.session, &well()).is_err());
    assert!(budgets.approval("publisher", "q", "t").is_err());
    let _ = held.spend();
    refundable.refund();
    assert_eq!(counted(&budgets, &publisher()), 2, "a refund that could not be written is none");
    assert_eq!(budgets.audit().unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_fails_a_charge_in_words() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, party, clock, budgets) = founded(100, Period::Forever);
    drop(budgets);
    let set = |mode| fs::set_permissions(&party.state, PermissionsExt::from_mode(mode)).unwrap();
    set(0o500);
    let bound = fs::write(party.state.join("probe"), "").is_err();
    let budgets = load(&party, &clock);
    let charged = open(&budgets, &publisher()).charge(0, 1, &asked());
    set(0o700);
    if bound {
        let text = charged.unwrap_err().to_string();
        assert!(text.starts_with("the budget could not be recorded, so nothing was sent: the ledger "), "{text}");
        assert_eq!(counted(&budgets, &publisher()), 0);
    } else {
        // Root writes anywhere; then it is charged as ever.
        drop(charged.unwrap());
        assert_eq!(counted(&budgets, &publisher()), 1);
    }
}

#[test]
fn another_process_that_holds_the_ledger_fails_a_charge_after_a_while_and_costs_nothing() {
    let (_folder, party, clock, budgets) = founded(100, Period::Forever);
    let other = load(&party, &clock);
    budgets.ledger().connection().busy_timeout(std::time::Duration::from_millis(50)).unwrap();
    let text = other
        .ledger()
        .write(|_| Ok(open(&budgets, &publisher()).charge(0, 1, &asked()).unwrap_err().to_string()))
        .unwrap();
    assert!(text.contains("another process kept it locked for too long"), "{text}");
    assert_eq!(counted(&budgets, &publisher()), 0);
}
