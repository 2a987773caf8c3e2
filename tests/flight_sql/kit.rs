//! Two parties with certificates on one machine, analysts of one of them, and a network between that can be held.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow_flight::FlightInfo;
use arrow_flight::sql::client::FlightSqlServiceClient;
use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use datafusion_psi::flight_sql::{SessionSource, SqlFlight, SqlFront, SqlLimits};
use datafusion_psi::transport::Analysts;
use datafusion_psi::transport::tls::{Token, make, make_for, write};
use datafusion_psi::{Asker, Budgets, Keys, Party, peer_server, sql_runtime, sql_session};
use futures::TryStreamExt;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

pub(crate) type Client = FlightSqlServiceClient<Channel>;

/// People that both know, and that the shop has.
pub(crate) const COMMON: i64 = 1000;
pub(crate) const SHOPPERS: i64 = 3000;

/// The question of most tests; its answer is [`COMMON`].
pub(crate) const QUESTION: &str =
    "SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM readers r JOIN shop.people p ON r.email = p.email";

/// Who connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// With no certificate.
    Nobody,
    /// With the certificate of that file.
    Holder(&'static str),
}

pub(crate) struct Kit {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) shop: Budgets,
    pub(crate) paper: Budgets,
    pub(crate) ben: String,
    pub(crate) old: String,
    pub(crate) sql: SqlFlight,
    pub(crate) network: Network,
    plaintext: bool,
    /// Dropped, they end both servers.
    _servers: JoinSet<()>,
}

fn folder(root: &Path) -> (String, String) {
    for name in ["shop", "paper", "ana", "eve", "stranger"] {
        write(root, name).unwrap();
    }
    let (from, to) = (chrono::Utc::now() - chrono::TimeDelta::days(9), chrono::Utc::now() - chrono::TimeDelta::days(1));
    make_for("gone", from, to).unwrap().write(root, "gone").unwrap();
    // A file of several, as `clients` may have.
    let read = |name: &str| std::fs::read_to_string(root.join(format!("{name}.pem"))).unwrap();
    std::fs::write(root.join("analysts.pem"), read("ana") + &read("gone") + &make("spare").unwrap().certificate)
        .unwrap();
    let ben = Token::make("ben", None).unwrap();
    let old = Token::make("old", Some("2020-01-01".parse().unwrap())).unwrap();
    let tokens = root.join("tokens.txt");
    std::fs::write(&tokens, format!("{}\n{}\n", ben.line, old.line)).unwrap();
    std::fs::set_permissions(&tokens, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let table = |file: &str, people: std::ops::Range<i64>| {
        let mut text = "email,amount\n".to_owned();
        people.for_each(|n| text.push_str(&format!("person{n}@example.org,{}\n", n % 50)));
        std::fs::write(root.join(file), text).unwrap();
    };
    table("people.csv", 0..SHOPPERS);
    table("readers.csv", SHOPPERS - COMMON..2 * SHOPPERS - COMMON);
    (ben.token.to_string(), old.token.to_string())
}

fn shop(port: u16, tls: bool) -> String {
    let (server, peer) = if tls {
        (
            "certificate = \"shop.pem\"\nkey = \"shop.key\"",
            "address = \"grpc+tls://127.0.0.1:1\"\ncertificate = \"paper.pem\"",
        )
    } else {
        ("plaintext = true", "address = \"grpc://127.0.0.1:1\"\nplaintext = true")
    };
    format!(
        r#"
[party]
name = "shop"
[server]
listen = "127.0.0.1:{port}"
{server}
[[table]]
name = "people"
location = "people.csv"
[[peer]]
name = "paper"
{peer}
[[share]]
table = "people"
with = ["paper"]
identifiers = {{ email = "email/1" }}
aggregates = {{ amount = {{ min = 0, max = 100, max_rows = 1 }} }}
minimum_matched = 0
[share.budget]
population = "shoppers"
queries = 100
sizes = {{ exact = true }}
outputs = {{ noise = "none" }}
"#
    )
}

fn paper(port: u16, shop: u16, tls: bool) -> String {
    let (server, peer) = if tls {
        (
            "certificate = \"paper.pem\"\nkey = \"paper.key\"\nclients = \"analysts.pem\"",
            format!("address = \"grpc+tls://127.0.0.1:{shop}\"\ncertificate = \"shop.pem\""),
        )
    } else {
        ("plaintext = true", format!("address = \"grpc://127.0.0.1:{shop}\"\nplaintext = true"))
    };
    format!(
        r#"
[party]
name = "paper"
[server]
listen = "127.0.0.1:{port}"
{server}
tokens = "tokens.txt"
[[table]]
name = "readers"
location = "readers.csv"
[[peer]]
name = "shop"
{peer}
[[ask]]
of = ["shop"]
population = "readers"
rows = "reveal"
identifiers = 1
[ask.budget]
queries = 100
sizes = {{ exact = true }}
"#
    )
}

struct Source {
    party: Arc<Party>,
    asker: Arc<Asker>,
    runtime: Arc<RuntimeEnv>,
}

#[async_trait]
impl SessionSource for Source {
    async fn open(&self) -> datafusion::error::Result<SessionContext> {
        sql_session(&self.party, Arc::clone(&self.asker), Arc::clone(&self.runtime)).await
    }
}

impl Kit {
    pub(crate) async fn open() -> Kit {
        Kit::with(SqlLimits::default(), true).await
    }

    pub(crate) async fn with(limits: SqlLimits, tls: bool) -> Kit {
        let folder_of = tempfile::tempdir().unwrap();
        let root = folder_of.path();
        let (ben, old) = folder(root);
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (at_shop, at_paper) = (listen().await.unwrap(), listen().await.unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let network = Network::start(port(&at_shop)).await;
        let shop = Arc::new(Party::parse(&shop(port(&at_shop), tls), root.join("shop.toml")).unwrap());
        let text = paper(port(&at_paper), network.port, tls);
        let paper = Arc::new(Party::parse(&text, root.join("paper.toml")).unwrap());
        let (shop_books, paper_books) = (Budgets::in_memory(&shop), Budgets::in_memory(&paper));
        let peers = Keys::of(&paper).unwrap().pins;
        let server = paper.server.as_ref().unwrap();
        let analysts = Analysts::load("paper", &server.clients, server.tokens.as_deref(), peers).unwrap();
        let asker = Arc::new(Asker::new(Arc::clone(&paper), paper_books.clone()).unwrap());
        let source = Source { party: Arc::clone(&paper), asker, runtime: sql_runtime(&paper).unwrap() };
        let sql = SqlFlight::new(Arc::new(source), analysts, limits).unwrap();
        let mut servers = JoinSet::new();
        let serving = peer_server(&shop, shop_books.clone()).unwrap();
        servers.spawn(async move { serving.serve(at_shop, std::future::pending()).await.unwrap() });
        let (serving, behind) = (peer_server(&paper, paper_books.clone()).unwrap(), sql.clone());
        let port = port(&at_paper);
        servers.spawn(async move {
            let front = |peers| SqlFront::new(peers, behind);
            serving.serve_behind(at_paper, std::future::pending(), front).await.unwrap();
        });
        let (shop, paper) = (shop_books, paper_books);
        Kit { folder: folder_of, port, shop, paper, ben, old, sql, network, plaintext: !tls, _servers: servers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A connection of its own.
    pub(crate) async fn channel(&self, who: Who) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port)).unwrap();
        if self.plaintext {
            return endpoint.connect().await.unwrap();
        }
        let pinned = CertificateDer::from_pem_file(self.path("paper.pem")).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(pinned)));
        let mut config = match who {
            Who::Nobody => config.with_no_client_auth(),
            Who::Holder(name) => {
                let chain = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, port) = (TlsConnector::from(Arc::new(config)), self.port);
        let connect = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move {
                let socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
                let name = ServerName::try_from("localhost").unwrap();
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, socket).await?))
            }
        });
        endpoint.connect_with_connector(connect).await.unwrap()
    }

    /// The analyst with a certificate.
    pub(crate) async fn ana(&self) -> Client {
        Client::new(self.channel(Who::Holder("ana")).await)
    }

    /// The analyst with a token.
    pub(crate) async fn ben(&self) -> Client {
        let mut client = Client::new(self.channel(Who::Nobody).await);
        client.set_token(self.ben.clone());
        client
    }

    /// What the paper's account has paid so far.
    pub(crate) fn asked(&self) -> usize {
        self.paper.sessions().unwrap().len()
    }

    /// Waits until all sessions of the shop have ended, and says how.
    pub(crate) async fn ends_at_the_shop(&self) -> Vec<String> {
        for _ in 0..200 {
            let sessions = self.shop.sessions().unwrap();
            if sessions.iter().all(|session| session.ended.is_some()) {
                return sessions.into_iter().filter_map(|session| session.ended?.outcome).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("a session at the shop goes on: {:?}", self.shop.sessions().unwrap());
    }
}

/// The rows of all endpoints.
pub(crate) async fn rows(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, String> {
    let mut all = Vec::new();
    for endpoint in info.endpoint {
        let stream = client.do_get(endpoint.ticket.unwrap()).await.map_err(|error| error.to_string())?;
        all.extend(stream.try_collect::<Vec<_>>().await.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

/// Runs a query.
pub(crate) async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let info = client.execute(sql.to_owned(), None).await.map_err(|error| error.to_string())?;
    rows(client, info).await
}

/// The only number of a result.
pub(crate) fn number(batches: &[RecordBatch]) -> i64 {
    let rows: Vec<_> = batches.iter().filter(|batch| batch.num_rows() > 0).collect();
    assert_eq!(rows.len(), 1, "{batches:?}");
    rows[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

/// A column of texts.
pub(crate) fn texts(batches: &[RecordBatch], name: &str) -> Vec<String> {
    let column = |batch: &RecordBatch| {
        let column = batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
        (0..column.len()).map(|row| column.value(row).to_owned()).collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect()
}

/// Trusts one certificate.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(*end_entity, self.0);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 alone")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The way from the paper to the shop, which can be held: bytes then wait, and connections stay open.
pub(crate) struct Network {
    port: u16,
    /// How many bytes may pass towards the shop on one connection.
    passes: watch::Sender<u64>,
    open: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Network {
    async fn start(shop: u16) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let passes = watch::Sender::new(u64::MAX);
        let (open, watched) = (Arc::new(AtomicU64::new(0)), passes.subscribe());
        let counted = Arc::clone(&open);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (watched, open) = (watched.clone(), Arc::clone(&counted));
                connections.spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    let far = TcpStream::connect(("127.0.0.1", shop)).await.unwrap();
                    carry(near, far, watched).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Network { port, passes, open, _task: task }
    }

    /// From now on no more than so many bytes pass towards the shop, on each connection.
    pub(crate) fn hold_after(&self, bytes: u64) {
        self.passes.send_replace(bytes);
    }

    /// Connections between the two.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }
}

/// Until either side closes; what is held notices that too.
async fn carry(near: TcpStream, far: TcpStream, mut passes: watch::Receiver<u64>) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let up = async {
        let (mut passed, mut bytes, mut held) = (0u64, vec![0; 1024], Vec::new());
        loop {
            if passed <= *passes.borrow_and_update() && !held.is_empty() {
                if far_write.write_all(&std::mem::take(&mut held)).await.is_err() {
                    return;
                }
                continue;
            }
            // What is held is read on, so that its sender's end is noticed.
            tokio::select! {
                changed = passes.changed() => changed.unwrap(),
                n = near_read.read(&mut bytes) => match n.unwrap_or(0) {
                    0 => return,
                    n => {
                        passed += n as u64;
                        held.extend_from_slice(&bytes[..n]);
                    }
                },
            }
        }
    };
    let down = async { tokio::io::copy(&mut far_read, &mut near_write).await.unwrap_or(0) };
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}
