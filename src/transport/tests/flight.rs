//! Sessions over real loopback connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Task;
use super::local::{Reports, hasty, patient};
use super::proxy::{Break, Proxy};
use super::toy::{Point, REQUESTER, RESPONDER, Step, Toy, Toys, Trouble, fresh_id, offer, shared, steps};
use crate::psi::{Error, Fault, PeerMisbehaved, Phase, SessionId};
use crate::transport::{Deadlines, Peer, PeerServer, ServerLimits, drive};

pub(super) struct Served {
    pub(super) at: SocketAddr,
    pub(super) source: Arc<Toys>,
    stop: Option<oneshot::Sender<()>>,
    pub(super) task: Task<Result<(), Error>>,
}

impl Served {
    pub(super) async fn start(source: Toys, limits: ServerLimits) -> Served {
        Served::start_with(source, limits, |server| server).await
    }

    pub(super) async fn start_with(
        source: Toys,
        limits: ServerLimits,
        build: impl FnOnce(PeerServer<Toys>) -> PeerServer<Toys>,
    ) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let source = Arc::new(source);
        let server = build(PeerServer::new(RESPONDER, Arc::clone(&source), limits));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = Task::start(server.serve(listener, async move {
            let _ = stopped.await;
        }));
        Served { at, source, stop: Some(stop), task }
    }

    pub(super) async fn with(steps: &Arc<[Step]>, deadlines: Deadlines) -> Served {
        Served::start(Toys::new(steps), ServerLimits { deadlines, sessions_per_peer_max: 8, ..ServerLimits::default() })
            .await
    }

    pub(super) fn address(&self) -> String {
        format!("grpc://{}", self.at)
    }

    pub(super) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// The server is as good as new.
    pub(super) async fn still_serves(&self) {
        let before = self.source.ended.lock().unwrap().len();
        *self.source.trouble.lock().unwrap() = None;
        *self.source.refusal.lock().unwrap() = None;
        ask(&self.address(), &self.source.steps, patient()).await.unwrap();
        assert_eq!(self.source.outcome(before + 1).await, Ok(()));
    }
}

pub(super) async fn ask(address: &str, steps: &Arc<[Step]>, deadlines: Deadlines) -> Result<(), Error> {
    ask_as(fresh_id(), address, steps, deadlines, None).await
}

async fn ask_as(
    id: SessionId,
    address: &str,
    steps: &Arc<[Step]>,
    deadlines: Deadlines,
    trouble: Option<(Phase, Point, Trouble)>,
) -> Result<(), Error> {
    let asking = async {
        let peer = Peer::new(RESPONDER, REQUESTER, address, deadlines)?;
        ask_peer(&peer, id, steps, deadlines, trouble).await
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("no run may hang")
}

pub(super) async fn ask_peer(
    peer: &Peer,
    id: SessionId,
    steps: &Arc<[Step]>,
    deadlines: Deadlines,
    trouble: Option<(Phase, Point, Trouble)>,
) -> Result<(), Error> {
    let mut channel = peer.channel(id).await?;
    let mut toy = Toy::requester(&offer(id), steps);
    toy.trouble = trouble;
    drive(toy, &mut channel, &deadlines, Arc::new(())).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_batches_arrive_in_order_over_flight() {
    let steps = steps(1000);
    let served = Served::with(&steps, patient()).await;
    let peer = Peer::new(RESPONDER, REQUESTER, &served.address(), patient()).unwrap();
    let id = fresh_id();
    let mut channel = peer.channel(id).await.unwrap();
    let reports = Arc::new(Reports::default());
    let watching = Arc::clone(&reports);
    drive(Toy::requester(&offer(id), &steps), &mut channel, &patient(), watching).await.map(|_| ()).unwrap();
    assert_eq!(served.source.outcome(1).await, Ok(()));
    let reports = reports.0.lock().unwrap();
    assert_eq!(reports.len(), steps.len() + 1);
    assert!(
        reports.iter().all(|report| report.bytes_up > 0 && report.bytes_down > 0),
        "a schema travels in every phase"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_real_size_stay_under_the_message_limit() {
    // Eight columns of 32 bytes, as one of 4096 x 8 rows.
    let steps: Arc<[Step]> = [Step { rows: 4096 * 8, ..Step::new(Phase::Columns, 40, 40) }].into();
    let served = Served::with(&steps, patient()).await;
    ask(&served.address(), &steps, patient()).await.unwrap();
    assert_eq!(served.source.outcome(1).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_session_is_the_same_bytes_here_and_over_flight() {
    use crate::transport::local::{Direction, Recording, pair};
    let steps = steps(4);
    let served = Served::with(&steps, patient()).await;
    let reports = Arc::new(Reports::default());
    let id = SessionId([77; 16]);
    let mut channel = Peer::new(RESPONDER, REQUESTER, &served.address(), patient()).unwrap().channel(id).await.unwrap();
    drive(Toy::requester(&offer(id), &steps), &mut channel, &patient(), Arc::clone(&reports) as _)
        .await
        .map(|_| ())
        .unwrap();

    let recording = Recording::new();
    let (mut up, mut down) = pair(REQUESTER, RESPONDER, Some(recording.hook()));
    let (deadlines, requester, responder) = (patient(), Toy::requester(&offer(id), &steps), Toy::responder(id, &steps));
    let (one, other) = tokio::join!(
        drive(requester, &mut up, &deadlines, Arc::new(())),
        drive(responder, &mut down, &deadlines, Arc::new(()))
    );
    assert!(one.is_ok() && other.is_ok());
    for report in reports.0.lock().unwrap().iter() {
        let bytes = |direction| {
            let messages = recording.messages(direction);
            messages
                .iter()
                .filter(|message| message.phase == report.phase)
                .map(|message| message.frame.bytes())
                .sum::<u64>()
        };
        assert_eq!(
            (report.bytes_up, report.bytes_down),
            (bytes(Direction::Up), bytes(Direction::Down)),
            "{}",
            report.phase
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_run_at_once_up_to_the_limit() {
    let steps = steps(50);
    let limits =
        ServerLimits { sessions_max: 4, sessions_per_peer_max: 8, deadlines: patient(), ..ServerLimits::default() };
    let served = Served::start(Toys::new(&steps), limits).await;
    let address = served.address();
    let all = futures::future::join_all((0..4).map(|_| ask(&address, &steps, patient()))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");

    *served.source.refusal.lock().unwrap() = Some(Trouble::Sleep(Duration::from_millis(400)));
    let all = futures::future::join_all((0..6).map(|_| ask(&address, &steps, patient()))).await;
    let refused: Vec<_> = all.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 2);
    for error in refused {
        let Error::Reported { fault: Fault::Environment, reason, .. } = error else { panic!("{error}") };
        assert!(reason.contains("4 sessions") && reason.contains("later"), "{reason}");
    }
    served.still_serves().await;
}

#[tokio::test]
async fn shares_are_listed_for_whom_they_are_shared_with() {
    let served = Served::with(&steps(1), patient()).await;
    let publisher = Peer::new(RESPONDER, REQUESTER, &served.address(), patient()).unwrap();
    assert_eq!(publisher.shares().await.unwrap(), vec![shared("purchases"), shared("visits")]);
    assert_eq!(publisher.share("visits").await.unwrap(), shared("visits"));
    let stranger = Peer::new(RESPONDER, "stranger", &served.address(), patient()).unwrap();
    assert_eq!(stranger.shares().await.unwrap(), vec![]);
    let mut words = Vec::new();
    for (peer, table) in [(&publisher, "nothing"), (&stranger, "visits")] {
        let Err(Error::Reported { fault: Fault::Refused, reason, .. }) = peer.share(table).await else {
            panic!("{table}")
        };
        words.push(reason.replace(table, "T").replace(REQUESTER, "P").replace("stranger", "P"));
    }
    assert_eq!(words[0], words[1], "a table that exists and one that does not are refused in the same words");
}

#[tokio::test]
async fn an_unreachable_peer_is_named_with_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpc://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = ask(&address, &steps(1), patient()).await.unwrap_err();
    let expected = format!("{RESPONDER} ({address}) cannot be reached: connection refused; is its server running?");
    assert_eq!(error, Error::Environment(expected));
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpc://{}", listener.local_addr().unwrap());
    let began = Instant::now();
    let error =
        ask(&address, &steps(1), Deadlines { connect: Duration::from_millis(200), ..hasty() }).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(matches!(error, Error::Environment(_) | Error::Peer(PeerMisbehaved::Stalled { .. })), "{error}");
}

#[tokio::test]
async fn a_service_without_this_protocol_is_incompatible() {
    // A gRPC server that knows no Flight at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpc://{}", listener.local_addr().unwrap());
    let routes = tonic::service::Routes::default();
    let _server = Task::start(
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)),
    );
    let error = ask(&address, &steps(1), patient()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Incompatible(text) if text.contains("psi/1") && text.contains(RESPONDER)),
        "{error}"
    );
    let error = Peer::new(RESPONDER, REQUESTER, &address, patient()).unwrap().shares().await.unwrap_err();
    assert!(matches!(error, Error::Incompatible(_)), "{error}");
}

#[tokio::test]
async fn a_refused_offer_comes_back_in_the_owners_words() {
    let served = Served::with(&steps(1), patient()).await;
    *served.source.refusal.lock().unwrap() = Some(Trouble::Fail);
    let error = ask(&served.address(), &steps(1), patient()).await.unwrap_err();
    let reason = "column 'amount' is not shared".to_owned();
    assert_eq!(error, Error::Reported { peer: RESPONDER.to_owned(), fault: Fault::Refused, reason });
    served.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_or_a_panic_at_any_point_of_the_responder_reaches_the_requester() {
    let steps = steps(20);
    let served = Served::with(&steps, patient()).await;
    let mut ended = 0;
    for point in [Point::Output, Point::Input, Point::EndInput, Point::Advance] {
        for phase in [Phase::Confirm, Phase::Columns, Phase::Tags, Phase::Release] {
            for trouble in [Trouble::Fail, Trouble::Panic] {
                *served.source.trouble.lock().unwrap() = Some((phase, point, trouble));
                let outcome = ask(&served.address(), &steps, patient()).await;
                ended += 1;
                let own = served.source.outcome(ended).await.unwrap_err();
                let fault = if trouble == Trouble::Fail { Fault::Refused } else { Fault::Internal };
                assert_eq!(own.fault(), fault);
                if phase == Phase::Release && point != Point::Output {
                    // Nothing more is due to the requester, who may have finished.
                    continue;
                }
                let reported = Error::Reported { peer: RESPONDER.to_owned(), fault, reason: own.to_string() };
                assert_eq!(outcome, Err(reported), "{point:?} {phase}");
            }
        }
    }
    served.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_any_point_of_the_requester_reaches_the_responder() {
    let steps = steps(20);
    let served = Served::with(&steps, patient()).await;
    let mut ended = 0;
    for point in [Point::Output, Point::Input, Point::EndInput, Point::Advance] {
        for phase in [Phase::Confirm, Phase::Columns, Phase::Tags] {
            let trouble = Some((phase, point, Trouble::Fail));
            let outcome = ask_as(fresh_id(), &served.address(), &steps, patient(), trouble).await;
            ended += 1;
            let reason = format!("the toy refuses in {phase}");
            assert_eq!(outcome, Err(Error::Refused(reason.clone())));
            let told = served.source.outcome(ended).await;
            assert_eq!(told, Err(Error::Reported { peer: REQUESTER.to_owned(), fault: Fault::Refused, reason }));
        }
    }
    served.still_serves().await;
}

#[tokio::test]
async fn a_panic_of_the_source_ends_the_session_and_not_the_server() {
    let served = Served::with(&steps(1), patient()).await;
    *served.source.refusal.lock().unwrap() = Some(Trouble::Panic);
    let error = ask(&served.address(), &steps(1), patient()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Reported { fault: Fault::Internal, reason, .. } if !reason.contains("on purpose")),
        "{error}"
    );
    served.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_requester_ends_the_responder_at_once() {
    let steps = steps(20);
    let served = Served::with(&steps, patient()).await;
    let mut ended = 0;
    for point in [Point::Output, Point::Advance] {
        let trouble = Some((Phase::Columns, point, Trouble::Sleep(Duration::from_millis(600))));
        let (address, steps) = (served.address(), Arc::clone(&steps));
        let asking = Task::start(async move { ask_as(fresh_id(), &address, &steps, patient(), trouble).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(asking);
        let began = Instant::now();
        ended += 1;
        let error = served.source.outcome(ended).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(matches!(&error, Error::Environment(text) if text.contains(REQUESTER)), "{error}");
    }
    served.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_gives_up_while_the_table_is_prepared_is_noticed() {
    let served = Served::with(&steps(1), patient()).await;
    *served.source.refusal.lock().unwrap() = Some(Trouble::Sleep(Duration::from_secs(10)));
    let began = Instant::now();
    let deadlines = Deadlines { idle: Duration::from_millis(100), answer: Duration::from_millis(100), ..patient() };
    let error = ask(&served.address(), &steps(1), deadlines).await.unwrap_err();
    assert!(matches!(error, Error::Peer(PeerMisbehaved::Stalled { phase: Phase::Hello, .. })), "{error}");
    // A free place shows that the session is gone.
    assert!(began.elapsed() < Duration::from_secs(3));
    served.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_responder_holds_the_requester_back() {
    // 1 MB each: queue, windows and sockets hold some twenty of them.
    let steps: Arc<[Step]> = [Step { rows: 4096 * 6, ..Step::new(Phase::Columns, 120, 0) }].into();
    let (now, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let mut toys = Toys::new(&steps);
    toys.trouble = Mutex::new(Some((Phase::Columns, Point::Input, Trouble::Sleep(Duration::from_millis(10)))));
    toys.in_flight = Some((Arc::clone(&now), Arc::clone(&most)));
    let served = Served::start(toys, ServerLimits { deadlines: patient(), ..ServerLimits::default() }).await;
    let id = fresh_id();
    let mut channel = Peer::new(RESPONDER, REQUESTER, &served.address(), patient()).unwrap().channel(id).await.unwrap();
    let mut toy = Toy::requester(&offer(id), &steps);
    toy.in_flight = Some((now, Arc::clone(&most)));
    drive(toy, &mut channel, &patient(), Arc::new(())).await.map(|_| ()).unwrap();
    let most = most.load(Ordering::Relaxed);
    assert!((2..40).contains(&most), "{most} batches of 1 MB were under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_ends_its_sessions_on_both_sides_in_words() {
    let steps = steps(20);
    for point in [Point::Output, Point::Input, Point::Advance] {
        let mut served = Served::with(&steps, patient()).await;
        let trouble = Some((Phase::Columns, point, Trouble::Sleep(Duration::from_millis(300))));
        let (address, steps) = (served.address(), Arc::clone(&steps));
        let asking = Task::start(async move { ask_as(fresh_id(), &address, &steps, patient(), trouble).await });
        tokio::time::sleep(Duration::from_millis(150)).await;
        served.stop();
        let error = asking.join().await.unwrap_err();
        let Error::Reported { fault: Fault::Environment, reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("advertiser is shutting down"), "{reason}");
        assert_eq!(served.source.outcome(1).await.unwrap_err().fault(), Fault::Environment);
        let began = Instant::now();
        served.task.join().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_after_any_number_of_bytes_ends_both_sides() {
    let steps = steps(2);
    let served = Served::with(&steps, patient()).await;
    let whole = Proxy::start(served.at, Break::None).await;
    ask(&whole.address, &steps, patient()).await.unwrap();
    served.source.outcome(1).await.unwrap();
    let (up, down) = (whole.up.load(Ordering::Relaxed), whole.down.load(Ordering::Relaxed));
    let mut failed = 0;
    let breaks = (0..40).flat_map(|n| [Break::Up(1 + n * up / 40), Break::Down(1 + n * down / 40)]);
    for at in breaks {
        let began = Instant::now();
        let proxy = Proxy::start(served.at, at).await;
        let outcome = ask(&proxy.address, &steps, patient()).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{at:?}: {:?}", began.elapsed());
        if let Err(error) = outcome {
            failed += 1;
            assert_eq!(error.fault(), Fault::Environment, "{at:?}: {error}");
            assert!(error.to_string().contains(RESPONDER), "{at:?}: {error}");
        }
    }
    assert!(failed > 60, "{failed} of 80 cuts were noticed by the requester");
    // Every session that was begun has ended on the other side too.
    let begun = served.source.answered.load(Ordering::Relaxed);
    let _ = served.source.outcome(begun).await;
    for error in
        served.source.ended.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(|o| o.as_ref().err())
    {
        assert_eq!(error.fault(), Fault::Environment, "{error}");
    }
    served.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_a_stall_on_both_sides() {
    let steps = steps(2);
    let served = Served::with(&steps, Deadlines { idle: Duration::from_millis(500), ..patient() }).await;
    let whole = Proxy::start(served.at, Break::None).await;
    ask(&whole.address, &steps, patient()).await.unwrap();
    let up = whole.up.load(Ordering::Relaxed);
    for n in [2, 5, 8] {
        let proxy = Proxy::start(served.at, Break::Silent(n * up / 10)).await;
        let began = Instant::now();
        let error =
            ask(&proxy.address, &steps, Deadlines { close: Duration::from_millis(50), ..hasty() }).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let stalled = matches!(error, Error::Peer(PeerMisbehaved::Stalled { .. }));
        assert!(stalled || matches!(&error, Error::Reported { fault: Fault::Peer, .. }), "{error}");
    }
    let begun = served.source.answered.load(Ordering::Relaxed);
    let _ = served.source.outcome(begun).await;
    *served.source.trouble.lock().unwrap() = None;
}
