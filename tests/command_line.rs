//! The binary as its users meet it: `serve` and `sql` as real processes over loopback.
//!
//! Goal: what each command prints, to which stream, and with which exit code, for answers, refusals, and everything
//! that a newcomer gets wrong first. Method: two folders with a party.toml and CSV files each, one server process,
//! many short client processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
}

/// Both parties' folders; gone with the value.
struct Parties {
    folder: tempfile::TempDir,
    port: u16,
}

impl Parties {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free at this moment; `serve` says so if somebody else took it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let parties = Parties { folder, port };
        fs::create_dir_all(parties.path("shop/data")).unwrap();
        fs::create_dir_all(parties.path("paper/data")).unwrap();
        let mut purchases = "email,amount,category\n".to_owned();
        let mut readers = "email,campaign\n".to_owned();
        for i in 0..60 {
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
        parties.write("paper/party.toml", &parties.paper());
        parties
    }

    fn shop(&self, sizes: &str, minimum: u64) -> String {
        format!(
            r#"
[party]
name = "shop"
[server]
listen = "127.0.0.1:{}"
[[table]]
name = "purchases"
location = "data/purchases.csv"
[[peer]]
name = "paper"
address = "grpc://127.0.0.1:1"
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

    fn paper(&self) -> String {
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
[[ask]]
of = ["shop"]
population = "readers"
rows = "reveal"
identifiers = 1
[ask.budget]
queries = 100
sizes = {{ epsilon = 2.0 }}
"#,
            self.port
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
        let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Server { child, rest: Some(rest) }
    }

    fn sql(&self, arguments: &[&str]) -> Output {
        sql(&self.path("paper/party.toml"), arguments)
    }
}

fn sql(config: &Path, arguments: &[&str]) -> Output {
    binary().args(["sql", "--config"]).arg(config).args(arguments).stdin(Stdio::null()).output().unwrap()
}

struct Server {
    child: Child,
    rest: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Server {
    /// Asks the server to stop as an operator would; its exit status and what it logged since it began to answer.
    fn terminate(mut self) -> (std::process::ExitStatus, Vec<String>) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status, self.rest.take().unwrap().join().unwrap())
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
            "allows filters on: category",
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
    assert!(out(&output).contains("12 of 12"), "{}", out(&output));
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
    use std::io::Write;
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
