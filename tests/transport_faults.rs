//! The real sessions over a network that breaks: at every message within one process, and after any number of bytes
//! between a requester and a real server. Every break is a clear error on both sides, gives no partial result, hangs
//! nobody, and leaves the server serving.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sessions;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion_psi::crypto::ChaCha20Rng;
use datafusion_psi::psi::{
    Aggregate, Answered, Error, Fault, Offer, Phase, Question, Requester, Responder, SessionId, WordTerms,
};
use datafusion_psi::transport::local::{Direction, Fate, Hook, Message, Recording, pair};
use datafusion_psi::transport::{
    Deadlines, Peer, PeerIdentity, PeerServer, ServerLimits, SessionEnded, SharedTable, TableSource, drive,
};
use rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use sessions::{REQUESTER, RESPONDER, entries, word};

fn words() -> Vec<WordTerms> {
    vec![word(1, 0), word(1000, 2)]
}

/// Persons 0..30 here, 20..60 there: ten in common, whose amounts are 20 to 29.
fn requester(session: SessionId) -> Requester {
    let question = Question {
        table: "purchases".to_owned(),
        identifiers: vec!["email".to_owned(), "phone".to_owned()],
        filter: None,
        aggregates: vec![Aggregate::Persons.into(), Aggregate::Sum { column: "amount".to_owned() }.into()],
        group_by: None,
        own_groups: false,
    };
    sessions::requester(session, question, words(), entries(2, 0, 30, vec![]), ChaCha20Rng::seed_from_u64(1))
}

fn responder(offer: &Offer) -> Result<Responder, Error> {
    let values = vec![vec![1; 40], (20..60).collect()];
    sessions::responder(offer, words(), entries(2, 20, 60, values))
}

fn patient() -> Deadlines {
    let long = Duration::from_secs(30);
    Deadlines { connect: long, idle: long, answer: long, session: 4 * long, close: Duration::from_secs(1) }
}

fn check(answered: &Answered) {
    assert_eq!(answered.cells[0], vec![10, (20..30).sum::<i128>()]);
    assert_eq!(answered.dummies, 2);
}

type Outcomes = (Result<Answered, Error>, Result<(), Error>);

/// One run within this process.
async fn run(hook: Option<Hook>) -> Outcomes {
    let session = SessionId([7; 16]);
    let (mut up, mut down) = pair(REQUESTER, RESPONDER, hook);
    let deadlines = patient();
    let asking = async {
        let outcome = drive(requester(session), &mut up, &deadlines, Arc::new(())).await;
        drop(up);
        outcome?.into_answer()
    };
    let answering = async {
        let outcome = async {
            let session = responder(&down.offer().await?)?;
            drive(session, &mut down, &deadlines, Arc::new(())).await?.into_outcome()
        };
        let outcome = outcome.await;
        drop(down);
        outcome.map(|_| ())
    };
    let both = async { tokio::join!(asking, answering) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("no run may hang")
}

/// Runs once per message, with that message struck.
async fn strike_every_message(
    strike: impl Fn(&mut Message) -> Fate + Clone + Send + Sync + 'static,
    check: impl Fn(&Message, Outcomes),
) {
    let recording = Recording::new();
    let (answered, answering) = run(Some(recording.hook())).await;
    self::check(&answered.unwrap());
    answering.unwrap();
    for direction in [Direction::Up, Direction::Down] {
        let messages = recording.messages(direction);
        assert!(messages.len() > 30, "schema, batches and end of more than ten phases");
        for target in messages {
            let place = (target.direction, target.phase, target.index);
            let strike = strike.clone();
            let hook: Hook = Arc::new(move |message| {
                let same = (message.direction, message.phase, message.index) == place;
                if same { strike(message) } else { Fate::Deliver }
            });
            check(&target, run(Some(hook)).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_any_message_is_an_error_on_both_sides_and_no_answer() {
    strike_every_message(
        |_| Fate::Cut,
        |target, (asking, answering)| {
            let place = format!("{:?} {} {}", target.direction, target.phase, target.index);
            // The responder sends its additive shares last, and may finish before it could notice.
            let last = target.phase == Phase::Release;
            assert!(answering.is_err() || last, "{place}");
            let error = asking.expect_err(&place);
            assert_eq!(error.fault(), Fault::Environment, "{place}: {error}");
            if let Err(error) = answering {
                assert_eq!(error.fault(), Fault::Environment, "{place}: {error}");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_or_repeated_message_is_an_error_and_no_answer() {
    for fate in [Fate::Drop, Fate::Repeat] {
        strike_every_message(
            move |_| fate,
            |target, (asking, answering)| {
                let place = format!("{:?} {} {}", target.direction, target.phase, target.index);
                // Only the end of a direction, once it has been read, may come again: nobody reads on.
                let end_again = fate == Fate::Repeat && target.frame.header.is_empty();
                assert!(asking.is_err() || answering.is_err() || end_again, "{place}");
                // Whoever holds an answer holds the right one, even where the other side failed after it.
                if let Ok(answered) = &asking {
                    self::check(answered);
                }
                for error in [asking.err(), answering.err()].into_iter().flatten() {
                    assert!(error.fault() != Fault::Internal, "{place}: {error}");
                }
            },
        )
        .await;
    }
}

/// A bit of a batch's body: of the first byte, which is never padding, or of one in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flip {
    /// The lowest of the first byte. Always 0 in the encoding of a group element.
    Lowest,
    /// Another of the first byte.
    Other,
    /// One in the middle of the body.
    Middle,
}

/// Who answers for a bit that changes on its way, phase by phase: what the session itself can see is an error at the
/// asker, or changes nothing. What looks like another row of the peer's (an element that decodes, a tag, a payload, an
/// additive share) no check of a protocol for semi-honest parties can tell from the real one. There the connection's
/// integrity is what keeps the answer right; the session keeps it within what the clip bounds allow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_gives_no_wrong_answer_where_a_check_can_see_it_and_never_one_out_of_bounds() {
    for flip in [Flip::Lowest, Flip::Other, Flip::Middle] {
        let strike = move |message: &mut Message| {
            let mut body = message.frame.body.to_vec();
            let (at, bit) = match flip {
                Flip::Lowest => (0, 1),
                Flip::Other => (0, 0x10),
                Flip::Middle => (body.len() / 2, 2),
            };
            if let Some(byte) = body.get_mut(at) {
                *byte ^= bit;
            }
            message.frame.body = body.into();
            Fate::Deliver
        };
        strike_every_message(strike, |target, (asking, answering)| {
            let place = format!("{flip:?} of {:?} {} {}", target.direction, target.phase, target.index);
            for error in [asking.as_ref().err(), answering.as_ref().err()].into_iter().flatten() {
                assert!(error.fault() != Fault::Internal, "{place}: {error}");
            }
            if target.frame.body.is_empty() {
                check(&asking.unwrap());
                answering.unwrap();
                return;
            }
            let seen = match target.phase {
                // The transcript, canonical decoding, the trees' proof, the consistency check.
                Phase::Hello | Phase::Confirm | Phase::OtChoices | Phase::OtReply => flip != Flip::Middle,
                Phase::OtCorrections | Phase::OtChallenge | Phase::OtCheck => flip != Flip::Middle,
                Phase::Columns => flip == Flip::Lowest,
                // Padded elements go down and come back evaluated; the rest are tags, and marks of 0 or 1.
                Phase::Elements(_) => flip == Flip::Lowest && target.direction == Direction::Down,
                Phase::Replies(_) => flip == Flip::Lowest && target.direction == Direction::Up,
                // The transcript's hash comes first.
                Phase::Release => flip != Flip::Middle,
                Phase::Tags | Phase::OtPayload => false,
                Phase::OwnChoices(_)
                | Phase::OwnReply(_)
                | Phase::OwnCorrections(_)
                | Phase::OwnChallenge(_)
                | Phase::OwnCheck(_)
                | Phase::OwnPayload(_) => panic!("the requester owns no values here"),
            };
            if seen {
                assert!(asking.is_err(), "{place}: a check sees it");
                // The additive shares are the responder's last message: it is done before they are read.
                let last = target.phase == Phase::Release && target.direction == Direction::Down;
                assert!(answering.is_err() || last, "{place}: both sides hear of it");
            }
            let blind = matches!(
                target.phase,
                Phase::Columns
                    | Phase::Elements(_)
                    | Phase::Tags
                    | Phase::Replies(_)
                    | Phase::OtPayload
                    | Phase::Release
            );
            match asking {
                Ok(answered) if blind => {
                    // At most 30 pairs, of one person and 1000 units each.
                    assert!((0..=30).contains(&answered.cells[0][0]), "{place}: {:?}", answered.cells[0]);
                    assert!((0..=30_000).contains(&answered.cells[0][1]), "{place}: {:?}", answered.cells[0]);
                }
                // Padding, or a bit that a check does not need.
                Ok(answered) => check(&answered),
                Err(_) => {}
            }
        })
        .await;
    }
}

/// Answers with real sessions, and notes how each ended.
#[derive(Default)]
struct Table {
    ended: Mutex<Vec<Result<(), Error>>>,
}

#[async_trait]
impl TableSource for Table {
    type Answer = Responder;

    fn knows(&self, _: &PeerIdentity) -> bool {
        true
    }

    async fn shares(&self, _: &PeerIdentity) -> Result<Vec<SharedTable>, Error> {
        Ok(Vec::new())
    }

    async fn answer(&self, _: &PeerIdentity, offer: Offer) -> Result<Responder, Error> {
        responder(&offer)
    }

    async fn ended(&self, _: &PeerIdentity, ended: SessionEnded<'_, Responder>) {
        let outcome = ended.outcome.map_err(Clone::clone).and_then(Responder::into_outcome);
        self.ended.lock().unwrap().push(outcome.map(|_| ()));
    }
}

async fn ask(address: &str, number: u32) -> Result<Answered, Error> {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_le_bytes());
    let asking = async {
        let peer = Peer::new(RESPONDER, REQUESTER, address, patient())?;
        let mut channel = peer.channel(SessionId(id)).await?;
        drive(requester(SessionId(id)), &mut channel, &patient(), Arc::new(())).await?.into_answer()
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("no run may hang")
}

/// Forwards one connection at a time, and cuts it after so many bytes one way; counts the bytes.
async fn network(target: SocketAddr, up_max: u64, down_max: u64) -> (String, JoinSet<(u64, u64)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpc://{}", listener.local_addr().unwrap());
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(target).await.unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        let (mut up, mut down) = (0, 0);
        let (mut upwards, mut downwards) = (vec![0; 4096], vec![0; 4096]);
        while up < up_max && down < down_max {
            tokio::select! {
                read = near_in.read(&mut upwards) => {
                    let passes = (read.unwrap_or(0) as u64).min(up_max - up);
                    up += passes;
                    if passes == 0 || far_out.write_all(&upwards[..passes as usize]).await.is_err() {
                        break;
                    }
                }
                read = far_in.read(&mut downwards) => {
                    let passes = (read.unwrap_or(0) as u64).min(down_max - down);
                    down += passes;
                    if passes == 0 || near_out.write_all(&downwards[..passes as usize]).await.is_err() {
                        break;
                    }
                }
            }
        }
        (up, down)
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_after_any_number_of_bytes_is_a_clear_error_and_the_server_serves_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let table = Arc::new(Table::default());
    let limits = ServerLimits { deadlines: patient(), sessions_per_peer_max: 8, ..ServerLimits::default() };
    let server = PeerServer::new(RESPONDER, Arc::clone(&table), limits);
    let mut serving = JoinSet::new();
    serving.spawn(server.serve(listener, std::future::pending()));

    let (whole, mut task) = network(at, u64::MAX, u64::MAX).await;
    check(&ask(&whole, 1).await.unwrap());
    let (up, down) = task.join_next().await.unwrap().unwrap();

    let places = 25;
    let limits = (0..places).flat_map(|n| [(1 + n * up / places, u64::MAX), (u64::MAX, 1 + n * down / places)]);
    let mut failed = 0;
    for (number, (up_max, down_max)) in (2..).zip(limits) {
        let began = Instant::now();
        let (address, _task) = network(at, up_max, down_max).await;
        match ask(&address, number).await {
            // Cut after all that mattered had passed.
            Ok(answered) => check(&answered),
            Err(error) => {
                failed += 1;
                assert_eq!(error.fault(), Fault::Environment, "{up_max} {down_max}: {error}");
                assert!(error.to_string().contains(RESPONDER), "{error}");
            }
        }
        // No deadline had to pass for it: those are 30 s.
        assert!(began.elapsed() < Duration::from_secs(25), "{up_max} {down_max}: {:?}", began.elapsed());
    }
    assert!(failed > 40, "{failed} of 50 cuts were noticed");

    check(&ask(&format!("grpc://{at}"), 1000).await.unwrap());
    let ended = table.ended.lock().unwrap();
    assert!(ended.iter().filter(|outcome| outcome.is_err()).count() > 20, "the other side noticed as well");
    for error in ended.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!(error.fault(), Fault::Environment, "{error}");
        assert!(error.to_string().contains(REQUESTER), "{error}");
    }
}
