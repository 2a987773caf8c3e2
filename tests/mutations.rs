//! Mutated messages against a live server: none panics it, none makes it hang, none makes either side say what the other
//! must not hear, and an answer that comes all the same is one that honest tables could have.
//!
//! Method: real sessions over loopback through a meddler, which mutates one message of the requester's in each: bits, lengths,
//! random bytes, repeated, lost and swapped messages, those of another phase. 100 mutations of each phase, or as many as
//! the environment variable `DATAFUSION_PSI_MUTATIONS` says, drawn from a seed that a failure names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod meddler;
#[path = "mutations/plan.rs"]
mod plan;
mod sessions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion_psi::crypto::ChaCha20Rng;
use datafusion_psi::psi::{
    Aggregate, Answered, Error, Fault, Offer, Question, Requester, Responder, SessionId, WordTerms,
};
use datafusion_psi::transport::{
    Deadlines, Peer, PeerIdentity, PeerServer, ServerLimits, SessionEnded, SharedTable, TableSource, drive,
};
use rand_core::SeedableRng;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use meddler::{Meddler, Way};
use plan::{KINDS, Mutation, Plan, Recorded, below};
use sessions::{REQUESTER, RESPONDER, entries, word};

/// Mutations of each phase where nothing else is asked for: 2000 sessions in all, under a minute of two cores.
const MUTATIONS: u64 = 100;
/// Sessions at the same time.
const WORKERS: u64 = 8;
/// No run may take longer, whatever happens in it. Stalls end after [`deadlines`].
const HANGS: Duration = Duration::from_secs(30);

/// Whether a text tells of anybody.
fn names_somebody(text: &str) -> bool {
    text.contains("example.com") || text.contains("+1555")
}

/// What is asked about: each question has oblivious transfers one way alone, so that no session pays for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Responders,
    Requesters,
}

impl Values {
    /// By the session's name, so that both sides know.
    fn of(session: SessionId) -> Values {
        if session.0[15] == 0 { Values::Responders } else { Values::Requesters }
    }

    fn question(self) -> Question {
        Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned(), "phone".to_owned()],
            filter: None,
            aggregates: match self {
                Values::Responders => {
                    vec![Aggregate::Persons.into(), Aggregate::Sum { column: "amount".to_owned() }.into()]
                }
                Values::Requesters => vec![Aggregate::OwnSum { value: 0, decimals: 0 }.into()],
            },
            group_by: None,
            own_groups: false,
        }
    }

    fn words(self) -> Vec<WordTerms> {
        match self {
            Values::Responders => vec![word(1, 0), word(1000, 2)],
            Values::Requesters => vec![word(7, 0)],
        }
    }

    /// The four in common are persons 6 to 9; of the requester's values, 8 and 9 have 0 and 1.
    fn truth(self) -> Vec<i128> {
        match self {
            Values::Responders => vec![4, 6 + 7 + 8 + 9],
            Values::Requesters => vec![6 + 7 + 1],
        }
    }

    /// The most that ten persons can make of each word.
    fn bounds(self) -> Vec<i128> {
        self.words().iter().map(|word| 10 * word.max).collect()
    }
}

/// Persons 0..10 here, 6..16 there: four in common.
fn requester(session: SessionId) -> Requester {
    let asked = Values::of(session);
    let values = match asked {
        Values::Responders => vec![],
        Values::Requesters => vec![(0..10).map(|person| person % 8).collect()],
    };
    let rng = ChaCha20Rng::from_seed([session.0[0]; 32]);
    sessions::requester(session, asked.question(), asked.words(), entries(2, 0, 10, values), rng)
}

/// Answers with real sessions, and notes how each ended.
#[derive(Default)]
struct Table {
    ended: Mutex<Vec<Result<(), Error>>>,
}

#[async_trait]
impl TableSource for Table {
    type Answer = Responder;

    fn knows(&self, peer: &PeerIdentity) -> bool {
        peer.name == REQUESTER
    }

    async fn shares(&self, _: &PeerIdentity) -> Result<Vec<SharedTable>, Error> {
        Ok(Vec::new())
    }

    async fn answer(&self, _: &PeerIdentity, offer: Offer) -> Result<Responder, Error> {
        // As a policy does: nothing but these questions is allowed here.
        let asked = Values::of(offer.session);
        if offer.question != asked.question() {
            return Err(Error::Refused("this is not shared".to_owned()));
        }
        let values = match asked {
            Values::Responders => vec![vec![1; 10], (6..16).collect()],
            Values::Requesters => vec![],
        };
        sessions::responder(&offer, asked.words(), entries(2, 6, 16, values))
    }

    async fn ended(&self, _: &PeerIdentity, ended: SessionEnded<'_, Responder>) {
        let outcome = ended.outcome.map_err(Clone::clone).and_then(Responder::into_outcome);
        self.ended.lock().unwrap().push(outcome.map(|_| ()));
    }
}

fn deadlines() -> Deadlines {
    let seconds = Duration::from_secs;
    Deadlines {
        connect: seconds(5),
        idle: seconds(1),
        answer: seconds(5),
        session: seconds(15),
        close: Duration::from_millis(200),
    }
}

async fn ask(address: &str, session: SessionId) -> Result<Answered, Error> {
    let peer = Peer::new(RESPONDER, REQUESTER, address, deadlines())?;
    let mut channel = peer.channel(session).await?;
    drive(requester(session), &mut channel, &deadlines(), Arc::new(())).await?.into_answer()
}

/// A name that no session had before.
fn fresh(number: &AtomicU64, asked: Values) -> SessionId {
    let mut id = [0; 16];
    id[15] = u8::from(asked == Values::Requesters);
    id[..8].copy_from_slice(&number.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    SessionId(id)
}

/// What the runs came to.
#[derive(Debug, Default)]
struct Count {
    answered: u64,
    faults: BTreeMap<&'static str, u64>,
    slowest: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mutated_message_panics_a_server_hangs_it_or_makes_it_tell_of_anybody() {
    let wanted = std::env::var("DATAFUSION_PSI_MUTATIONS").map_or(MUTATIONS, |number| number.parse().unwrap());
    // A panic on a server's thread is caught there, and must not happen all the same.
    let panics = Arc::new(Mutex::new(Vec::new()));
    let (seen, before) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        seen.lock().unwrap().push(panic.to_string());
        before(panic);
    }));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let direct = format!("grpc://127.0.0.1:{port}");
    let table = Arc::new(Table::default());
    let limits = ServerLimits {
        connections_per_peer_max: 60,
        sessions_max: 64,
        sessions_per_peer_max: 64,
        remembered_max: 1024,
        deadlines: deadlines(),
        ..ServerLimits::default()
    };
    let mut serving = JoinSet::new();
    serving.spawn(PeerServer::new(RESPONDER, Arc::clone(&table), limits).serve(listener, std::future::pending()));

    let number = Arc::new(AtomicU64::new(0));
    // Every phase with the number of its messages, and a question that has it.
    let (mut good, mut phases) = (Recorded::new(), BTreeMap::<String, (Values, usize)>::new());
    for asked in [Values::Responders, Values::Requesters] {
        let recorder = Meddler::start(port, meddler::pass(), true).await;
        assert_eq!(ask(&recorder.address(), fresh(&number, asked)).await.unwrap().cells[0], asked.truth());
        for (place, message) in recorder.seen().into_iter().filter(|(place, _)| place.way == Way::Up) {
            let (first, messages) = phases.entry(place.phase.clone()).or_insert((asked, 0));
            *messages += usize::from(*first == asked);
            good.push((place, message));
        }
    }
    assert!(phases.len() > 18, "{phases:?}");

    let plan = Arc::new(Plan::new(good));
    let todo: Vec<(String, (Values, usize))> = phases.into_iter().collect();
    let todo = Arc::new(todo);
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (plan, todo, number) = (Arc::clone(&plan), Arc::clone(&todo), Arc::clone(&number));
        workers.spawn(async move {
            let meddler = Meddler::start(port, plan.meddle(), false).await;
            let mut counts: BTreeMap<String, Count> = BTreeMap::new();
            for round in (worker..wanted).step_by(WORKERS as usize) {
                for (at, (phase, (values, messages))) in todo.iter().enumerate() {
                    let seed = round * todo.len() as u64 + at as u64;
                    let mut rng = ChaCha20Rng::seed_from_u64(seed);
                    // Three in five strike a batch: the first message is the schema, the last one the end.
                    let batches = messages.saturating_sub(2);
                    let index = match below(&mut rng, 5) {
                        0 => 0,
                        1 => messages - 1,
                        _ if batches > 0 => 1 + below(&mut rng, batches),
                        _ => below(&mut rng, *messages),
                    };
                    let kind = KINDS[below(&mut rng, KINDS.len())];
                    let mutation = Mutation { phase: phase.clone(), index, kind, seed };
                    let session = fresh(&number, *values);
                    let name = session.to_string();
                    plan.begin(&name, &mutation);
                    let asked = Instant::now();
                    let outcome = tokio::time::timeout(HANGS, ask(&meddler.address(), session)).await;
                    plan.end(&name);
                    let count = counts.entry(phase.clone()).or_default();
                    count.slowest = count.slowest.max(asked.elapsed());
                    match outcome.unwrap_or_else(|_| panic!("it hangs: {mutation:?}")) {
                        Ok(answered) => {
                            count.answered += 1;
                            for (sum, most) in answered.cells[0].iter().zip(values.bounds()) {
                                assert!((0..=most).contains(sum), "{mutation:?}: {:?}", answered.cells[0]);
                            }
                        }
                        Err(error) => {
                            *count.faults.entry(error.fault().name()).or_default() += 1;
                            assert!(error.fault() != Fault::Internal, "{mutation:?}: {error}");
                            assert!(!names_somebody(&error.to_string()), "{mutation:?}: {error}");
                        }
                    }
                }
            }
            counts
        });
    }
    let mut all: BTreeMap<String, Count> = BTreeMap::new();
    while let Some(counts) = workers.join_next().await {
        for (phase, count) in counts.unwrap() {
            let sum = all.entry(phase).or_default();
            sum.answered += count.answered;
            sum.slowest = sum.slowest.max(count.slowest);
            for (fault, times) in count.faults {
                *sum.faults.entry(fault).or_default() += times;
            }
        }
    }
    for (phase, count) in &all {
        eprintln!("{phase}: {count:?}");
    }
    eprintln!("{wanted} mutations of each of {} phases in {:?}", all.len(), began.elapsed());

    assert_eq!(*panics.lock().unwrap(), Vec::<String>::new());
    assert!(serving.try_join_next().is_none(), "the server is gone");
    for error in table.ended.lock().unwrap().iter().filter_map(|ended| ended.as_ref().err()) {
        assert!(error.fault() != Fault::Internal && !names_somebody(&error.to_string()), "{error}");
    }
    for asked in [Values::Responders, Values::Requesters] {
        assert_eq!(ask(&direct, fresh(&number, asked)).await.unwrap().cells[0], asked.truth());
    }
}
