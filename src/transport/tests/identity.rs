//! Who a peer is: its certificate, shown and checked over real TLS.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightData, FlightDescriptor};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::flight::Served;
use super::local::patient;
use super::proxy::{Break, Proxy};
use super::secured::{Pair, Shows, address, ask, channel, limits, load, peer, pins, serve, tls};
use super::toy::{REQUESTER, RESPONDER, UNKNOWN, fresh_id, shared, steps};
use crate::psi::{Error, Fault, Phase};
use crate::transport::tls::{fingerprint, make};
use crate::transport::wire::{PARTY_KEY, Step, from_status, session_path, share_path};
use crate::transport::{Peer, ServerLimits};

fn print(files: &super::secured::Files) -> String {
    format!("sha256:{}", fingerprint(&load(files).certificate()))
}

fn refused(error: Error) -> String {
    match error {
        Error::Refused(words) | Error::Reported { fault: Fault::Refused, reason: words, .. } => words,
        other => panic!("{other:?}"),
    }
}

/// What every method of the peer protocol says to this client, which claims to be `party`.
async fn all_methods(client: &mut FlightServiceClient<Channel>, party: Option<&'static str>) -> Vec<Status> {
    fn with<T>(message: T, party: Option<&'static str>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(party) = party {
            request.metadata_mut().insert(PARTY_KEY, MetadataValue::from_static(party));
        }
        request
    }
    let mut said = Vec::new();
    said.extend(client.list_flights(with(Criteria { expression: "psi/1".into() }, party)).await.err());
    for table in ["purchases", "no_such_table"] {
        let path = || FlightDescriptor::new_path(share_path(table));
        said.extend(client.get_schema(with(path(), party)).await.err());
        said.extend(client.get_flight_info(with(path(), party)).await.err());
    }
    for step in [Step::Phase(Phase::Hello), Step::Phase(Phase::Columns), Step::Control] {
        let first = FlightData {
            flight_descriptor: Some(FlightDescriptor::new_path(session_path(fresh_id(), step))),
            ..FlightData::default()
        };
        said.extend(client.do_exchange(with(futures::stream::iter([first]), party)).await.err());
    }
    assert_eq!(said.len(), 8, "all are refused");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_parties_with_each_others_certificates_run_sessions_and_list_shares() {
    let pair = Pair::start(limits()).await;
    pair.asks().await.unwrap();
    assert_eq!(pair.served.source.outcome(1).await, Ok(()));
    assert_eq!(pair.peer().shares().await.unwrap(), vec![shared("purchases"), shared("visits")]);
    assert_eq!(pair.peer().share("visits").await.unwrap(), shared("visits"));
    // The name comes from the certificate: without the metadata it is the same.
    let mut client = pair.dial(Some(&pair.requester)).await;
    assert!(client.list_flights(Criteria { expression: "psi/1".into() }).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_valid_known_certificate_is_refused_in_words_that_hint_at_nothing() {
    let drawer = super::secured::Drawer::new();
    let responder = drawer.pair(RESPONDER);
    let good = drawer.pair(REQUESTER);
    let stranger = drawer.pair("stranger");
    let expired = drawer.valid("expired", -10, -1);
    let early = drawer.valid("early", 1, 10);
    let unserved = drawer.pair(UNKNOWN);
    let known = pins(&[(REQUESTER, &[&good, &expired, &early]), (UNKNOWN, &[&unserved])]);
    let served = serve(&responder, known, limits()).await;
    let pair = Pair { drawer, served, requester: good.clone(), responder };

    let (unknown_print, expired_print, early_print) = (print(&stranger), print(&expired), print(&early));
    let cases = [
        ("no certificate", None, Some(REQUESTER), vec!["no certificate"]),
        ("unknown", Some(&stranger), Some(REQUESTER), vec!["unknown certificate", &unknown_print, "[[peer]]"]),
        ("expired", Some(&expired), Some(REQUESTER), vec!["certificate of publisher expired on", &expired_print]),
        ("not yet valid", Some(&early), None, vec!["certificate of publisher is not valid before", &early_print]),
        ("another name", Some(&good), Some("other"), vec!["that of 'publisher'", "'other'"]),
        ("a name that is none", Some(&good), Some("a b"), vec![PARTY_KEY]),
        ("not the source's peer", Some(&unserved), None, vec!["knows no peer 'unknown'", "[[peer]]"]),
    ];
    for (case, own, party, expected) in cases {
        let mut client = pair.dial(own).await;
        let statuses = all_methods(&mut client, party).await;
        for status in &statuses {
            assert_eq!(status.code(), Code::PermissionDenied, "{case}: {status:?}");
            let words = refused(from_status(status, RESPONDER, None));
            assert!(expected.iter().all(|word| words.contains(word)), "{case}: {words}");
            // But for the second at which it was asked.
            let timeless = |words: &str| words.split("the one here says").next().map(str::to_owned);
            assert_eq!(timeless(&words), timeless(statuses[0].message()), "{case}: the same, whatever was asked for");
            assert!(!words.contains("purchases") && !words.contains("share"), "{case}: {words}");
        }
    }
    assert_eq!(pair.served.source.answered.load(Ordering::Relaxed), 0);
    pair.asks().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_its_key_opens_nothing() {
    let pair = Pair::start(limits()).await;
    // The requester's certificate is no secret; the key is another's.
    let stolen = rustls::pki_types::CertificateDer::from(load(&pair.requester).certificate().to_vec());
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(make("thief").unwrap().key.as_bytes()).unwrap();
    use rustls::pki_types::pem::PemObject;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let forged = Arc::new(CertifiedKey::new(vec![stolen], key));
    let mut config = pair.config(None);
    config.client_auth_cert_resolver = Arc::new(Shows(Some(Arc::clone(&forged))));
    // The client's side of the handshake is over before the server looks: the first call fails.
    if let Ok(channel) = channel(pair.served.at, config).await {
        let status = FlightServiceClient::new(channel).list_flights(Criteria::default()).await.unwrap_err();
        assert!(!status.metadata().contains_key("psi-fault"), "no call got through: {status:?}");
    }

    // And a server with the responder's certificate and another key.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let certificate = rustls::pki_types::CertificateDer::from(load(&pair.responder).certificate().to_vec());
    let forged = CertifiedKey::new(vec![certificate], Arc::clone(&forged.key));
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(forged)));
    let _server = super::Task::start(async move {
        let (socket, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(socket).await.map(|_| ())
    });
    let words = refused(ask(&peer(at, &pair.requester, &pair.responder)).await.unwrap_err());
    assert!(words.contains("did not prove that it holds the key"), "{words}");
    pair.asks().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_certificate_is_not_the_pinned_one_is_refused_with_both_fingerprints() {
    let pair = Pair::start(limits()).await;
    let other = pair.drawer.pair("other");
    let words = refused(ask(&peer(pair.served.at, &pair.requester, &other)).await.unwrap_err());
    for word in [&print(&pair.responder), &print(&other), "[[peer]]", RESPONDER] {
        assert!(words.contains(word), "{words}");
    }
    // Pinned, but as another peer's: one peer's key does not make it another peer.
    let known = pins(&[(RESPONDER, &[&other]), ("third", &[&pair.responder])]);
    let confused =
        Peer::with_tls(RESPONDER, REQUESTER, &pair.address(), patient(), load(&pair.requester), known).unwrap();
    let words = refused(confused.shares().await.unwrap_err());
    assert!(words.contains("that of 'third'") && words.contains(&print(&other)), "{words}");
    let known = pins(&[("third", &[&other])]);
    let unpinned =
        Peer::with_tls(RESPONDER, REQUESTER, &pair.address(), patient(), load(&pair.requester), known).unwrap();
    assert!(refused(ask(&unpinned).await.unwrap_err()).contains("pinned for advertiser is none"));
    assert_eq!(pair.served.source.answered.load(Ordering::Relaxed), 0);
    pair.asks().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_out_of_its_time_is_refused_with_the_date_on_either_side() {
    let pair = Pair::start(limits()).await;
    for (name, from, to, word) in [("late", -10, -1, "expired on"), ("soon", 1, 10, "is not valid before")] {
        let theirs = pair.drawer.valid(name, from, to);
        let served = serve(&theirs, pins(&[(REQUESTER, &[&pair.requester])]), limits()).await;
        let words = refused(ask(&peer(served.at, &pair.requester, &theirs)).await.unwrap_err());
        assert!(words.contains(&format!("the certificate of advertiser {word}")), "{words}");
        // One's own is noticed before anything connects.
        let error = ask(&peer(pair.served.at, &theirs, &pair.responder)).await.unwrap_err();
        assert!(
            matches!(&error, Error::Caller(words) if words.contains("this party's certificate") && words.contains(word)),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_to_tls_and_tls_to_plain_text_are_told_so() {
    let pair = Pair::start(limits()).await;
    let plain = Peer::new(RESPONDER, REQUESTER, &format!("grpc://{}", pair.served.at), patient()).unwrap();
    for error in [ask(&plain).await.unwrap_err(), plain.shares().await.unwrap_err()] {
        assert!(
            matches!(&error, Error::Incompatible(words) if words.contains("answers in TLS") && words.contains("grpc+tls://")),
            "{error}"
        );
    }
    let bare = Served::with(&steps(1), patient()).await;
    let secured = peer(bare.at, &pair.requester, &pair.responder);
    for error in [ask(&secured).await.unwrap_err(), secured.shares().await.unwrap_err()] {
        assert!(
            matches!(&error, Error::Incompatible(words) if words.contains("does not answer in TLS") && words.contains(&address(bare.at))),
            "{error}"
        );
    }
    bare.still_serves().await;
    pair.asks().await.unwrap();
    for (peer, word) in [
        (Peer::new(RESPONDER, REQUESTER, &pair.address(), patient()), "needs certificates"),
        (
            Peer::with_tls(RESPONDER, REQUESTER, "grpc://127.0.0.1:5", patient(), load(&pair.requester), pins(&[])),
            "grpc+tls://",
        ),
    ] {
        let error = peer.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_parties_rotate_their_certificates_while_the_server_runs() {
    let pair = Pair::start(limits()).await;
    let at = pair.served.at;
    let requester = peer(at, &pair.requester, &pair.responder);
    ask(&requester).await.unwrap();
    let append = |path: &std::path::Path, more: &str| {
        let before = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, before + more).unwrap();
    };
    // Where pins and own certificates are the same files, a copy keeps them apart.
    let apart = |files: &super::secured::Files, name: &str| {
        let copy = pair.drawer.path().join(name);
        std::fs::copy(&files.0, &copy).unwrap();
        copy
    };
    let (pin_of_requester, pin_of_responder) = (apart(&pair.requester, "p1.pem"), apart(&pair.responder, "p2.pem"));
    let known = crate::transport::tls::Pins::load([(REQUESTER.to_owned(), vec![pin_of_requester.clone()])]).unwrap();
    let served = serve(&pair.responder, known, limits()).await;
    let known = crate::transport::tls::Pins::load([(RESPONDER.to_owned(), vec![pin_of_responder.clone()])]).unwrap();
    let own = load(&pair.requester);
    let requester =
        Peer::with_tls(RESPONDER, REQUESTER, &address(served.at), patient(), Arc::clone(&own), known).unwrap();
    ask(&requester).await.unwrap();
    for (pin, files, party) in
        [(&pin_of_requester, &pair.requester, REQUESTER), (&pin_of_responder, &pair.responder, RESPONDER)]
    {
        let old = print(files);
        let made = make(party).unwrap();
        append(pin, &made.certificate);
        ask(&requester).await.unwrap();
        // One file after the other: between the two, the old pair stays in force.
        std::fs::write(&files.0, &made.certificate).unwrap();
        ask(&requester).await.unwrap();
        std::fs::write(&files.1, made.key.as_bytes()).unwrap();
        assert_ne!(print(files), old);
        ask(&requester).await.unwrap();
        std::fs::write(pin, &made.certificate).unwrap();
        ask(&requester).await.unwrap();
    }
    // The old certificate no longer opens anything, not even on a connection that stands.
    let mut standing =
        super::secured::channel(served.at, own.client(RESPONDER, &pins(&[(RESPONDER, &[&pair.responder])])).unwrap())
            .await
            .map(FlightServiceClient::new)
            .unwrap();
    let list = || Criteria { expression: "psi/1".into() };
    assert!(standing.list_flights(list()).await.is_ok());
    std::fs::write(&pin_of_requester, make(REQUESTER).unwrap().certificate).unwrap();
    assert_eq!(standing.list_flights(list()).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(refused(ask(&requester).await.unwrap_err()).contains("unknown certificate"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_keeps_the_old_content_in_force() {
    let pair = Pair::start(limits()).await;
    let requester = pair.peer();
    ask(&requester).await.unwrap();
    let good = std::fs::read(&pair.responder.0).unwrap();
    for broken in [&b""[..], b"garbage", &good[..good.len() / 2], make("other").unwrap().certificate.as_bytes()] {
        // At once the server's certificate and the requester's pin: where both read it, both refuse it.
        std::fs::write(&pair.responder.0, broken).unwrap();
        let served = ask(&requester).await;
        if broken.starts_with(b"-----") && broken.len() > good.len() / 2 {
            // A whole certificate, of which the server has no key: only the pin has changed.
            assert!(refused(served.unwrap_err()).contains("pinned for advertiser is"));
        } else {
            served.unwrap();
        }
    }
    std::fs::remove_file(&pair.responder.1).unwrap();
    std::fs::write(&pair.responder.0, &good).unwrap();
    ask(&requester).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_sizes_and_times_and_no_names_or_certificates() {
    let pair = Pair::start(ServerLimits { sessions_per_peer_max: 8, ..limits() }).await;
    let proxy = Proxy::start(pair.served.at, Break::None).await;
    let at = proxy.address.trim_start_matches("grpc://").parse().unwrap();
    let requester = peer(at, &pair.requester, &pair.responder);
    ask(&requester).await.unwrap();
    requester.shares().await.unwrap();
    let (up, down) = proxy.seen();
    assert!(up.len() > 2000 && down.len() > 2000, "the observer saw both sessions");
    let certificates = [load(&pair.requester).certificate(), load(&pair.responder).certificate()];
    let words = [REQUESTER, RESPONDER, "purchases", "psi/1", "psi-party", "arrow.flight", "localhost", "127.0.0.1"];
    for seen in [&up, &down] {
        let holds = |what: &[u8]| seen.windows(what.len()).any(|window| window == what);
        assert!(holds(b"h2") || *seen == down, "the protocol's name is in the client's first message");
        for word in words {
            assert!(!holds(word.as_bytes()), "{word}");
        }
        // Any part of a certificate: its key, say.
        for certificate in &certificates {
            assert!(certificate.chunks_exact(16).all(|part| !holds(part)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_of_tls_is_resumed() {
    use tokio::io::AsyncReadExt;
    let pair = Pair::start(limits()).await;
    let mut config = pair.config(Some(&pair.requester));
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    for _ in 0..3 {
        let mut stream = tls(pair.served.at, config.clone()).await.unwrap();
        // The server's first bytes of HTTP/2 come after the tickets that it would send.
        let mut first = [0; 9];
        stream.read_exact(&mut first).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(connection.tls13_tickets_received(), 0);
        assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
    }
}
