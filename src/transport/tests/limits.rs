//! What strangers and greedy peers can take of a server: bounded, and not what known peers need.

use std::time::{Duration, Instant};

use arrow_flight::Criteria;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::secured::{Drawer, Pair, ask, channel, limits, load, peer, pins, serve, tls};
use super::toy::{REQUESTER, RESPONDER, Trouble};
use crate::psi::{Error, Fault};
use crate::transport::ServerLimits;

/// Waits until the other end closes; panics where that takes longer.
async fn closes(socket: &mut (impl tokio::io::AsyncRead + Unpin), within: Duration) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = tokio::time::timeout(within, socket.read_to_end(&mut said)).await.expect("the server closes it");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_tls_port_hurts_nobody() {
    let pair = Pair::start(limits()).await;
    let hello = [&[22, 3, 1, 0x40, 0][..], &[1; 700]].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0; 1000],
        vec![0xff; 100_000],
        vec![22; 100_000],
        [&[22, 3, 1, 0, 5][..], &[1, 0, 0, 1, 9]].concat(),
        hello,
    ] {
        let mut socket = TcpStream::connect(pair.served.at).await.unwrap();
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        closes(&mut socket, Duration::from_secs(5)).await;
    }
    // And within TLS.
    for bytes in [vec![0; 1000], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff".to_vec()] {
        let mut stream = tls(pair.served.at, pair.config(None)).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        closes(&mut stream, Duration::from_secs(5)).await;
    }
    pair.asks().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_stalls_is_given_up() {
    let pair = Pair::start(ServerLimits { handshake: Duration::from_millis(300), ..limits() }).await;
    for bytes in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1]] {
        let mut socket = TcpStream::connect(pair.served.at).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let began = Instant::now();
        closes(&mut socket, Duration::from_secs(3)).await;
        assert!(began.elapsed() > Duration::from_millis(150));
    }
    // Byte by byte is no faster.
    let mut socket = TcpStream::connect(pair.served.at).await.unwrap();
    let began = Instant::now();
    while socket.write_all(&[22]).await.is_ok() && began.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    pair.asks().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_no_known_peer_calls_is_closed() {
    let pair = Pair::start(ServerLimits { unclaimed: Duration::from_millis(400), ..limits() }).await;
    let stranger = pair.drawer.pair("stranger");
    let began = Instant::now();
    // Nothing, half of HTTP/2's first line, and a whole one with nothing behind it.
    let mut streams = Vec::new();
    for bytes in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        for own in [None, Some(&stranger), Some(&pair.requester)] {
            let mut stream = tls(pair.served.at, pair.config(own)).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            streams.push(stream);
        }
    }
    for mut stream in streams {
        closes(&mut stream, Duration::from_secs(3)).await;
    }
    // A stranger's calls, refused, do not prolong it; nor does a health check that stays.
    let mut client = pair.dial(Some(&stranger)).await;
    assert!(client.list_flights(Criteria { expression: "psi/1".into() }).await.is_err());
    let mut health = HealthClient::new(channel(pair.served.at, pair.config(None)).await.unwrap());
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    let ends = tokio::time::timeout(Duration::from_secs(3), watched.message()).await.expect("it is closed");
    assert!(ends.is_err());
    assert!(began.elapsed() < Duration::from_secs(6));
    // A known peer's stays.
    let mut client = pair.dial(Some(&pair.requester)).await;
    for _ in 0..2 {
        client.list_flights(Criteria { expression: "psi/1".into() }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    client.list_flights(Criteria { expression: "psi/1".into() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_hold_all_connections_keep_no_known_peer_out() {
    let pair = Pair::start(ServerLimits { connections_max: 3, ..limits() }).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(pair.served.at).await.unwrap());
    }
    let shaken = tls(pair.served.at, pair.config(None)).await.unwrap();
    pair.asks().await.unwrap();
    assert_eq!(pair.peer().shares().await.unwrap().len(), 2);
    for socket in &mut silent[..5] {
        closes(socket, Duration::from_secs(3)).await;
    }
    drop(shaken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_holds_a_bounded_number_of_connections_and_where_all_are_held_a_new_one_is_closed() {
    let drawer = Drawer::new();
    let (responder, one, two, three) =
        (drawer.pair(RESPONDER), drawer.pair(REQUESTER), drawer.pair("two"), drawer.pair("three"));
    let known = pins(&[(REQUESTER, &[&one]), ("two", &[&two]), ("three", &[&three])]);
    let bounds = ServerLimits { connections_max: 4, connections_per_peer_max: 2, ..limits() };
    let served = serve(&responder, known, bounds).await;
    let pair = Pair { drawer, served, requester: one.clone(), responder };
    let list = || Criteria { expression: "psi/1".into() };
    let mut held = Vec::new();
    for own in [&one, &one, &two, &two] {
        let mut client = pair.dial(Some(own)).await;
        client.list_flights(list()).await.unwrap();
        held.push(client);
        if held.len() == 2 {
            let status = pair.dial(Some(&one)).await.list_flights(list()).await.unwrap_err();
            assert!(status.message().contains("publisher holds 2 connections"), "{status:?}");
        }
    }
    // The table is full of known peers' connections.
    let error = ask(&peer(pair.served.at, &three, &pair.responder)).await.unwrap_err();
    assert!(matches!(&error, Error::Environment(words) if words.contains("closed the connection")), "{error}");
    for client in &mut held {
        client.list_flights(list()).await.unwrap();
    }
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = pair.asks().await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_runs_a_bounded_number_of_sessions() {
    let pair = Pair::start(ServerLimits { sessions_per_peer_max: 2, ..limits() }).await;
    *pair.served.source.refusal.lock().unwrap() = Some(Trouble::Sleep(Duration::from_millis(500)));
    let all = futures::future::join_all((0..5).map(|_| pair.asks())).await;
    let refused: Vec<_> = all.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 3);
    for error in refused {
        let Error::Reported { fault: Fault::Environment, reason, .. } = error else { panic!("{error}") };
        assert!(reason.contains("2 sessions with publisher") && reason.contains("later"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_to_anybody_and_is_not_serving_once_the_server_stops() {
    let mut pair = Pair::start(limits()).await;
    let mut health = HealthClient::new(channel(pair.served.at, pair.config(None)).await.unwrap());
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let answer = health.check(asked("")).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    // No name of a service says anything.
    for service in ["purchases", "arrow.flight.protocol.FlightService", REQUESTER] {
        assert_eq!(health.check(asked(service)).await.unwrap_err().code(), tonic::Code::NotFound);
    }
    assert!(health.check(asked(&"x".repeat(5000))).await.is_err());
    let mut watched = health.watch(asked("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let began = Instant::now();
    pair.served.stop();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop((watched, health));
    pair.served.task.join().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_session_is_ended_in_words_when_the_server_stops() {
    let mut pair = Pair::start(limits()).await;
    *pair.served.source.refusal.lock().unwrap() = Some(Trouble::Sleep(Duration::from_secs(20)));
    let requester = pair.peer();
    let asking = super::Task::start(async move { ask(&requester).await });
    while pair.served.source.answered.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pair.served.stop();
    let Error::Reported { fault: Fault::Environment, reason, .. } = asking.join().await.unwrap_err() else { panic!() };
    assert!(reason.contains("shutting down"), "{reason}");
    pair.served.task.join().await.unwrap();
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_the_client_is_told_stands_in_the_servers_log_too() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let pair = Pair::start(ServerLimits { handshake: Duration::from_millis(200), ..limits() }).await;
    let stranger = pair.drawer.pair("stranger");
    let stalled = TcpStream::connect(pair.served.at).await.unwrap();
    ask(&peer(pair.served.at, &stranger, &pair.responder)).await.unwrap_err();
    pair.dial(None).await.list_flights(Criteria::default()).await.unwrap_err();
    ask(&peer(pair.served.at, &pair.requester, &stranger)).await.unwrap_err();
    TcpStream::connect(pair.served.at).await.unwrap().write_all(b"PRI * HTTP/2.0").await.unwrap();
    let print = |files| crate::transport::tls::fingerprint(&load(files).certificate());
    let due = [
        format!("unknown certificate sha256:{}", print(&stranger)),
        "no certificate".to_owned(),
        format!("does not accept this party's certificate, sha256:{}", print(&pair.responder)),
        "did not begin with a TLS handshake".to_owned(),
        "no handshake within 200ms".to_owned(),
        "from=127.0.0.1:".to_owned(),
    ];
    let deadline = Instant::now() + Duration::from_secs(5);
    for words in due {
        loop {
            let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            if logged.contains(&words) {
                break;
            }
            assert!(Instant::now() < deadline, "'{words}' is not in\n{logged}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    drop(stalled);
}

#[tokio::test]
async fn a_server_without_tls_listens_on_this_machine_alone() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let toys = std::sync::Arc::new(super::toy::Toys::new(&super::toy::steps(1)));
    let server = crate::transport::PeerServer::new(RESPONDER, std::sync::Arc::clone(&toys), limits());
    let error = server.serve(listener, std::future::pending()).await.unwrap_err();
    assert!(matches!(&error, Error::Caller(words) if words.contains("without TLS")), "{error}");
    let drawer = Drawer::new();
    let (responder, requester) = (drawer.pair(RESPONDER), drawer.pair(REQUESTER));
    let server = crate::transport::PeerServer::new(RESPONDER, toys, limits())
        .with_tls(load(&responder), pins(&[(REQUESTER, &[&requester])]));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    server.serve(listener, std::future::ready(())).await.unwrap();
}
