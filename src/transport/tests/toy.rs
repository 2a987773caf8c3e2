//! A session without cryptography: phases with given numbers of batches each way, all checked on arrival.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;

use crate::psi::{
    Aggregate, ChainLink, Error, FilteredRows, Offer, Output, OutputsTerms, PeerMisbehaved, Phase, Progress, Question,
    Receipts, Role, Session, SessionId, ShareTerms, SizesTerms, hello_schema,
};
use crate::transport::{PeerIdentity, SessionEnded, SharedTable, TableSource};

/// One phase after the hello.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) phase: Phase,
    pub(super) up: u64,
    pub(super) down: u64,
    /// Whether the responder sends each batch only after it has received one.
    pub(super) in_turn: bool,
    pub(super) rows: usize,
}

impl Step {
    pub(super) fn new(phase: Phase, up: u64, down: u64) -> Self {
        Step { phase, up, down, in_turn: false, rows: 16 }
    }
}

/// Both ways, one way, the other, neither, in turn, one row.
pub(super) fn steps(batches: u64) -> Arc<[Step]> {
    [
        Step::new(Phase::Confirm, 1, 1),
        Step::new(Phase::Columns, batches, batches),
        Step { in_turn: true, ..Step::new(Phase::Tags, batches, batches) },
        Step::new(Phase::Elements(2), batches, 0),
        Step::new(Phase::Replies(2), 0, batches),
        Step::new(Phase::OtChoices, 0, 0),
        Step { rows: 1, ..Step::new(Phase::Release, 1, 1) },
    ]
    .into()
}

/// Where a toy misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    Output,
    Input,
    EndInput,
    Advance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Fail,
    Panic,
    /// Computes for so long.
    Sleep(Duration),
}

pub(super) struct Toy {
    role: Role,
    id: SessionId,
    offer: Option<RecordBatch>,
    steps: Arc<[Step]>,
    /// 0: hello, then steps, then finished.
    at: usize,
    sent: u64,
    received: u64,
    pub(super) trouble: Option<(Phase, Point, Trouble)>,
    /// Whether the transport has read the offer itself.
    pub(super) offer_read: bool,
    /// Batches that exist between the two sides: sent and not yet received.
    pub(super) in_flight: Option<(Arc<AtomicI64>, Arc<AtomicI64>)>,
}

impl Toy {
    pub(super) fn requester(offer: &Offer, steps: &Arc<[Step]>) -> Self {
        let mut toy = Toy::responder(offer.session, steps);
        toy.role = Role::Requester;
        toy.offer = Some(offer.to_batch());
        toy
    }

    pub(super) fn responder(id: SessionId, steps: &Arc<[Step]>) -> Self {
        Toy {
            role: Role::Responder,
            id,
            offer: None,
            steps: Arc::clone(steps),
            at: 0,
            sent: 0,
            received: 0,
            trouble: None,
            offer_read: false,
            in_flight: None,
        }
    }

    fn step(&self) -> Option<&Step> {
        self.steps.get(self.at.checked_sub(1)?)
    }

    /// Batches out and in, and rows of each, in the open phase.
    fn due(&self) -> (u64, u64, u64) {
        let (up, down, rows) = match self.step() {
            _ if self.at == 0 => (1, 1, 1),
            Some(step) => (step.up, step.down, step.rows as u64),
            None => (0, 0, 0),
        };
        match self.role {
            Role::Requester => (up, down, rows),
            Role::Responder => (down, up, rows),
        }
    }

    fn strike(&self, point: Point) -> Result<(), Error> {
        match self.trouble {
            Some((phase, here, trouble)) if Some(phase) == self.phase() && here == point => match trouble {
                Trouble::Fail => Err(Error::Refused(format!("the toy refuses in {phase}"))),
                Trouble::Panic => panic!("the toy panics on purpose"),
                Trouble::Sleep(time) => {
                    std::thread::sleep(time);
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("element", DataType::FixedSizeBinary(32), false),
        Field::new("position", DataType::UInt64, true),
    ]))
}

/// The batch at that place: every row tells phase, sender and position.
fn batch(phase: Phase, from: Role, index: u64, rows: usize) -> RecordBatch {
    let name = format!("{:<16}{:<16}", phase.to_string(), format!("{from:?}"));
    let elements = FixedSizeBinaryArray::try_from_iter((0..rows).map(|_| name.as_bytes())).unwrap();
    let positions: UInt64Array =
        (0..rows as u64).map(|row| (row % 5 != 3).then_some(index * rows as u64 + row)).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(elements) as ArrayRef, Arc::new(positions)]).unwrap()
}

impl Session for Toy {
    fn role(&self) -> Role {
        self.role
    }

    fn id(&self) -> SessionId {
        self.id
    }

    fn phase(&self) -> Option<Phase> {
        if self.at == 0 { Some(Phase::Hello) } else { self.step().map(|step| step.phase) }
    }

    fn out_schema(&self) -> SchemaRef {
        if self.at == 0 { hello_schema() } else { schema() }
    }

    fn in_schema(&self) -> SchemaRef {
        self.out_schema()
    }

    fn poll_output(&mut self) -> Result<Output, Error> {
        self.strike(Point::Output)?;
        let (out, _, _) = self.due();
        if self.sent == out {
            return Ok(Output::Done);
        }
        let step = self.step().copied();
        if step.is_some_and(|step| step.in_turn) && self.role == Role::Responder && self.sent == self.received {
            return Ok(Output::Wait);
        }
        let next = match (step, &self.offer) {
            (Some(step), _) => batch(step.phase, self.role, self.sent, step.rows),
            (None, Some(offer)) => offer.clone(),
            (None, None) => {
                let column: ArrayRef = Arc::new(StringArray::from(vec!["answer"]));
                RecordBatch::try_new(hello_schema(), vec![Arc::clone(&column), column]).unwrap()
            }
        };
        self.sent += 1;
        if let Some((now, most)) = &self.in_flight {
            let now = now.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(now, Ordering::Relaxed);
        }
        Ok(Output::Batch(next))
    }

    fn receive(&mut self, came: RecordBatch) -> Result<(), Error> {
        self.strike(Point::Input)?;
        if let Some((now, _)) = &self.in_flight {
            now.fetch_sub(1, Ordering::Relaxed);
        }
        let (_, due, _) = self.due();
        let phase = self.phase().ok_or_else(|| Error::internal("finished"))?;
        if self.received == due {
            return Err(PeerMisbehaved::TooMany { phase, expected: due }.into());
        }
        let from = if self.role == Role::Requester { Role::Responder } else { Role::Requester };
        match self.step() {
            Some(step) if came != batch(phase, from, self.received, step.rows) => {
                return Err(
                    PeerMisbehaved::Inconsistent { phase, reason: "not the batch that is due".to_owned() }.into()
                );
            }
            Some(_) => {}
            None if came.num_rows() == 0 || came.column(0).null_count() > 0 => {
                return Err(PeerMisbehaved::BatchRows { phase, expected: 1, found: 0 }.into());
            }
            None => {}
        }
        self.received += 1;
        Ok(())
    }

    fn end_input(&mut self) -> Result<(), Error> {
        self.strike(Point::EndInput)?;
        let (_, due, _) = self.due();
        let phase = self.phase().ok_or_else(|| Error::internal("finished"))?;
        if self.received != due && !(self.at == 0 && self.offer_read) {
            return Err(PeerMisbehaved::Truncated { phase, expected: due, found: self.received }.into());
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.strike(Point::Advance)?;
        self.at += 1;
        self.sent = 0;
        self.received = 0;
        Ok(())
    }

    fn progress(&self) -> Progress {
        let (out, due, rows) = self.due();
        Progress { rows_done: (self.sent + self.received) * rows, rows_total: (out + due) * rows }
    }
}

pub(super) const REQUESTER: &str = "publisher";
pub(super) const RESPONDER: &str = "advertiser";
/// Whom the source does not know.
pub(super) const UNKNOWN: &str = "unknown";

pub(super) fn fresh_id() -> SessionId {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(NEXT.fetch_add(1, Ordering::Relaxed) as u64).to_le_bytes());
    SessionId(id)
}

pub(super) fn offer(session: SessionId) -> Offer {
    Offer {
        session,
        requester: REQUESTER.to_owned(),
        responder: RESPONDER.to_owned(),
        nonce: [3; 32],
        question: Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned()],
            filter: None,
            aggregates: vec![Aggregate::Persons.into()],
            group_by: None,
            own_groups: false,
        },
        normalisers: vec!["email/1".to_owned()],
        persons: vec![10],
        dummies: 2,
        sizes: SizesTerms::Exact { queries: 1 },
        chain: vec![ChainLink { seq: 0, hash: [0; 32] }],
        receipts: Receipts::None,
        ot_width: 2,
    }
}

/// Answers with toys, and notes how each session ended.
pub(super) struct Toys {
    pub(super) steps: Arc<[Step]>,
    pub(super) trouble: Mutex<Option<(Phase, Point, Trouble)>>,
    /// What `answer` does instead of answering.
    pub(super) refusal: Mutex<Option<Trouble>>,
    pub(super) ended: Mutex<Vec<Result<(), Error>>>,
    /// How many offers came.
    pub(super) answered: AtomicUsize,
    pub(super) in_flight: Option<(Arc<AtomicI64>, Arc<AtomicI64>)>,
}

impl Toys {
    pub(super) fn new(steps: &Arc<[Step]>) -> Toys {
        Toys {
            steps: Arc::clone(steps),
            trouble: Mutex::default(),
            refusal: Mutex::default(),
            ended: Mutex::default(),
            answered: AtomicUsize::new(0),
            in_flight: None,
        }
    }

    /// Waits until so many sessions have ended, and gives the last one's outcome.
    pub(super) async fn outcome(&self, count: usize) -> Result<(), Error> {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(outcome) = self.ended.lock().unwrap().get(count - 1) {
                return outcome.clone();
            }
            assert!(std::time::Instant::now() < deadline, "the responder's session never ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(super) fn shared(table: &str) -> SharedTable {
    let schema = Schema::new(vec![
        Field::new("email", DataType::Utf8View, true),
        Field::new("amount", DataType::Decimal128(12, 2), true),
    ]);
    SharedTable {
        schema: Arc::new(schema),
        terms: ShareTerms {
            table: table.to_owned(),
            identifiers: vec![],
            aggregates: vec![],
            filter_on: vec!["amount".to_owned()],
            requester_values: None,
            minimum_matched: 50,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 1 },
            outputs: OutputsTerms::Exact,
            group_by: vec![],
            max_labels: 1,
            max_parts: 1,
            period: "forever".to_owned(),
            approval: false,
        },
    }
}

#[async_trait]
impl TableSource for Toys {
    type Answer = Toy;

    fn knows(&self, peer: &PeerIdentity) -> bool {
        peer.name != UNKNOWN
    }

    async fn shares(&self, peer: &PeerIdentity) -> Result<Vec<SharedTable>, Error> {
        if peer.name == REQUESTER { Ok(vec![shared("purchases"), shared("visits")]) } else { Ok(vec![]) }
    }

    async fn answer(&self, peer: &PeerIdentity, offer: Offer) -> Result<Toy, Error> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        assert_eq!(peer.name, offer.requester, "the server compares the two");
        let refusal = *self.refusal.lock().unwrap();
        match refusal {
            Some(Trouble::Fail) => return Err(Error::Refused("column 'amount' is not shared".to_owned())),
            Some(Trouble::Panic) => panic!("the source panics on purpose"),
            Some(Trouble::Sleep(time)) => tokio::time::sleep(time).await,
            None => {}
        }
        let mut toy = Toy::responder(offer.session, &self.steps);
        toy.trouble = *self.trouble.lock().unwrap();
        toy.offer_read = true;
        toy.in_flight.clone_from(&self.in_flight);
        Ok(toy)
    }

    async fn ended(&self, _: &PeerIdentity, ended: SessionEnded<'_, Toy>) {
        self.ended.lock().unwrap().push(ended.outcome.map(|_| ()).map_err(Clone::clone));
    }
}
