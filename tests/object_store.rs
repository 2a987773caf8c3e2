//! Tables on an object store: `s3://` locations in party.toml.
//!
//! Goal: a table that lies on S3, or on what speaks its protocol, is read like one on this machine, and what is wrong
//! with it is said in words. Method: a store of one bucket in this process, on loopback and without TLS, and the real
//! `sql` command with the environment that points at it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;

use datafusion_psi::{Budgets, Party};

type Objects = Arc<BTreeMap<&'static str, Vec<u8>>>;

/// A store of one bucket, `b`; it answers lists, heads and (ranges of) objects, and ends with the process.
fn store(objects: BTreeMap<&'static str, Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let objects = Arc::new(objects);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let objects = Arc::clone(&objects);
            std::thread::spawn(move || while answer(&stream, &objects).is_some() {});
        }
    });
    address
}

/// Answers one request; `None` at the connection's end.
fn answer(mut stream: &TcpStream, objects: &Objects) -> Option<()> {
    let mut lines = BufReader::new(stream.take(64 * 1024)).lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let (method, path) = request.split_once(' ')?;
    let path = path.split(' ').next()?;
    const KNOWN: &str = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"e\"\r\n";
    let (status, extra, body) = match path.split_once('?') {
        Some((_, query)) => {
            let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or("");
            let prefix = prefix.replace("%2F", "/");
            let contents: String = objects
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, body)| {
                    format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag>\
                         <Size>{}</Size></Contents>",
                        body.len()
                    )
                })
                .collect();
            let list = format!(
                "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
            );
            ("200 OK", String::new(), list.into_bytes())
        }
        None => match path.strip_prefix("/b/").and_then(|key| objects.get(key)) {
            None => ("404 Not Found", String::new(), Vec::new()),
            Some(body) => {
                let range = headers.iter().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                    name.eq_ignore_ascii_case("range").then_some(())?;
                    let to = to.parse().unwrap_or(body.len() - 1).min(body.len() - 1);
                    Some((from.parse::<usize>().ok()?, to))
                });
                match range {
                    None => ("200 OK", KNOWN.to_owned(), body.clone()),
                    Some((from, to)) => (
                        "206 Partial Content",
                        format!("{KNOWN}Content-Range: bytes {from}-{to}/{}\r\n", body.len()),
                        body[from..=to].to_vec(),
                    ),
                }
            }
        },
    };
    write!(stream, "HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\n\r\n", body.len()).ok()?;
    if method != "HEAD" {
        stream.write_all(&body).ok()?;
    }
    stream.flush().ok()
}

/// Runs SQL as a party whose one table is at that location.
fn sql(location: &str, at: SocketAddr, statement: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("party.toml");
    let text = format!("[party]\nname = \"shop\"\n[[table]]\nname = \"purchases\"\nlocation = \"{location}\"\n");
    fs::write(&config, text).unwrap();
    Budgets::create(&Party::load(&config).unwrap()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
        .args(["sql", "--format", "csv", "--config", config.to_str().unwrap(), "-c", statement])
        .env("AWS_ENDPOINT_URL", format!("http://{at}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "nowhere-1")
        .env("AWS_ACCESS_KEY_ID", "key-id")
        .env("AWS_SECRET_ACCESS_KEY", "the-secret-key")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_table_on_an_object_store_is_read_by_file_and_by_folder() {
    let objects = BTreeMap::from([
        ("data/a.csv", b"email,amount\na@example.org,1\n".to_vec()),
        ("data/b.csv", b"email,amount\nb@example.org,20\n".to_vec()),
        ("else/c.csv", b"email,amount\nc@example.org,300\n".to_vec()),
    ]);
    let at = store(objects);
    for (location, total) in [("s3://b/data/a.csv", 1), ("s3://b/data/", 21), ("s3://b/else/c.csv", 300)] {
        let output = sql(location, at, "SELECT SUM(amount) AS total FROM purchases");
        assert_eq!(text(&output.stdout), format!("total\n{total}\n"), "{location}: {}", text(&output.stderr));
    }
}

#[test]
fn what_is_wrong_with_a_store_is_said_in_one_line_without_its_secrets() {
    let at = store(BTreeMap::from([("data/a.csv", b"email\na@example.org\n".to_vec())]));
    for (location, words) in
        [("s3://b/nothing/", "no file at 's3://b/nothing/'"), ("gopher://b/data/", "names a store that is not there")]
    {
        let output = sql(location, at, "SELECT 1");
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with("error: ") && said.contains("table 'purchases'") && said.contains(words), "{said}");
        assert!(!said.contains("the-secret-key"), "{said}");
    }
}
