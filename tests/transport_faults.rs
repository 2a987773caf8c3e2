//! The real sessions over a network that breaks: at every message within one process, and after any number of bytes
//! between a requester and a real server. Every break is a clear error on both sides, gives no partial result, hangs
//! nobody, and leaves the server serving.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::LargeBinaryArray;
use async_trait::async_trait;
use datafusion_psi::dp::{Charge, Reservation, Settlement};
use datafusion_psi::psi::{
    Aggregate, AnswerTerms, Answered, Entries, Error, Fault, FilteredRows, Limits, Offer, OfferTerms, Outcome, Phase,
    Question, Requester, Responder, SessionId, WordTerms,
};
use datafusion_psi::transport::local::{Direction, Fate, Hook, Message, Recording, pair};
use datafusion_psi::transport::{
    Deadlines, Peer, PeerIdentity, PeerServer, ServerLimits, SharedTable, TableSource, drive,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const REQUESTER: &str = "publisher";
const RESPONDER: &str = "advertiser";

/// A budget that always grants.
struct Free;

impl Settlement for Free {
    fn spend(self: Box<Self>) {}
    fn refund(self: Box<Self>) {}
}

fn granted() -> Reservation {
    let charge = Charge { peer: "peer".to_owned(), population: "people".to_owned(), tau: 2, columns: 2 };
    Reservation::granted(charge, Box::new(Free))
}

/// Persons `from..to`, each with an e-mail address, every third without a telephone.
fn entries(from: usize, to: usize, values: Vec<Vec<i128>>) -> Entries {
    let email: LargeBinaryArray = (from..to).map(|person| Some(format!("{person}@example.com").into_bytes())).collect();
    let phone: LargeBinaryArray =
        (from..to).map(|person| (person % 3 > 0).then(|| format!("+1555{person:07}").into_bytes())).collect();
    Entries { identifiers: vec![email, phone], values, fillers: 0 }
}

fn words() -> Vec<WordTerms> {
    vec![WordTerms { min: 0, max: 1, decimals: 0 }, WordTerms { min: 0, max: 1000, decimals: 2 }]
}

fn normalisers() -> Vec<String> {
    vec!["email/1".to_owned(), "phone/1:US".to_owned()]
}

/// Persons 0..30 here, 20..60 there: ten in common, whose amounts are 20 to 29.
fn requester(session: SessionId) -> Requester {
    let terms = OfferTerms {
        session,
        requester: REQUESTER.to_owned(),
        responder: RESPONDER.to_owned(),
        question: Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned(), "phone".to_owned()],
            filter: None,
            aggregates: vec![Aggregate::Persons, Aggregate::Sum { column: "amount".to_owned() }],
        },
        normalisers: normalisers(),
        dummies: 2,
        ot_width: 2,
        words: words(),
    };
    let rng = ChaCha20Rng::seed_from_u64(1);
    Requester::new(terms, entries(0, 30, vec![]), granted(), Limits::default(), rng).unwrap()
}

fn responder(offer: &Offer) -> Result<Responder, Error> {
    let terms = AnswerTerms {
        dummies: 2,
        words: words(),
        normalisers: normalisers(),
        minimum_matched: 0,
        filtered_rows: FilteredRows::Hide,
    };
    let values = vec![vec![1; 40], (20..60).collect()];
    Responder::new(offer, terms, entries(20, 60, values), granted(), Limits::default(), ChaCha20Rng::seed_from_u64(2))
}

/// The offer that [`requester`] makes, as the transport would have read it.
async fn offer_of(session: SessionId) -> Offer {
    let seen = Arc::new(Mutex::new(None));
    let recording = Recording::new();
    let (mut up, _down) = pair(REQUESTER, RESPONDER, Some(recording.hook()));
    let mut asking = requester(session);
    let batch = datafusion_psi::psi::Session::poll_output(&mut asking).unwrap();
    if let datafusion_psi::psi::Output::Batch(batch) = batch {
        *seen.lock().unwrap() = Some(Offer::from_batch(&batch).unwrap());
    }
    datafusion_psi::transport::Channel::close(&mut up, Ok(())).await;
    let offer = seen.lock().unwrap().take();
    offer.unwrap()
}

fn patient() -> Deadlines {
    let long = Duration::from_secs(30);
    Deadlines { connect: long, idle: long, answer: long, session: 4 * long, close: Duration::from_secs(1) }
}

fn check(answered: &Answered) {
    assert_eq!(answered.sums, vec![10, (20..30).sum::<i128>()]);
    assert_eq!(answered.dummies, 2);
}
