//! One party's whole session by itself: the peer's frames are recorded once and are all there from the beginning, so that
//! what is measured is this party's computing and moving, and no waiting for anybody.
//!
//! `RAYON_NUM_THREADS=2 ROWS=200000 COLUMNS=1 cargo test --release one_party -- --ignored --nocapture`

#![allow(clippy::print_stdout, reason = "it measures, and says what")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::LargeBinaryArray;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use rand_core::SeedableRng;

use super::Task;
use super::local::patient;
use super::toy::{REQUESTER, RESPONDER};
use crate::dp::{Charge, Noise, QueryOutputs, Reservation, Settlement};
use crate::psi::{
    Aggregate, AnswerTerms, ChaCha20Rng, ChainLink, Entries, Error, FilteredRows, Limits, Offer, OfferTerms,
    OutputsTerms, Phase, Question, Requester, Responder, Session, SessionId, ShareTerms, SizesTerms, WordTerms,
};
use crate::transport::channel::{BatchReceiver, BatchSender, Channel, Counted, Exchange, Lost, as_frames, direction};
use crate::transport::local::{Direction, Recording, pair};
use crate::transport::wire::Frame;
use crate::transport::{Deadlines, drive};

struct Free;

impl Settlement for Free {
    fn spend(self: Box<Self>) {}
    fn refund(self: Box<Self>) {}
}

fn granted() -> Reservation {
    let charge = Charge { peer: "peer".to_owned(), population: "people".to_owned(), tau: 0, columns: 1 };
    Reservation::granted(charge, Box::new(Free))
}

/// Tables of which every second row matches in the first column.
#[derive(Clone, Copy)]
struct Tables {
    rows: usize,
    columns: usize,
}

impl Tables {
    fn entries(self, side: &str, values: Vec<Vec<i128>>) -> Entries {
        let name = |column: usize, row: usize| match row % 2 {
            0 => format!("{column}-common-{row}@example.org"),
            _ => format!("{column}-{side}-{row}@example.org"),
        };
        let column = |column| (0..self.rows).map(|row| Some(name(column, row))).collect::<LargeBinaryArray>();
        Entries::whole((0..self.columns).map(column).collect(), values, 0)
    }

    fn words() -> Vec<WordTerms> {
        vec![WordTerms { min: 0, max: 100, decimals: 0, noise: Noise::None }]
    }

    fn requester(self) -> Requester {
        let offer = OfferTerms {
            session: SessionId([7; 16]),
            requester: REQUESTER.to_owned(),
            responder: RESPONDER.to_owned(),
            question: Question {
                table: "purchases".to_owned(),
                identifiers: (0..self.columns).map(|column| format!("id{column}")).collect(),
                filter: None,
                aggregates: vec![Aggregate::Sum { column: "amount".to_owned() }.into()],
                group_by: None,
                own_groups: false,
            },
            normalisers: vec!["exact/1".to_owned(); self.columns],
            dummies: 0,
            ot_width: 4,
            words: Self::words(),
            sizes: SizesTerms::Exact { queries: 1 },
            chain: vec![ChainLink { seq: 1, hash: [1; 32] }],
            published: ShareTerms {
                table: "purchases".to_owned(),
                identifiers: Vec::new(),
                aggregates: Vec::new(),
                filter_on: Vec::new(),
                requester_values: None,
                minimum_matched: 0,
                filtered_rows: FilteredRows::Hide,
                sizes: SizesTerms::Exact { queries: 1 },
                outputs: OutputsTerms::Exact,
                group_by: Vec::new(),
                max_labels: 1,
                max_parts: 1,
                period: "forever".to_owned(),
                approval: false,
            },
        };
        let (entries, rng) = (self.entries("a", Vec::new()), ChaCha20Rng::seed_from_u64(1));
        Requester::new(offer, entries, granted(), None, Box::new(|_| Ok(())), Limits::default(), rng).unwrap()
    }

    fn responder(self, offer: &Offer) -> Responder {
        let terms = AnswerTerms {
            dummies: 0,
            words: Self::words(),
            normalisers: vec!["exact/1".to_owned(); self.columns],
            labels: Vec::new(),
            minimum_matched: 0,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Exact { queries: 1 },
            outputs: QueryOutputs::Exact,
            chain: vec![ChainLink { seq: 9, hash: [9; 32] }],
        };
        let values = (0..self.rows).map(|row| row as i128 % 100).collect();
        let (entries, rng) = (self.entries("b", vec![values]), ChaCha20Rng::seed_from_u64(2));
        Responder::new(offer, terms, entries, granted(), None, Limits::default(), rng).unwrap()
    }
}

/// A channel whose peer has said all that it will, and takes everything at once.
struct Replay {
    said: HashMap<Phase, Vec<Frame>>,
    taking: Vec<Task<()>>,
    _tell: tokio::sync::watch::Sender<Option<Error>>,
    lost: Lost,
}

#[async_trait]
impl Channel for Replay {
    fn peer(&self) -> &str {
        RESPONDER
    }

    async fn open(&mut self, phase: Phase, out: SchemaRef, expect: SchemaRef) -> Result<Exchange, Error> {
        let (queue, aborter, outgoing) = direction();
        self.taking.push(Task::start(async move {
            let _aborter = aborter;
            as_frames(outgoing).for_each(|_| std::future::ready(())).await;
        }));
        let counted = Arc::new(Counted::default());
        let said = stream::iter(self.said.remove(&phase).unwrap_or_default()).map(Ok).boxed();
        Ok(Exchange {
            sender: BatchSender::new(phase, out, queue, Arc::clone(&counted))?,
            receiver: BatchReceiver::new(RESPONDER, phase, expect, said, Arc::clone(&counted)),
            counted,
        })
    }

    fn lost(&self) -> Lost {
        self.lost.clone()
    }

    async fn close(&mut self, _: Result<(), &Error>) {}
}

fn replay(recording: &Recording, direction: Direction) -> Replay {
    let mut said: HashMap<Phase, Vec<Frame>> = HashMap::new();
    for message in recording.messages(direction) {
        // A responder has its offer before its session begins: of that direction it is told the end alone.
        if (message.direction, message.phase, message.index) != (Direction::Up, Phase::Hello, 1) {
            said.entry(message.phase).or_default().push(message.frame);
        }
    }
    let (tell, lost) = Lost::new();
    Replay { said, taking: Vec::new(), _tell: tell, lost }
}

/// Seconds that this process has had of any core.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

async fn timed<S: Session>(name: &str, tables: Tables, session: S, mut channel: Replay) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let deadlines = Deadlines { session: std::time::Duration::from_secs(600), ..patient() };
    drive(session, &mut channel, &deadlines, Arc::new(())).await.map(|_| ()).unwrap();
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let threads = rayon::current_num_threads();
    eprintln!(
        "{name}: {} rows, {} columns, {threads} threads: wall {wall:.3} s, CPU {cpu:.2} s, {:.0} % of {threads} threads",
        tables.rows,
        tables.columns,
        100.0 * cpu / wall / threads as f64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn one_party_alone() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let tables = Tables { rows: number("ROWS", 200_000), columns: number("COLUMNS", 1) };
    let recording = Recording::new();
    let (mut up, mut down) = pair(REQUESTER, RESPONDER, Some(recording.hook()));
    let deadlines = Deadlines { session: std::time::Duration::from_secs(600), ..patient() };
    let asking = Task::start(async move { drive(tables.requester(), &mut up, &deadlines, Arc::new(())).await });
    let offer = down.offer().await.unwrap();
    let answered = drive(tables.responder(&offer), &mut down, &deadlines, Arc::new(())).await;
    assert_eq!(answered.unwrap().into_outcome().unwrap().peer_persons, tables.rows as u64);
    let sum = asking.join().await.unwrap().into_answer().unwrap().cells;
    for _ in 0..number("RUNS", 3) {
        timed("asking", tables, tables.requester(), replay(&recording, Direction::Down)).await;
        timed("answering", tables, tables.responder(&offer), replay(&recording, Direction::Up)).await;
    }
    eprintln!("the sum is {sum:?}");
}
