//! The binary as its users meet it: `serve` and `sql` as real processes over loopback.
//!
//! Goal: what each command prints, to which stream, and with which exit code, for answers, refusals, and everything
//! that a newcomer gets wrong first. Method: two folders with a party.toml and CSV files each, one server process,
//! many short client processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, StringArray};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{FlightData, FlightDescriptor};
use datafusion_psi::psi::hello_schema;
use datafusion_psi::{Budgets, Party};

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
}

/// Persons of each party.
const PERSONS: usize = 60;

/// Both parties' folders; gone with the value.
struct Parties {
    folder: tempfile::TempDir,
    port: u16,
}

impl Parties {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free at this moment; `serve` says so if somebody else took it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let parties = Parties { folder, port };
        fs::create_dir_all(parties.path("shop/data")).unwrap();
        fs::create_dir_all(parties.path("paper/data")).unwrap();
        let mut purchases = "email,amount,category\n".to_owned();
        let mut readers = "email,campaign\n".to_owned();
        for i in 0..PERSONS {
            purchases.push_str(&format!(
                "Person{i}@example.org,{}.50,{}\n",
                i,
                if i % 2 == 0 { "toys" } else { "books" }
            ));
            readers.push_str(&format!(" person{}@EXAMPLE.org,spring\n", i + 20));
        }
        parties.write("shop/data/purchases.csv", &purchases);
        parties.write("paper/data/readers.csv", &readers);
        // No minimum: the sizes are noisy, and a test must not end by chance.
        parties.write("shop/party.toml", &parties.shop("sizes = { epsilon = 2.0 }", 0));
        parties.write("paper/party.toml", &parties.paper(port));
        for party in ["shop", "paper"] {
            Budgets::create(&Party::load(parties.path(party).join("party.toml")).unwrap()).unwrap();
        }
        parties
    }

    fn shop(&self, sizes: &str, minimum: u64) -> String {
        format!(
            r#"
[party]
name = "shop"
[server]
listen = "127.0.0.1:{}"
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
filter_on = ["category"]
minimum_matched = {minimum}
[share.budget]
population = "shoppers"
queries = 100
{sizes}
outputs = {{ noise = "none" }}
"#,
            self.port
        )
    }

    /// The paper's policy, with the shop at that port.
    fn paper(&self, port: u16) -> String {
        format!(
            r#"
[party]
name = "paper"
[[table]]
name = "readers"
location = "data/readers.csv"
[[peer]]
name = "shop"
address = "grpc://127.0.0.1:{}"
plaintext = true
[[ask]]
of = ["shop"]
population = "readers"
rows = "reveal"
identifiers = 1
[ask.budget]
queries = 100
sizes = {{ epsilon = 2.0 }}
"#,
            port
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn serve(&self) -> Server {
        let mut child = binary()
            .args(["serve", "--config"])
            .arg(self.path("shop/party.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.contains("answers at")).collect();
        assert!(child.try_wait().unwrap().is_none(), "the server did not start: {log:?}");
        let log = Arc::new(Log::default());
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.push(line)));
        Server { child, log, reader: Some(reader) }
    }

    fn sql(&self, arguments: &[&str]) -> Output {
        sql(&self.path("paper/party.toml"), arguments)
    }
}

fn sql(config: &Path, arguments: &[&str]) -> Output {
    binary().args(["sql", "--config"]).arg(config).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a server has logged since it began to answer.
#[derive(Default)]
struct Log(Mutex<Vec<String>>, Condvar);

impl Log {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
        self.1.notify_all();
    }

    /// The first line that holds all these words, waiting for it; a log without it fails the test.
    fn line(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.0.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line says {words:?}: {lines:?}");
            lines = self.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// How long a test waits for what has to come: only ever spent by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    child: Child,
    log: Arc<Log>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Asks the server to stop as an operator would; its exit status and what it logged since it began to answer.
    fn terminate(mut self) -> (std::process::ExitStatus, Vec<String>) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, std::mem::take(&mut *self.log.0.lock().unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const QUESTION: &str = "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue \
     FROM readers r JOIN shop.purchases p ON r.email = p.email";

#[test]
fn a_question_is_answered_in_every_format_and_progress_stays_out_of_a_pipe() {
    let parties = Parties::new();
    let server = parties.serve();
    // Persons 20..60 are at both: their amounts are 20.5 + … + 59.5.
    let csv = parties.sql(&["--format", "csv", "-c", QUESTION]);
    assert_eq!((out(&csv).as_str(), err(&csv).as_str()), ("buyers,revenue\n40,1600.0\n", ""));
    assert_eq!(csv.status.code(), Some(0));
    let json = parties.sql(&["--format", "json", "-c", QUESTION]);
    assert_eq!(out(&json), "[{\"buyers\":40,\"revenue\":1600.0}]\n");
    parties.write(
        "question.sql",
        &format!("-- Two statements.\nSELECT 1 AS one;\n{QUESTION} WHERE p.category = 'toys';\n"),
    );
    let table = parties.sql(&["-f", parties.path("question.sql").to_str().unwrap()]);
    assert!(out(&table).contains("| one |") && out(&table).contains("| 20     | 790.0   |"), "{}", out(&table));

    let (status, log) = server.terminate();
    assert!(status.success());
    let log = log.join("\n");
    assert!(log.contains("has stopped"), "{log}");
    assert!(!log.to_lowercase().contains("person2"), "an identifier is in the log: {log}");
}

#[test]
fn refusals_and_mistakes_are_one_line_on_stderr_and_exit_code_one() {
    let parties = Parties::new();
    let server = parties.serve();
    for (statement, expected) in [
        ("SELECT * FROM shop.purchases", "shop"),
        ("SELECT COUNT(*) FROM shop.purchases", "PRIVATE_INTERSECT_COUNT"),
        ("SELECT PRIVATE_INTERSECT_COUNT(*) FROM readers r JOIN shop.nothing p ON r.email = p.email", "nothing"),
        (
            "SELECT PRIVATE_INTERSECT_COUNT(*) FROM readers r JOIN shop.purchases p ON r.campaign = p.category",
            "category",
        ),
        (
            "SELECT PRIVATE_INTERSECT_COUNT(*) FROM readers r JOIN shop.purchases p ON r.email = p.email WHERE p.amount > 3",
            "filter_on",
        ),
        ("SELECT nonsense FROM readers", "nonsense"),
        ("SELECT", "expected"),
    ] {
        let output = parties.sql(&["-c", statement]);
        let (text, lines) = (err(&output), err(&output).lines().count());
        assert_eq!((output.status.code(), lines, out(&output).as_str()), (Some(1), 1, ""), "{statement}: {text}");
        assert!(
            text.starts_with("error: ") && text.to_lowercase().contains(&expected.to_lowercase()),
            "{statement}: {text}"
        );
    }
    drop(server);
    let down = parties.sql(&["-c", QUESTION]);
    assert_eq!(down.status.code(), Some(1));
    assert!(err(&down).contains("shop") && err(&down).contains("is its server running?"), "{}", err(&down));
}

#[test]
fn too_few_matches_are_refused_by_the_owner_and_both_sides_hear_why() {
    let parties = Parties::new();
    // Far above all that both sides' dummies can add to the 40 true matches: the sizes stay noisy as long as one side
    // wants them so, and a test must not end by chance.
    parties.write("shop/party.toml", &parties.shop("sizes = { exact = true }", 1_000_000));
    let server = parties.serve();
    let output = parties.sql(&["-c", QUESTION]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("minimum_matched = 1000000"), "{}", err(&output));
    let (_, log) = server.terminate();
    assert!(log.iter().any(|line| line.contains("minimum_matched")), "{log:?}");
}

#[test]
fn files_that_are_missing_broken_or_other_than_the_policy_says_are_named_at_start() {
    let parties = Parties::new();
    let serve = |text: &str| {
        parties.write("shop/party.toml", text);
        let output = binary().args(["serve", "--config"]).arg(parties.path("shop/party.toml")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(err(&output).lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", err(&output));
        err(&output)
    };
    let good = parties.shop("sizes = { epsilon = 2.0 }", 10);
    assert!(serve(&good.replace("data/purchases.csv", "data/nothing.parquet")).contains("nothing.parquet"));
    parties.write("shop/data/broken.parquet", "PAR1 this is no Parquet file");
    assert!(serve(&good.replace("data/purchases.csv", "data/broken.parquet")).contains("broken.parquet"));
    assert!(serve(&good.replace("filter_on = [\"category\"]", "filter_on = [\"categry\"]")).contains("categry"));
    assert!(serve(&good.replace("[[share]]", "[[shares]]")).contains("share"));
    assert!(serve(&good.replace("127.0.0.1:", "0.0.0.0:")).contains("loopback"));
    assert!(serve("not toml").contains("party.toml:1"));
    let missing = sql(&parties.path("none/party.toml"), &["-c", "SELECT 1"]);
    assert!(missing.status.code() == Some(1) && err(&missing).contains("none/party.toml"), "{}", err(&missing));
}

#[test]
fn check_says_all_that_is_wrong_and_what_the_policy_means_though_a_certificate_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    let made = binary().args(["init", "shop", "--folder"]).arg(&shop).output().unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    let policy = r#"
[[table]]
name = "purchases"
location = "data/purchases.csv"
[[peer]]
name = "paper"
address = "grpc+tls://127.0.0.1:1"
certificate = "tls/paper.pem"
[[share]]
table = "purchases"
with = ["paper"]
identifiers = { email = "email/1" }
filter_on = ["categry"]
[share.budget]
population = "shoppers"
queries = 10
sizes = { epsilon = 2.0 }
outputs = { epsilon = 4.0 }
"#;
    let config = shop.join("party.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap() + policy).unwrap();
    fs::write(shop.join("data/purchases.csv"), "email,category\na@example.org,toys\n").unwrap();
    let check = || binary().args(["check", "--config"]).arg(&config).output().unwrap();
    let missing = check();
    assert_eq!(missing.status.code(), Some(1));
    // Once each: the file that is not there, and the column that the table does not have.
    assert_eq!(err(&missing).matches("paper.pem").count(), 1, "{}", err(&missing));
    assert!(err(&missing).contains("categry"), "{}", err(&missing));
    assert!(out(&missing).contains("'paper' may ask 10 questions"), "{}", out(&missing));
    // A file that is there, and holds no certificate.
    fs::write(shop.join("tls/paper.pem"), "no certificate\n").unwrap();
    let broken = check();
    assert!(err(&broken).contains("paper.pem") && err(&broken).contains("categry"), "{}", err(&broken));
    assert!(out(&broken).contains("'paper' may ask 10 questions"), "{}", out(&broken));
}

#[test]
fn dummies_prints_the_number_alone_on_stdout_and_what_it_means_on_stderr() {
    let run = |arguments: &[&str]| binary().arg("dummies").args(arguments).output().unwrap();
    let published = run(&["--ids", "3", "--rows", "100000", "--queries", "10", "--epsilon", "2"]);
    let tau: f64 = out(&published).trim_end().parse().unwrap();
    assert!((tau - 1194.0).abs() <= 0.005 * 1194.0 + 1.0, "{tau}");
    assert!(err(&published).contains("3 identifiers") && err(&published).contains("±"));
    let wrong = run(&["--ids", "9", "--rows", "10", "--queries", "1", "--epsilon", "1"]);
    assert_eq!((wrong.status.code(), out(&wrong).as_str()), (Some(2), ""));
    let hopeless = run(&["--ids", "8", "--rows", "10", "--queries", "1000000", "--epsilon", "0.0001"]);
    assert_eq!((hopeless.status.code(), out(&hopeless).as_str()), (Some(1), ""), "{}", err(&hopeless));
    assert_eq!(run(&["--rows", "10"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn the_demo_answers_every_example_with_the_truth_and_leaves_no_server_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = binary()
        .args(["demo", "--rows", "500", "--folder"])
        .arg(folder.path().join("demo"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}\n{}", out(&output), err(&output));
    assert!(out(&output).contains("13 of 13"), "{}", out(&output));
    let config = folder.path().join("demo/advertising/publisher/party.toml");
    let later = sql(
        &config,
        &[
            "-c",
            "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
        ],
    );
    assert!(err(&later).contains("is its server running?"), "{}", err(&later));
}

#[test]
fn the_prompt_runs_statements_goes_on_after_an_error_and_ends() {
    let parties = Parties::new();
    let mut child = binary()
        .args(["sql", "--config"])
        .arg(parties.path("paper/party.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 1 +\n 1 AS two;\nSELEC;\nSELECT 3 AS three;\nexit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("two") && out(&output).contains("three"), "{}", out(&output));
    assert!(err(&output).contains("error: "), "{}", err(&output));
}

/// Stands between `sql` and the server: passes so many bytes upwards, then no more, but keeps both connections open
/// until `sql` is gone.
fn stalling_network(target: u16, up_max: usize) -> (u16, mpsc::Receiver<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, stalled) = mpsc::channel();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, tell) = (near.unwrap(), tell.clone());
            let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).unwrap();
            let (mut back, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut to));
            std::thread::spawn(move || {
                let (mut left, mut bytes) = (up_max, vec![0; 4096]);
                while let Ok(read @ 1..) = near.read(&mut bytes) {
                    let passes = read.min(left);
                    if far.write_all(&bytes[..passes]).is_err() {
                        break;
                    }
                    left -= passes;
                    if left == 0 {
                        let _ = tell.send(());
                    }
                }
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    (port, stalled)
}

/// What every server has to do after a peer's failure: answer the next question.
fn still_answers(parties: &Parties) {
    let answer = parties.sql(&["--format", "csv", "-c", QUESTION]);
    assert_eq!(out(&answer), "buyers,revenue\n40,1600.0\n", "{}", err(&answer));
}

#[test]
fn a_server_logs_a_peer_that_dies_in_the_middle_and_answers_the_next_one() {
    let parties = Parties::new();
    let server = parties.serve();
    // Planning lists the shares over a connection of its own, in under 2 kB; a session's hello takes some 2 kB, and
    // the elements of 60 persons and some hundred dummies over 10 kB.
    let (port, stalled) = stalling_network(parties.port, 6_000);
    fs::create_dir_all(parties.path("far/data")).unwrap();
    fs::copy(parties.path("paper/data/readers.csv"), parties.path("far/data/readers.csv")).unwrap();
    // The same party by another way: with the same ledger.
    let far = parties.paper(port).replace("name = \"paper\"", "name = \"paper\"\nstate = \"../paper/state/\"");
    parties.write("far/party.toml", &far);
    let mut asking = binary()
        .args(["sql", "--config"])
        .arg(parties.path("far/party.toml"))
        .args(["-c", QUESTION])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    stalled.recv_timeout(PATIENCE).unwrap();
    server.log.line(&["answering", "paper"]);
    assert!(asking.try_wait().unwrap().is_none(), "it waits for the rest of the elements");
    // SIGKILL: no last words.
    asking.kill().unwrap();
    asking.wait().unwrap();

    let line = server.log.line(&["session failed"]);
    assert!(line.contains("WARN") && line.contains("paper") && line.contains("purchases"), "{line}");
    assert!(line.contains("fault=\"environment\""), "a peer that is gone broke no rule: {line}");
    still_answers(&parties);
    let (status, log) = server.terminate();
    assert!(status.success() && !log.iter().any(|line| line.contains("panicked")), "{log:?}");
}

/// Sends one hand-made exchange to the server, as that party; the status by which it ends.
async fn exchange(port: u16, party: Option<&'static str>, messages: Vec<FlightData>) -> tonic::Status {
    let address = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut client = FlightServiceClient::new(address.connect().await.unwrap());
    let mut request = tonic::Request::new(futures::stream::iter(messages));
    if let Some(party) = party {
        request.metadata_mut().insert("psi-party", tonic::metadata::MetadataValue::from_static(party));
    }
    let ended = async {
        let mut answers = client.do_exchange(request).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the server answers");
    ended.err().unwrap_or_else(|| tonic::Status::ok(""))
}

fn path(version: &str, last: &str) -> Option<FlightDescriptor> {
    let parts = [version, "0123456789abcdef0123456789abcdef", last];
    Some(FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_logs_a_peer_that_sends_garbage_or_speaks_another_version_and_answers_the_next_one() {
    let parties = Parties::new();
    let server = parties.serve();
    let first = |version: &str, last: &str| FlightData { flight_descriptor: path(version, last), ..Default::default() };

    // No HTTP/2 at all: the connection ends before there is a peer to speak of.
    for garbage in [b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n".as_slice(), &[0xff; 5000], b""] {
        let mut raw = TcpStream::connect((Ipv4Addr::LOCALHOST, parties.port)).unwrap();
        raw.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may hang up in the middle.
        let _ = raw.write_all(garbage);
        let _ = raw.shutdown(Shutdown::Write);
        let ended = raw.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(!matches!(ended, Err(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)), "{ended:?}");
    }

    let status = exchange(parties.port, Some("paper"), vec![first("psi/2", "hello")]).await;
    assert!(status.message().contains("psi/1") && status.message().contains("'psi/2'"), "{status}");
    let line = server.log.line(&["call refused", "'psi/2'"]);
    assert!(line.contains("WARN") && line.contains("fault=\"incompatible\""), "{line}");

    let status = exchange(parties.port, None, vec![first("psi/1", "hello")]).await;
    assert_ne!(status.code(), tonic::Code::Ok);
    server.log.line(&["call refused", "does not say who asks"]);

    exchange(parties.port, Some("paper"), vec![]).await;
    server.log.line(&["call refused", "names its path"]);

    let garbage = FlightData {
        data_header: vec![0xab; 300].into(),
        data_body: vec![0xcd; 3000].into(),
        ..first("psi/1", "hello")
    };
    let status = exchange(parties.port, Some("paper"), vec![garbage]).await;
    assert_ne!(status.code(), tonic::Code::Ok);
    let line = server.log.line(&["session failed", "paper"]);
    assert!(line.contains("WARN") && line.contains("fault=\"peer\""), "{line}");

    // A well-formed hello of another version of the protocol.
    let pair = |text: &str| Arc::new(StringArray::from(vec![text])) as _;
    let offer = RecordBatch::try_new(hello_schema(), vec![pair("version"), pair("datafusion-psi/9")]).unwrap();
    let mut messages = batches_to_flight_data(&hello_schema(), vec![offer]).unwrap();
    messages[0].flight_descriptor =
        Some(FlightDescriptor::new_path(vec!["psi/1".to_owned(), "f".repeat(32), "hello".to_owned()]));
    messages.push(FlightData { app_metadata: "end".into(), ..Default::default() });
    let status = exchange(parties.port, Some("paper"), messages).await;
    assert!(status.message().contains("datafusion-psi/9"), "{status}");
    let line = server.log.line(&["session failed", "datafusion-psi/9"]);
    assert!(line.contains("WARN") && line.contains("fault=\"incompatible\""), "{line}");

    tokio::task::spawn_blocking(move || {
        still_answers(&parties);
        let (status, log) = server.terminate();
        assert!(status.success() && !log.iter().any(|line| line.contains("panicked")), "{log:?}");
    })
    .await
    .unwrap();
}
