//! The ledger against processes that die: `serve` and `sql` are killed (SIGKILL) at random moments of a question, again
//! and again over the same two folders, and no process ever spends less than what left it.
//!
//! Method: all messages between the two processes pass a witness in this one. Whatever it saw leave a party depends on a
//! charge in that party's books, so after each kill both books are opened, with no process running, and held against what
//! was seen. 12 kills, or as many as the environment variable `DATAFUSION_PSI_KILLS` says; `DATAFUSION_PSI_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod meddler;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion_psi::crypto::ChaCha20Rng;
use datafusion_psi::policy::{Account, AuditSession};
use datafusion_psi::{Budgets, Party, SystemClock};
use rand_core::{Rng, SeedableRng};

use meddler::{Meddler, Way};

/// What each side's budget allows: more than any run of this test asks.
const QUERIES: u64 = 200;
const KILLS: u64 = 12;

const QUESTION: &str = "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue \
     FROM readers r JOIN shop.purchases p ON r.email = p.email";
/// Persons 10 to 29 are at both: 20 of them, whose amounts are 10.5 + … + 29.5.
const TRUTH: &str = "buyers,revenue\n20,400.0\n";

/// How long the test waits for a process: only ever spent by a test that fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whom a kill strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    Asker,
    Both,
}

/// Both parties' folders.
struct Parties {
    folder: tempfile::TempDir,
}

/// A process; dropped, it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
}

impl Parties {
    /// The shop listens at one port, the paper calls another: that of the witness.
    fn new(port: u16, witness: u16) -> Parties {
        let parties = Parties { folder: tempfile::tempdir().unwrap() };
        for party in ["shop", "paper"] {
            fs::create_dir_all(parties.path(party).join("data")).unwrap();
        }
        let purchases = (0..30).map(|n| format!("person{n}@example.org,{n}.50\n")).collect::<String>();
        let readers = (10..40).map(|n| format!("person{n}@example.org\n")).collect::<String>();
        fs::write(parties.path("shop/data/purchases.csv"), format!("email,amount\n{purchases}")).unwrap();
        fs::write(parties.path("paper/data/readers.csv"), format!("email\n{readers}")).unwrap();
        let shop = format!(
            r#"
[party]
name = "shop"
[server]
listen = "127.0.0.1:{port}"
plaintext = true
[[table]]
name = "purchases"
location = "data/purchases.csv"
[[peer]]
name = "paper"
address = "grpc://127.0.0.1:1"
plaintext = true
[[share]]
table = "purchases"
with = ["paper"]
identifiers = {{ email = "email/1" }}
aggregates = {{ amount = {{ min = 0, max = 1000, max_rows = 5, decimals = 2 }} }}
minimum_matched = 0
[share.budget]
population = "shoppers"
queries = {QUERIES}
sizes = {{ epsilon = 20.0 }}
outputs = {{ noise = "none" }}
"#
        );
        let paper = format!(
            r#"
[party]
name = "paper"
[[table]]
name = "readers"
location = "data/readers.csv"
[[peer]]
name = "shop"
address = "grpc://127.0.0.1:{witness}"
plaintext = true
[[ask]]
of = ["shop"]
population = "readers"
rows = "reveal"
identifiers = 1
[ask.budget]
queries = {QUERIES}
sizes = {{ epsilon = 20.0 }}
"#
        );
        for (party, policy) in [("shop", shop), ("paper", paper)] {
            fs::write(parties.config(party), policy).unwrap();
            let made = binary().args(["ledger", "--create", "--config"]).arg(parties.config(party)).output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        parties
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, party: &str) -> PathBuf {
        self.path(party).join("party.toml")
    }

    /// Starts the server and waits until it answers: it must never refuse to, whatever it was killed in.
    fn serve(&self) -> Running {
        let mut server = Running(
            binary().args(["serve", "--config"]).arg(self.config("shop")).stderr(Stdio::piped()).spawn().unwrap(),
        );
        let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut log = Vec::new();
        loop {
            let Some(line) = lines.next() else { panic!("the server did not start: {log:?}") };
            if line.contains("answers at") {
                break;
            }
            log.push(line);
        }
        // Read on, or the pipe fills and the server waits for it.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }

    fn ask(&self) -> Running {
        let mut command = binary();
        command.args(["sql", "--format", "csv", "-c", QUESTION, "--config"]).arg(self.config("paper"));
        Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Opens a party's books, as its next process would: their chains are checked there.
    fn books(&self, party: &str) -> Books {
        Books::open(&self.config(party), if party == "shop" { "paper" } else { "shop" })
    }
}

/// What a party's books say.
struct Books {
    /// Sessions that were charged, and not refunded.
    charged: BTreeSet<String>,
    sessions: Vec<AuditSession>,
    queries_left: u64,
    /// Events of the peer's chain.
    events: u64,
}

impl Books {
    fn open(config: &Path, peer: &str) -> Books {
        let party = Party::load(config).unwrap();
        let books = Budgets::load(&party, Arc::new(SystemClock)).expect("a kill damages no ledger");
        let chains = books.verify_chains().expect("a kill breaks no chain");
        let events = chains.iter().find(|chain| chain.peer == peer).map_or(0, |chain| chain.head.seq);
        let sessions = books.sessions().unwrap();
        let account = match party.name.as_str() {
            "shop" => Account::answering(peer, "shoppers"),
            _ => Account::asking(peer, "readers"),
        };
        let balance = books.open(&account, 30).unwrap().balance().unwrap();
        let charged = sessions
            .iter()
            .filter(|session| !session.refunded)
            .filter_map(|session| session.charged.session.map(|id| id.to_string()))
            .collect();
        Books { charged, sessions, queries_left: balance.queries_left, events }
    }

    /// The sessions that showed this party a size, or that it saw released.
    fn answered(&self) -> impl Iterator<Item = String> {
        self.sessions.iter().filter_map(|session| {
            let ended = session.ended.as_ref()?;
            let released = ended.outcome.as_deref() == Some("released");
            let sizes = ended.sizes.as_ref().is_some_and(|sizes| !sizes.is_empty());
            session.charged.session.filter(|_| released || sizes).map(|id| id.to_string())
        })
    }

    /// A ledger that went on from `before`, and whose sums are right.
    fn check(&self, before: Option<&Books>, what: &str) {
        assert_eq!(self.queries_left, QUERIES - self.charged.len() as u64, "{what}");
        let open: Vec<_> =
            self.sessions.iter().filter(|session| session.ended.is_none() && !session.refunded).collect();
        assert!(
            open.is_empty(),
            "{what}: a session that a kill cut off has its end once the books are opened: {open:?}"
        );
        if let Some(before) = before {
            assert!(self.charged.is_superset(&before.charged), "{what}: a charge is gone");
            assert!(self.events >= before.events, "{what}: {} events, then {}", before.events, self.events);
        }
    }
}

/// Waits for a process to end by itself.
fn finished(mut process: Running) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while process.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it hangs");
        std::thread::sleep(Duration::from_millis(10));
    }
    let read = |pipe: Option<&mut dyn std::io::Read>| {
        let mut bytes = Vec::new();
        pipe.map(|pipe| pipe.read_to_end(&mut bytes));
        bytes
    };
    let stdout = read(process.0.stdout.as_mut().map(|pipe| pipe as _));
    let stderr = read(process.0.stderr.as_mut().map(|pipe| pipe as _));
    Output { status: process.0.wait().unwrap(), stdout, stderr }
}

/// The sessions of which a message with content went that way: the hello's batch is the first that depends on a table,
/// by its announced length; its schema says nothing.
fn left(witness: &Meddler, way: Way) -> BTreeSet<String> {
    let content = witness.seen().into_iter().filter(|(place, message)| {
        place.way == way && place.phase != "control" && place.index > 0 && !message.data_header.is_empty()
    });
    content.map(|(place, _)| place.session).collect()
}

/// Everything that must hold whenever no process runs.
fn check_both(parties: &Parties, witness: &Meddler, before: &mut Option<(Books, Books)>, what: &str) {
    let (shop, paper) = (parties.books("shop"), parties.books("paper"));
    shop.check(before.as_ref().map(|books| &books.0), &format!("{what}: shop"));
    paper.check(before.as_ref().map(|books| &books.1), &format!("{what}: paper"));
    for (books, way, name) in [(&shop, Way::Down, "shop"), (&paper, Way::Up, "paper")] {
        let unpaid: Vec<_> = left(witness, way).difference(&books.charged).cloned().collect();
        assert!(unpaid.is_empty(), "{what}: left {name} without a charge: {unpaid:?}");
    }
    for session in shop.answered().chain(paper.answered()) {
        let both = shop.charged.contains(&session) && paper.charged.contains(&session);
        assert!(both, "{what}: session {session} was answered, and is not charged on both sides");
    }
    *before = Some((shop, paper));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_any_moment_has_paid_for_all_that_left_it() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("DATAFUSION_PSI_KILLS").unwrap_or(KILLS);
    assert!(kills + 2 <= QUERIES, "the budget has to last");
    let seed = number("DATAFUSION_PSI_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    eprintln!("DATAFUSION_PSI_SEED={seed}");

    // Free at this moment; `serve` says so if somebody else took it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let witness = Meddler::start(port, meddler::pass(), true).await;
    let parties = Parties::new(port, witness.port);
    let mut before = None;

    // A good question first: how long one takes says when kills have to come.
    let server = parties.serve();
    let began = Instant::now();
    let good = finished(parties.ask());
    let whole = began.elapsed();
    assert_eq!(String::from_utf8_lossy(&good.stdout), TRUTH, "{}", String::from_utf8_lossy(&good.stderr));
    drop(server);
    assert_eq!(
        (left(&witness, Way::Up).len(), left(&witness, Way::Down).len()),
        (1, 1),
        "the witness sees what leaves"
    );
    check_both(&parties, &witness, &mut before, "before the first kill");

    let (mut answered, mut begun) = (1, 0);
    for kill in 0..kills {
        let victim = [Victim::Server, Victim::Server, Victim::Asker, Victim::Both][(rng.next_u64() % 4) as usize];
        let known = left(&witness, Way::Up).len();
        let server = parties.serve();
        let asker = parties.ask();
        // From before the asker has read its policy to after it has its answer. (A fixed 400 ms would be over before a
        // slow machine's process has begun to ask.)
        let moment = whole.mul_f64((rng.next_u64() % 1100) as f64 / 1000.0);
        let what = format!("seed {seed}, kill {kill} of {victim:?} after {moment:?} of {whole:?}");
        tokio::time::sleep(moment).await;
        begun += u64::from(left(&witness, Way::Up).len() > known);
        let output = match victim {
            Victim::Server => {
                drop(server);
                Some(finished(asker))
            }
            Victim::Asker => {
                drop(asker);
                // It notices, notes it, and is killed as well: whatever it was at by then.
                tokio::time::sleep(Duration::from_millis(rng.next_u64() % 200)).await;
                drop(server);
                None
            }
            Victim::Both => {
                drop(server);
                drop(asker);
                None
            }
        };
        if let Some(output) = output {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if output.status.success() {
                assert_eq!(out, TRUTH, "{what}");
                answered += 1;
            } else {
                // No part of an answer, one line that says what happened, and nobody accused of a broken protocol.
                assert_eq!(out, "", "{what}");
                assert_eq!(err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{what}: {err}");
                assert!(!err.contains("broke the protocol") && !err.contains("panicked"), "{what}: {err}");
            }
        }
        check_both(&parties, &witness, &mut before, &what);
        let (shop, paper) = before.as_ref().unwrap();
        assert!(shop.charged.len() >= answered && paper.charged.len() >= answered, "{what}: {answered} answers");
    }

    // After all that: neither side takes the other's ledger for an old one, and the next question is answered.
    let server = parties.serve();
    let good = finished(parties.ask());
    assert_eq!(String::from_utf8_lossy(&good.stdout), TRUTH, "{}", String::from_utf8_lossy(&good.stderr));
    drop(server);
    check_both(&parties, &witness, &mut before, "after the last kill");
    let (shop, paper) = before.unwrap();
    let crashed = |books: &Books| {
        let outcome = |session: &&AuditSession| {
            session
                .ended
                .as_ref()
                .and_then(|ended| ended.outcome.as_deref())
                .is_some_and(|text| text.starts_with("crashed"))
        };
        books.sessions.iter().filter(outcome).count()
    };
    eprintln!(
        "{kills} kills, {begun} of them after an offer had left: {} charges at the shop ({} cut off), {} at the paper ({} cut off), \
         {answered} answers in between",
        shop.charged.len(),
        crashed(&shop),
        paper.charged.len(),
        crashed(&paper)
    );
    if kills >= 12 {
        assert!(crashed(&shop) + crashed(&paper) > 0, "no kill struck a session: the moments are wrong");
    }
}
