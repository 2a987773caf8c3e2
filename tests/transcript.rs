//! The hello is bound: whatever a network changes in the offer or in the answer on its way, the session ends before an
//! element leaves, and the reason names what was changed, or the transcript over all of it.
//!
//! Method: a real server over a policy, a real asker over SQL, and between them a meddler that reads the hello's pairs,
//! changes one and writes them anew as a well-formed batch. Each change is a run of its own between fresh parties, since
//! what a forged hello has told stays in the books.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod meddler;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow_flight::FlightData;
use arrow_flight::utils::{batches_to_flight_data, flight_data_to_arrow_batch};
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use datafusion_psi::psi::hello_schema;
use datafusion_psi::{Asker, Budgets, Party, peer_server, register_all, register_tables};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use meddler::{Meddle, Meddler, Way};

/// Two identifiers, a filter and two aggregates, so that every field of a hello is there.
const QUESTION: &str = "SELECT PRIVATE_INTERSECT_COUNT(*) AS n, PRIVATE_INTERSECT_SUM(p.amount) AS total FROM known k \
     JOIN shop.people p ON k.email = p.email OR k.phone = p.phone WHERE p.place < 10";

/// People of the shop, the first half of whom the asker knows; the filter passes ten.
const PEOPLE: u64 = 24;

type Pairs = Vec<(String, String)>;

/// Both parties, and the meddler between them.
struct Pair {
    _folder: tempfile::TempDir,
    context: SessionContext,
    shop: Budgets,
    meddler: Meddler,
    /// Dropped, it ends the server.
    _server: JoinSet<()>,
}

/// What became of one question.
struct Asked {
    answer: Result<Vec<RecordBatch>>,
    /// How the sessions ended in the shop's books.
    there: Vec<String>,
    /// The phases of which any message passed.
    phases: BTreeSet<String>,
}

fn table(folder: &Path, file: &str, people: std::ops::Range<u64>) {
    let mut text = "email,phone,place,amount\n".to_owned();
    for n in people {
        text.push_str(&format!("person{n}@example.org,+1212555{:04},{n},{}.25\n", 2000 + n, n));
    }
    std::fs::write(folder.join(file), text).unwrap();
}

impl Pair {
    async fn open(meddle: Meddle) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        table(root, "people.csv", 0..PEOPLE);
        table(root, "known.csv", 0..PEOPLE / 2);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let meddler = Meddler::start(port, meddle, true).await;
        let shop = format!(
            r#"
[party]
name = "shop"

[server]
listen = "127.0.0.1:{port}"
plaintext = true

[[table]]
name = "people"
location = "people.csv"

[[peer]]
name = "asker"
address = "grpc://127.0.0.1:1"
plaintext = true

[[share]]
table = "people"
with = ["asker"]
identifiers = {{ email = "email/1", phone = "phone/1:US" }}
aggregates = {{ amount = {{ min = 0, max = 100, max_rows = 1, decimals = 2 }} }}
filter_on = ["place"]
minimum_matched = 0
filtered_rows = "hide"
[share.budget]
population = "shoppers"
queries = 100
sizes = {{ exact = true }}
outputs = {{ noise = "none" }}
"#
        );
        let asker = format!(
            r#"
[party]
name = "asker"

[[table]]
name = "known"
location = "known.csv"

[[peer]]
name = "shop"
address = "{}"
plaintext = true

[[ask]]
of = ["shop"]
population = "known"
rows = "reveal"
identifiers = 2
[ask.budget]
queries = 100
sizes = {{ exact = true }}
"#,
            meddler.address()
        );
        let shop = Arc::new(Party::parse(&shop, root.join("shop.toml")).unwrap());
        let asker = Arc::new(Party::parse(&asker, root.join("asker.toml")).unwrap());
        let books = Budgets::in_memory(&shop);
        let server = peer_server(&shop, books.clone()).unwrap();
        let mut servers = JoinSet::new();
        servers.spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        let mut context = SessionContext::new();
        register_tables(&context, &asker).await.unwrap();
        let budgets = Budgets::in_memory(&asker);
        register_all(&mut context, Arc::new(Asker::new(asker, budgets).unwrap())).unwrap();
        Pair { _folder: folder, context, shop: books, meddler, _server: servers }
    }

    async fn ask(self) -> Asked {
        let asking = async { self.context.sql(QUESTION).await?.collect().await };
        let answer = tokio::time::timeout(Duration::from_secs(60), asking).await.expect("no run may hang");
        // The shop's side ends by itself, a moment later. A session that is refused after its charge and before its hello's
        // answer has no end in the books: it is paid.
        let mut sessions = self.shop.sessions().unwrap();
        for _ in 0..80 {
            if sessions.iter().all(|session| session.ended.is_some()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
            sessions = self.shop.sessions().unwrap();
        }
        let there = sessions.into_iter().filter_map(|session| session.ended?.outcome).collect();
        let phases = self.meddler.seen().into_iter().map(|(place, _)| place.phase).collect();
        Asked { answer, there, phases }
    }
}

fn read(message: &FlightData) -> Pairs {
    let batch = flight_data_to_arrow_batch(message, hello_schema(), &HashMap::new()).unwrap();
    let column = |index: usize| batch.column(index).as_any().downcast_ref::<StringArray>().unwrap().clone();
    let (names, values) = (column(0), column(1));
    (0..batch.num_rows()).map(|row| (names.value(row).to_owned(), values.value(row).to_owned())).collect()
}

fn write(pairs: &Pairs) -> FlightData {
    let names: StringArray = pairs.iter().map(|(name, _)| Some(name.as_str())).collect();
    let values: StringArray = pairs.iter().map(|(_, value)| Some(value.as_str())).collect();
    let batch = RecordBatch::try_new(hello_schema(), vec![Arc::new(names), Arc::new(values)]).unwrap();
    // The schema's message, the batch's.
    batches_to_flight_data(&hello_schema(), vec![batch]).unwrap().remove(1)
}

/// Changes the pairs of the hello that travels that way.
fn rewriting(way: Way, change: impl Fn(Pairs) -> Pairs + Send + Sync + 'static) -> Meddle {
    Arc::new(move |place, message| {
        let is_hello = place.phase == "hello" && place.way == way && place.index == 1;
        vec![if is_hello { write(&change(read(&message))) } else { message }]
    })
}

/// The pairs of one good session's hello, that way.
async fn hello(way: Way) -> Pairs {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let pair = Pair::open(rewriting(way, move |pairs| {
        keep.lock().unwrap().clone_from(&pairs);
        pairs
    }))
    .await;
    let asked = pair.ask().await;
    let answer = asked.answer.unwrap();
    let n = answer[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
    assert_eq!(n, 10, "a hello that is only written anew changes nothing");
    assert_eq!(asked.there, ["released"]);
    assert!(asked.phases.contains("columns") && asked.phases.contains("release"), "{:?}", asked.phases);
    std::mem::take(&mut *kept.lock().unwrap())
}

/// Another possible value of a field: a number plus one, a text with its last digit changed, another word.
fn another(name: &str, value: &str) -> String {
    let digit = |text: &str| {
        let last = text.chars().last().unwrap();
        format!("{}{}", &text[..text.len() - last.len_utf8()], if last == '1' { '2' } else { '1' })
    };
    let plus_one = |text: &str| (text.parse::<u64>().unwrap() + 1).to_string();
    match name {
        "version" | "session" | "nonce" | "normaliser" | "chain" => digit(value),
        "filter" => value.replace("10", "11"),
        "requester" | "responder" | "table" => format!("{value}s"),
        "identifier" if value == "email" => "place".to_owned(),
        "identifier" => "email".to_owned(),
        "aggregate" if value.contains("amount") => value.replace("amount", "place"),
        "aggregate" => "rows(amount)".to_owned(),
        "persons" | "dummies" | "tag-bytes" | "minimum-matched" => plus_one(value),
        "sizes" => value.rsplit_once(' ').map(|(kind, number)| format!("{kind} {}", plus_one(number))).unwrap(),
        // The last bound; the bits are a change of their own below.
        "word" => {
            let parts: Vec<&str> = value.split(' ').collect();
            format!("{} {} {} {}", parts[0..2].join(" "), plus_one(parts[2]), parts[3], parts[4..].join(" "))
        }
        "own-groups" => (if value == "no" { "yes" } else { "no" }).to_owned(),
        "filtered-rows" => (if value == "hide" { "reveal" } else { "hide" }).to_owned(),
        "outputs" => "epsilon 1/1".to_owned(),
        "receipts" => (if value == "none" { "x509" } else { "none" }).to_owned(),
        "ot-width" => (if value == "2" { "4" } else { "2" }).to_owned(),
        _ => panic!("a field that this test does not know: {name}"),
    }
}

/// Words by which a refusal names a field, beside the field's own name.
fn also(name: &str) -> &'static [&'static str] {
    match name {
        "version" => &["protocol"],
        "table" => &["peoples"],
        "own-groups" => &["group", "max_parts"],
        "identifier" => &["identif", "place", "email", "normalis"],
        "normaliser" => &["normalis"],
        "aggregate" => &["amount", "terms for", "COUNT", "place"],
        "word" => &["terms for"],
        "minimum-matched" => &["minimum_matched"],
        "filtered-rows" => &["filtered_rows"],
        "receipts" => &["receipt"],
        "chain" => &["ledger"],
        _ => &[],
    }
}

/// One change in one direction: the session is refused, nothing of the phase `columns` passed, and the reason is the field.
async fn refused(way: Way, what: &str, names: &[&str], change: impl Fn(Pairs) -> Pairs + Send + Sync + 'static) {
    let asked = Pair::open(rewriting(way, change)).await.ask().await;
    let place = format!("{way:?}: {what}");
    let error = asked.answer.expect_err(&place).to_string();
    assert!(!asked.there.iter().any(|outcome| outcome == "released"), "{place}: {:?}", asked.there);
    let reason = format!("{error}\n{}", asked.there.join("\n"));
    let named = std::iter::once("transcript").chain(names.iter().copied()).any(|name| reason.contains(name));
    assert!(named, "{place}: {reason}");
    let early: BTreeSet<&str> = asked.phases.iter().map(String::as_str).collect();
    let allowed = BTreeSet::from(["hello", "confirm", "control"]);
    assert!(early.is_subset(&allowed), "{place}: {early:?} passed, {reason}");
    assert!(!reason.contains("internal error"), "{place}: {reason}");
    assert!(!reason.contains("@example.org"), "{place}: {reason}");
}

/// Every row of the hello once: another value, left out, twice.
async fn every_field(way: Way) {
    let pairs = hello(way).await;
    assert!(pairs.len() > 12, "{pairs:?}");
    for (row, (name, value)) in pairs.iter().enumerate() {
        let mut names = vec![name.as_str()];
        names.extend(also(name));
        let changed = another(name, value);
        assert_ne!(&changed, value);
        // By the running session's own value where there is one: nonces and chains are others each time.
        let field = name.clone();
        refused(way, &format!("{name} is not {value}"), &names, move |mut pairs| {
            pairs[row].1 = another(&field, &pairs[row].1);
            pairs
        })
        .await;
        // A list that is one shorter or longer is named by whatever has to be as long.
        names.push("field '");
        refused(way, &format!("{name} is missing"), &names, move |mut pairs| {
            pairs.remove(row);
            pairs
        })
        .await;
        refused(way, &format!("{name} is there twice"), &names, move |mut pairs| {
            pairs.insert(row, pairs[row].clone());
            pairs
        })
        .await;
    }
    refused(way, "a field more", &["colour"], |mut pairs| {
        pairs.push(("colour".to_owned(), "red".to_owned()));
        pairs
    })
    .await;
    refused(way, "the first two swapped", &["version"], |mut pairs| {
        pairs.swap(0, 1);
        pairs
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_the_network_changes_in_any_field_ends_the_session_before_an_element_leaves() {
    every_field(Way::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_network_changes_in_any_field_ends_the_session_before_an_element_leaves() {
    every_field(Way::Down).await;
    let word = |pairs: &Pairs| pairs.iter().position(|(name, _)| name == "word").unwrap();
    refused(Way::Down, "another width of a word", &["word"], move |mut pairs| {
        let row = word(&pairs);
        pairs[row].1 = pairs[row].1.replacen("64 ", "128 ", 1);
        pairs
    })
    .await;
    refused(Way::Down, "noise where none was promised", &["terms for"], move |mut pairs| {
        let row = word(&pairs);
        pairs[row].1 = pairs[row].1.replace("none", "laplace 1000/1");
        pairs
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transcript_hash_that_the_network_changes_is_named_as_that() {
    for way in [Way::Up, Way::Down] {
        let meddle: Meddle = Arc::new(move |place, mut message| {
            if place.phase == "confirm" && place.way == way && place.index == 1 {
                let mut body = message.data_body.to_vec();
                body[5] ^= 0x40;
                message.data_body = body.into();
            }
            vec![message]
        });
        let asked = Pair::open(meddle).await.ask().await;
        let reason = format!("{}\n{}", asked.answer.unwrap_err(), asked.there.join("\n"));
        assert!(reason.contains("transcript"), "{way:?}: {reason}");
        assert!(!asked.phases.contains("tags") && !asked.phases.contains("release"), "{way:?}: {:?}", asked.phases);
    }
}
