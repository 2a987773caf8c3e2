//! Sessions within one process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Task;
use super::toy::{Point, REQUESTER, RESPONDER, Step, Toy, Trouble, fresh_id, offer, steps};
use crate::psi::{Error, Fault, PeerMisbehaved, Phase, SessionId};
use crate::transport::local::{Direction, Fate, Hook, Message, Recording, pair};
use crate::transport::{Deadlines, Observer, PhaseReport, drive};

pub(super) fn patient() -> Deadlines {
    let long = Duration::from_secs(20);
    Deadlines {
        connect: long,
        idle: long,
        answer: long,
        session: Duration::from_secs(60),
        close: Duration::from_secs(1),
    }
}

pub(super) fn hasty() -> Deadlines {
    Deadlines { idle: Duration::from_millis(80), answer: Duration::from_millis(80), ..patient() }
}

#[derive(Default)]
pub(super) struct Reports(pub(super) Mutex<Vec<PhaseReport>>);

impl Observer for Reports {
    fn phase_closed(&self, report: &PhaseReport) {
        self.0.lock().unwrap().push(*report);
    }
}

type Outcomes = (Result<(), Error>, Result<(), Error>);

/// A toy responder that takes the offer like a batch of any other phase: nothing here reads it beforehand.
fn toys(steps: &Arc<[Step]>) -> (Toy, Toy) {
    let id = SessionId([5; 16]);
    (Toy::requester(&offer(id), steps), Toy::responder(id, steps))
}

async fn run(toys: (Toy, Toy), hook: Option<Hook>, deadlines: Deadlines) -> Outcomes {
    let (mut up, mut down) = pair(REQUESTER, RESPONDER, hook);
    let requester = Task::start(async move { drive(toys.0, &mut up, &deadlines, Arc::new(())).await.map(|_| ()) });
    let responder = Task::start(async move { drive(toys.1, &mut down, &deadlines, Arc::new(())).await.map(|_| ()) });
    let both = async { (requester.join().await, responder.join().await) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("no run may hang")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_batches_arrive_in_order_with_empty_and_one_way_phases() {
    let recording = Recording::new();
    let (mut up, mut down) = pair(REQUESTER, RESPONDER, Some(recording.hook()));
    let reports = Arc::new(Reports::default());
    let watching = Arc::clone(&reports);
    let steps = steps(1000);
    let toys = toys(&steps);
    let requester = Task::start(async move { drive(toys.0, &mut up, &patient(), watching).await.map(|_| ()) });
    drive(toys.1, &mut down, &patient(), Arc::new(())).await.map(|_| ()).unwrap();
    requester.join().await.unwrap();

    let reports = reports.0.lock().unwrap();
    let bytes = |direction| recording.messages(direction).iter().map(|message| message.frame.bytes()).sum::<u64>();
    assert_eq!(reports.len(), steps.len() + 1);
    assert_eq!(reports.iter().map(|report| report.bytes_up).sum::<u64>(), bytes(Direction::Up));
    assert_eq!(reports.iter().map(|report| report.bytes_down).sum::<u64>(), bytes(Direction::Down));
    for (report, step) in reports[1..].iter().zip(steps.iter()) {
        assert_eq!((report.phase, report.rows), (step.phase, (step.up + step.down) * step.rows as u64));
    }
}

#[tokio::test]
async fn two_runs_of_the_same_session_are_the_same_bytes_frame_by_frame() {
    let runs = [Recording::new(), Recording::new()];
    for recording in &runs {
        assert_eq!(run(toys(&steps(5)), Some(recording.hook()), patient()).await, (Ok(()), Ok(())));
    }
    for direction in [Direction::Up, Direction::Down] {
        let [first, second] = runs.each_ref().map(|recording| recording.messages(direction));
        assert!(first.len() > 20);
        assert_eq!(first, second);
    }
}

/// Runs once per message and fate; what happens to a message must be noticed by at least one side and end both.
/// The toy does not look into the hello's batches.
async fn strike_every_message(
    deadlines: Deadlines,
    bodies_only_after_hello: bool,
    strike: impl Fn(&mut Message) -> Fate + Send + Sync + Clone + 'static,
) {
    let recording = Recording::new();
    run(toys(&steps(2)), Some(recording.hook()), patient()).await.0.unwrap();
    for direction in [Direction::Up, Direction::Down] {
        for target in recording.messages(direction) {
            let strike = strike.clone();
            if bodies_only_after_hello && target.phase == Phase::Hello && !target.frame.body.is_empty() {
                continue;
            }
            let place = (target.direction, target.phase, target.index);
            let hook: Hook = Arc::new(move |message| {
                if (message.direction, message.phase, message.index) == place { strike(message) } else { Fate::Deliver }
            });
            let (requester, responder) = run(toys(&steps(2)), Some(hook), deadlines).await;
            // In the last phase a side may have finished before it could notice.
            let last_word = target.phase == Phase::Release;
            assert!(requester.is_err() || responder.is_err(), "{place:?}");
            assert!(last_word || (requester.is_err() && responder.is_err()), "{place:?}: {requester:?} {responder:?}");
            for error in [requester, responder].into_iter().filter_map(Result::err) {
                assert!(error.fault() != Fault::Internal, "{place:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_is_lost_ends_both_sides() {
    strike_every_message(hasty(), false, |_| Fate::Drop).await;
}

#[tokio::test]
async fn a_connection_cut_at_any_message_ends_both_sides() {
    strike_every_message(patient(), false, |_| Fate::Cut).await;
}

#[tokio::test]
async fn a_message_that_comes_twice_ends_both_sides() {
    let recording = Recording::new();
    run(toys(&steps(2)), Some(recording.hook()), patient()).await.0.unwrap();
    for target in recording.messages(Direction::Up) {
        if target.frame.is_end() {
            continue;
        }
        let hook: Hook = Arc::new(move |message| {
            let same =
                (message.direction, message.phase, message.index) == (target.direction, target.phase, target.index);
            if same { Fate::Repeat } else { Fate::Deliver }
        });
        let (requester, responder) = run(toys(&steps(2)), Some(hook), patient()).await;
        let place = (target.phase, target.index);
        assert!(matches!(responder, Err(Error::Peer(_))), "{place:?}: {responder:?}");
        let told = matches!(requester, Err(Error::Reported { fault: Fault::Peer, .. }));
        assert!(told || target.phase == Phase::Release, "{place:?}: {requester:?}");
    }
}

#[tokio::test]
async fn a_changed_message_ends_both_sides() {
    strike_every_message(patient(), true, |message| {
        let mut bytes =
            if message.frame.body.is_empty() { message.frame.header.to_vec() } else { message.frame.body.to_vec() };
        // Of a schema the last name's bytes, of a batch the first element's, of an end the end.
        let position = if message.frame.body.is_empty() { bytes.len().saturating_sub(1) } else { 64 };
        match bytes.get_mut(position) {
            Some(byte) => *byte ^= 1,
            None => message.frame.metadata = vec![b'E'].into(),
        }
        if message.frame.body.is_empty() {
            if let Some(first) = bytes.get_mut(0) {
                *first ^= 0x40;
            }
            message.frame.header = bytes.into();
        } else {
            message.frame.body = bytes.into();
        }
        Fate::Deliver
    })
    .await;
}

#[tokio::test]
async fn a_message_that_comes_too_late_is_a_stall_in_its_phase() {
    let hook: Hook = Arc::new(|message| match (message.phase, message.direction, message.index) {
        (Phase::Tags, Direction::Up, 1) => Fate::Delay(Duration::from_secs(90)),
        _ => Fate::Deliver,
    });
    let began = Instant::now();
    let (requester, responder) = run(toys(&steps(2)), Some(hook), hasty()).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let stalled = |outcome: &Result<(), Error>| {
        matches!(outcome, Err(Error::Peer(PeerMisbehaved::Stalled { phase: Phase::Tags, seconds: 1 })))
    };
    assert!(stalled(&requester) || stalled(&responder), "{requester:?} {responder:?}");
    assert!(requester.is_err() && responder.is_err());
}

#[tokio::test]
async fn computing_for_long_is_no_stall_of_the_peer() {
    let (requester, mut responder) = toys(&steps(16));
    responder.trouble = Some((Phase::Replies(2), Point::Output, Trouble::Sleep(Duration::from_millis(100))));
    // A job's batches, four at most, take half of the deadline, all together twice as long.
    let deadlines = Deadlines { idle: Duration::from_millis(800), ..patient() };
    assert_eq!(run((requester, responder), None, deadlines).await, (Ok(()), Ok(())));
}

#[tokio::test]
async fn sessions_that_wait_for_their_books_hold_no_other_session_s_frames_up() {
    let ended = Arc::new(AtomicI64::new(0));
    let points = [Point::Output, Point::Input, Point::EndInput, Point::Advance];
    // More of them than there are threads that compute.
    let waiting: Vec<_> = (0..rayon::current_num_threads() + points.len())
        .map(|number| {
            let (mut requester, responder) = toys(&steps(1));
            let wait = Trouble::Sleep(Duration::from_secs(2));
            requester.trouble = Some((Phase::Hello, points[number % points.len()], wait));
            let ended = Arc::clone(&ended);
            Task::start(async move {
                let outcomes = run((requester, responder), None, patient()).await;
                ended.fetch_add(1, Ordering::SeqCst);
                outcomes
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(run(toys(&steps(3)), None, patient()).await, (Ok(()), Ok(())));
    assert_eq!(ended.load(Ordering::SeqCst), 0, "the one that waits for nothing is the first to end");
    for session in waiting {
        assert_eq!(session.join().await, (Ok(()), Ok(())));
    }
}

#[tokio::test]
async fn a_session_past_its_deadline_ends_while_it_computes() {
    let (mut requester, responder) = toys(&steps(2));
    requester.trouble = Some((Phase::Tags, Point::Advance, Trouble::Sleep(Duration::from_secs(3))));
    let began = Instant::now();
    let deadlines = Deadlines { session: Duration::from_millis(200), ..patient() };
    let (requester, responder) = run((requester, responder), None, deadlines).await;
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    for error in [requester.unwrap_err(), responder.unwrap_err()] {
        assert_eq!(error.fault(), Fault::Environment);
        assert!(error.to_string().contains("took longer than the 1 s"), "{error}");
    }
}

#[tokio::test]
async fn an_error_of_one_side_reaches_the_other_in_words() {
    for point in [Point::Output, Point::Input, Point::EndInput, Point::Advance] {
        for phase in [Phase::Confirm, Phase::Columns, Phase::Tags] {
            for responder_fails in [false, true] {
                let mut toys = toys(&steps(20));
                let (failing, other) =
                    if responder_fails { (&mut toys.1, RESPONDER) } else { (&mut toys.0, REQUESTER) };
                failing.trouble = Some((phase, point, Trouble::Fail));
                let (requester, responder) = run(toys, None, patient()).await;
                let (own, told) = if responder_fails { (responder, requester) } else { (requester, responder) };
                let words = format!("the toy refuses in {phase}");
                assert_eq!(own, Err(Error::Refused(words.clone())));
                let reported = Error::Reported { peer: other.to_owned(), fault: Fault::Refused, reason: words };
                assert_eq!(told, Err(reported), "{point:?} {phase}");
            }
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_session_is_an_internal_error_there_and_one_reported_here() {
    let mut toys = toys(&steps(3));
    toys.1.trouble = Some((Phase::Columns, Point::Input, Trouble::Panic));
    let (requester, responder) = run(toys, None, patient()).await;
    assert!(matches!(responder, Err(Error::Internal(_))));
    let Err(Error::Reported { fault: Fault::Internal, reason, .. }) = requester else { panic!("{requester:?}") };
    assert!(!reason.contains("on purpose"), "a panic's words stay at home: {reason}");
}

#[tokio::test]
async fn a_dropped_requester_ends_the_responder_at_once() {
    for point in [Point::Output, Point::Advance] {
        let (mut requester, responder) = toys(&steps(3));
        requester.trouble = Some((Phase::Columns, point, Trouble::Sleep(Duration::from_millis(300))));
        let (mut up, mut down) = pair(REQUESTER, RESPONDER, None);
        let requester =
            Task::start(async move { drive(requester, &mut up, &patient(), Arc::new(())).await.map(|_| ()) });
        let responder =
            Task::start(async move { drive(responder, &mut down, &patient(), Arc::new(())).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(requester);
        let began = Instant::now();
        let error = responder.join().await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(matches!(&error, Error::Environment(text) if text.contains(REQUESTER)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_sender_back() {
    let steps: Arc<[Step]> = [Step::new(Phase::Columns, 300, 0)].into();
    let (mut requester, mut responder) = toys(&steps);
    let (now, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    requester.in_flight = Some((Arc::clone(&now), Arc::clone(&most)));
    responder.in_flight = Some((now, Arc::clone(&most)));
    responder.trouble = Some((Phase::Columns, Point::Input, Trouble::Sleep(Duration::from_millis(1))));
    assert_eq!(run((requester, responder), None, patient()).await, (Ok(()), Ok(())));
    let most = most.load(Ordering::Relaxed);
    // The queue, with what is computed for it; what the receiver has in hand, and one on its way there.
    assert!(most <= 2 * super::super::channel::FRAMES_MAX as i64 + 1, "{most} batches were under way");
}

#[tokio::test]
async fn phases_out_of_order_are_refused() {
    let swapped: Arc<[Step]> = [Step::new(Phase::Tags, 1, 1), Step::new(Phase::Columns, 1, 1)].into();
    let right: Arc<[Step]> = [Step::new(Phase::Columns, 1, 1), Step::new(Phase::Tags, 1, 1)].into();
    let id = fresh_id();
    let (requester, responder) =
        run((Toy::requester(&offer(id), &swapped), Toy::responder(id, &right)), None, patient()).await;
    let due = PeerMisbehaved::PhaseOrder { expected: "columns".to_owned(), found: "tags".to_owned() };
    assert_eq!(responder, Err(due.into()));
    assert_eq!(requester.unwrap_err().fault(), Fault::Peer);
}
