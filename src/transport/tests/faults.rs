//! Peers that break the rules, spoken by a bare Flight client or a bare socket.

use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightData, FlightDescriptor, Ticket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

use super::flight::{Served, ask};
use super::local::{hasty, patient};
use super::toy::{REQUESTER, Toys, Trouble, fresh_id, offer, steps};
use crate::psi::{Error, Fault, Phase, SessionId, hello_schema};
use crate::transport::wire::{Control, Encoder, Frame, PARTY_KEY, Step, from_status, session_path};
use crate::transport::{Deadlines, ServerLimits};

struct Bare {
    client: FlightServiceClient<tonic::transport::Channel>,
    party: &'static str,
}

struct Open {
    sender: Option<mpsc::Sender<FlightData>>,
    answers: Streaming<FlightData>,
}

fn message(frame: Frame, path: Option<Vec<String>>) -> FlightData {
    FlightData {
        flight_descriptor: path.map(FlightDescriptor::new_path),
        data_header: frame.header,
        app_metadata: frame.metadata,
        data_body: frame.body,
    }
}

impl Bare {
    async fn connect(served: &Served) -> Bare {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", served.at)).unwrap();
        let client = FlightServiceClient::new(endpoint.connect().await.unwrap());
        Bare { client: client.max_encoding_message_size(64 << 20), party: REQUESTER }
    }

    async fn exchange(&mut self, first: Vec<FlightData>) -> Result<Open, Status> {
        let (sender, messages) = mpsc::channel(16);
        let ends = first.last().is_some_and(|last| last.app_metadata == Control::end().metadata);
        for message in first {
            sender.try_send(message).unwrap();
        }
        // Whoever has sent its end closes its direction.
        let sender = (!ends).then_some(sender);
        let mut request = Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert(PARTY_KEY, MetadataValue::from_static(self.party));
        let answers = self.client.do_exchange(request).await?.into_inner();
        Ok(Open { sender, answers })
    }

    /// The offer, whole, as a real requester sends it.
    async fn hello(&mut self, id: SessionId) -> Result<Open, Status> {
        self.exchange(hello(id, id)).await
    }

    /// What a whole exchange of these messages ends with.
    async fn error_of(&mut self, messages: Vec<FlightData>) -> Error {
        let status = match self.exchange(messages).await {
            Err(status) => status,
            Ok(open) => open.status().await,
        };
        let Error::Reported { .. } = from_status(&status, "advertiser", None) else { panic!("{status:?}") };
        from_status(&status, "advertiser", None)
    }
}

impl Open {
    async fn status(mut self) -> Status {
        let reading = async {
            loop {
                match self.answers.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the exchange ended well"),
                    Err(status) => return status,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the server answers")
    }

    async fn drain(mut self) {
        while let Some(_message) = self.answers.message().await.unwrap() {}
    }
}

fn hello(path: SessionId, offered: SessionId) -> Vec<FlightData> {
    let mut encoder = Encoder::new(Phase::Hello, hello_schema()).unwrap();
    let path = session_path(path, Step::Phase(Phase::Hello));
    vec![
        message(encoder.schema(), Some(path)),
        message(encoder.batch(&offer(offered).to_batch()).unwrap(), None),
        message(Control::end(), None),
    ]
}

#[tokio::test]
async fn a_session_is_not_begun_twice() {
    let served = Served::with(&steps(1), Deadlines { idle: Duration::from_secs(1), ..patient() }).await;
    let mut bare = Bare::connect(&served).await;
    let id = fresh_id();
    let open = bare.hello(id).await.unwrap();
    let replayed = |error: Error| matches!(error, Error::Reported { fault: Fault::Peer, reason, .. } if reason.contains("used before"));
    assert!(replayed(bare.error_of(hello(id, id)).await), "while it runs");
    drop(open);
    drop(bare);
    let _ = served.source.outcome(1).await;
    let mut bare = Bare::connect(&served).await;
    bare.party = "other";
    assert!(replayed(bare.error_of(hello(id, id)).await), "by another peer, after its end");
    served.still_serves().await;
}

#[tokio::test]
async fn unknown_finished_and_foreign_sessions_are_refused() {
    let served = Served::with(&steps(1), patient()).await;
    let mut bare = Bare::connect(&served).await;
    let phase = |id, phase| {
        let frame = Encoder::new(Phase::Columns, hello_schema()).unwrap().schema();
        vec![message(frame, Some(session_path(id, Step::Phase(phase))))]
    };
    let words = |error: Error| match error {
        Error::Reported { fault: Fault::Peer, reason, .. } => reason,
        other => panic!("{other}"),
    };
    assert!(words(bare.error_of(phase(fresh_id(), Phase::Columns)).await).contains("unknown here"));
    let id = fresh_id();
    bare.hello(id).await.unwrap().drain().await;
    bare.party = "other";
    assert!(words(bare.error_of(phase(id, Phase::Confirm)).await).contains("unknown here"), "another peer's");
    let control = vec![message(Control::hold(), Some(session_path(id, Step::Control)))];
    assert!(words(bare.error_of(control.clone()).await).contains("unknown here"), "another peer's control");
    bare.party = REQUESTER;
    // Its own, and a phase too far.
    assert!(words(bare.error_of(phase(id, Phase::Tags)).await).contains("tags was opened where confirm was due"));
    assert!(served.source.outcome(1).await.is_err());
    let told = words(bare.error_of(phase(id, Phase::Confirm)).await);
    assert!(told.contains("tags was opened where confirm was due"), "the reason is remembered: {told}");
    assert!(words(bare.error_of(control).await).contains("confirm was due"));
    served.still_serves().await;
}

#[tokio::test]
async fn an_offer_for_another_session_or_party_is_refused() {
    let served = Served::with(&steps(1), patient()).await;
    let mut bare = Bare::connect(&served).await;
    let error = bare.error_of(hello(fresh_id(), fresh_id())).await;
    assert!(error.to_string().contains("'session' of the offer"), "{error}");
    bare.party = "other";
    let id = fresh_id();
    let error = bare.error_of(hello(id, id)).await;
    assert!(error.to_string().contains("'requester' of the offer"), "{error}");
    assert_eq!(served.source.answered.load(std::sync::atomic::Ordering::Relaxed), 0, "the source never saw them");
    served.still_serves().await;
}

type Spoil = Box<dyn Fn(SessionId) -> Vec<FlightData>>;

#[tokio::test]
async fn a_hello_that_is_none_is_refused() {
    let served = Served::with(&steps(1), hasty()).await;
    let mut bare = Bare::connect(&served).await;
    let whole = |id| hello(id, id);
    let cases: Vec<(&str, Spoil)> = vec![
        (
            "no path",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages[0].flight_descriptor = None;
                messages
            }),
        ),
        (
            "two offers",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages.insert(1, messages[1].clone());
                messages
            }),
        ),
        (
            "no offer",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages.remove(1);
                messages
            }),
        ),
        (
            "no schema",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages[0].data_header = bytes::Bytes::new();
                messages
            }),
        ),
        (
            "a path in the middle",
            Box::new(move |id| {
                let mut messages = whole(id);
                let path = messages[0].flight_descriptor.clone();
                messages[1].flight_descriptor = path;
                messages
            }),
        ),
        (
            "more after the end",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages.push(message(Control::end(), None));
                messages
            }),
        ),
        (
            "a message over the limit",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages[1].data_body = vec![0; 6 << 20].into();
                messages
            }),
        ),
        (
            "another version",
            Box::new(move |id| {
                let mut messages = whole(id);
                messages[0].flight_descriptor =
                    Some(FlightDescriptor::new_path(vec!["psi/0".to_owned(), id.to_string(), "hello".to_owned()]));
                messages
            }),
        ),
        ("nothing after the schema", Box::new(move |id| whole(id)[..1].to_vec())),
    ];
    for (case, messages) in cases {
        let began = Instant::now();
        let error = bare.error_of(messages(fresh_id())).await;
        assert!(matches!(error.fault(), Fault::Peer | Fault::Incompatible), "{case}: {error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{case}");
    }
    assert_eq!(served.source.answered.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_requester_that_never_goes_on_loses_its_place() {
    let limits = ServerLimits { sessions_max: 1, deadlines: hasty(), ..ServerLimits::default() };
    let served = Served::start(Toys::new(&steps(1)), limits).await;
    let mut bare = Bare::connect(&served).await;
    let id = fresh_id();
    bare.hello(id).await.unwrap().drain().await;
    let error = served.source.outcome(1).await.unwrap_err();
    assert!(error.to_string().contains("nothing came in phase confirm"), "{error}");
    ask(&served.address(), &steps(1), patient()).await.unwrap();
}

#[tokio::test]
async fn an_exchange_that_never_begins_is_given_up() {
    let served = Served::with(&steps(1), hasty()).await;
    let mut bare = Bare::connect(&served).await;
    let began = Instant::now();
    let error = bare.error_of(vec![]).await;
    assert!(error.to_string().contains("nothing came"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_flood_of_exchanges_is_refused() {
    let served = Served::with(&steps(1), patient()).await;
    *served.source.refusal.lock().unwrap() = Some(Trouble::Sleep(Duration::from_millis(500)));
    let mut bare = Bare::connect(&served).await;
    let id = fresh_id();
    let held = bare.hello(id).await.unwrap();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for _ in 0..20 {
        let frame = Encoder::new(Phase::Confirm, hello_schema()).unwrap().schema();
        match bare.exchange(vec![message(frame, Some(session_path(id, Step::Phase(Phase::Confirm))))]).await {
            Ok(open) => waiting.push(open),
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument);
                refused += 1;
            }
        }
    }
    assert_eq!((waiting.len(), refused), (1, 19));
    drop((held, waiting, bare));
    let _ = served.source.outcome(1).await;
    served.still_serves().await;
}

#[tokio::test]
async fn requests_without_a_name_or_outside_the_protocol_are_refused_in_words() {
    let served = Served::with(&steps(1), patient()).await;
    let mut bare = Bare::connect(&served).await;
    let status = bare.client.list_flights(Criteria { expression: "psi/1".into() }).await.unwrap_err();
    assert!(status.code() == Code::PermissionDenied && status.message().contains(PARTY_KEY), "{status:?}");
    let mut request = Request::new(Criteria { expression: "psi/9".into() });
    request.metadata_mut().insert(PARTY_KEY, MetadataValue::from_static(REQUESTER));
    let status = bare.client.list_flights(request).await.unwrap_err();
    assert!(status.code() == Code::Unimplemented && status.message().contains("psi/9"), "{status:?}");
    let status = bare.client.do_get(Ticket::new("x")).await.unwrap_err();
    assert!(status.code() == Code::Unimplemented && status.message().contains("DoExchange"), "{status:?}");
}

#[tokio::test]
async fn garbage_on_the_port_hurts_nobody() {
    let served = Served::with(&steps(1), patient()).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut torn = preface.clone();
    torn.extend([0xff; 300]);
    for bytes in
        [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 1000], vec![0xff; 100_000], b"\x16\x03\x01".to_vec(), torn]
    {
        let mut socket = TcpStream::connect(served.at).await.unwrap();
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let reading = socket.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the server closes the connection");
    }
    let silent = TcpStream::connect(served.at).await.unwrap();
    served.still_serves().await;
    drop(silent);
}

#[tokio::test]
async fn a_requester_that_reads_nothing_stalls_and_loses_its_place() {
    use super::toy::Step as ToyStep;
    let wide: std::sync::Arc<[ToyStep]> = [ToyStep { rows: 4096 * 8, ..ToyStep::new(Phase::Columns, 0, 200) }].into();
    let deadlines = Deadlines { idle: Duration::from_millis(300), ..patient() };
    let served = Served::with(&wide, deadlines).await;
    let mut bare = Bare::connect(&served).await;
    let id = fresh_id();
    bare.hello(id).await.unwrap().drain().await;
    let schema = crate::psi::Session::out_schema(&{
        let mut toy = super::toy::Toy::responder(id, &wide);
        crate::psi::Session::advance(&mut toy).unwrap();
        toy
    });
    let mut encoder = Encoder::new(Phase::Columns, schema).unwrap();
    let path = session_path(id, Step::Phase(Phase::Columns));
    let unread =
        bare.exchange(vec![message(encoder.schema(), Some(path)), message(Control::end(), None)]).await.unwrap();
    let error = served.source.outcome(1).await.unwrap_err();
    assert!(error.to_string().contains("nothing came in phase columns"), "{error}");
    drop(unread.sender);
}
