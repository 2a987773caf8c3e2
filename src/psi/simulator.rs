//! Two sessions in one process, moved step by step: goal and method of every test below.
//!
//! Goal: both roles, run against each other over any tables, give what a naive model of matching and sums gives,
//! and nothing a peer can do to a message is taken for an honest one. Method: a loop that hands each batch over,
//! with a hook that may change it; bounded steps, no I/O, no clock.

mod ahead;
mod grouped;
mod offered;
mod released;
mod several;
mod spilled;

pub(super) use spilled::{MemoryFiles, Trouble};

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{LargeBinaryArray, RecordBatch};
use proptest::prelude::*;
use rand_core::SeedableRng;

use super::*;
use crate::crypto::ChaCha20Rng;
use crate::dp::{Charge, Noise, Reservation, Settlement};

/// A budget that always grants.
struct Free;

impl Settlement for Free {
    fn spend(self: Box<Self>) {}
    fn refund(self: Box<Self>) {}
}

fn granted() -> Reservation {
    let charge = Charge { peer: "peer".to_owned(), population: "people".to_owned(), tau: 0, columns: 1 };
    Reservation::granted(charge, Box::new(Free))
}

/// One side's table: entries with K identifiers (None: null) and one value.
type Rows = Vec<(Vec<Option<String>>, i128)>;

#[derive(Clone, Debug)]
struct Setting {
    columns: usize,
    requester: Rows,
    responder: Rows,
    own_sum: bool,
    /// The requester's own groups, each with its persons and fillers; none: it has none, and one part.
    parts: Vec<EntryPart>,
    /// How many labels the responder's column has; 0: the question is by none.
    labels: usize,
    dummies: (u64, u64),
    fillers: (u64, u64),
    ot_width: u8,
    minimum_matched: u64,
    bound: i128,
    noise: Noise,
    keys: Option<Keys>,
    /// The responder's prepared table, blinded before the session: its rows before a filter emptied some of them.
    ahead: Option<Rows>,
    seed: u64,
}

/// A key of one byte each: what a side signs with, and what it takes the other's to be.
#[derive(Clone, Copy, Debug)]
struct Keys {
    requester: u8,
    responder: u8,
    responder_as_known: u8,
    requester_as_known: u8,
}

impl Keys {
    const HONEST: Keys = Keys { requester: 1, responder: 2, responder_as_known: 2, requester_as_known: 1 };
}

/// A signature that anybody could make, for sessions of which none tries.
struct Toy(u8);

impl Signer for Toy {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        use sha2::{Digest, Sha512};
        Ok(Sha512::digest([&[self.0], message].concat()).to_vec())
    }
}

impl Verifier for Toy {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        if self.sign(message)? == signature { Ok(()) } else { Err(Error::Caller("not this key's".to_owned())) }
    }
}

impl Setting {
    fn new(columns: usize, requester: Rows, responder: Rows) -> Self {
        Setting {
            columns,
            requester,
            responder,
            own_sum: true,
            parts: Vec::new(),
            labels: 0,
            dummies: (2, 1),
            fillers: (0, 0),
            ot_width: 2,
            minimum_matched: 0,
            bound: 1000,
            noise: Noise::None,
            keys: None,
            ahead: None,
            seed: 1,
        }
    }

    fn witness(&self, role: Role) -> Option<Witness> {
        self.keys.map(|keys| match role {
            Role::Requester => {
                Witness { own: Arc::new(Toy(keys.requester)), peer: Arc::new(Toy(keys.responder_as_known)) }
            }
            Role::Responder => {
                Witness { own: Arc::new(Toy(keys.responder)), peer: Arc::new(Toy(keys.requester_as_known)) }
            }
        })
    }

    fn published(&self) -> ShareTerms {
        ShareTerms {
            table: "purchases".to_owned(),
            identifiers: Vec::new(),
            aggregates: Vec::new(),
            filter_on: Vec::new(),
            requester_values: None,
            minimum_matched: self.minimum_matched,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 3 },
            outputs: OutputsTerms::Private {
                per_query: "epsilon 2/5".to_owned(),
                epsilon: 4.0,
                delta: None,
                queries: 10,
            },
            group_by: match self.labels {
                0 => Vec::new(),
                _ => vec![GroupTerms { column: "category".to_owned(), labels: self.label_names() }],
            },
            max_labels: 2,
            max_parts: 1,
            period: "forever".to_owned(),
            approval: false,
        }
    }

    fn label_names(&self) -> Vec<String> {
        (0..self.labels).map(|label| format!("label {label}")).collect()
    }

    /// What the value of the responder's person `j` counts times in a label: a person is in at most two.
    fn weight(&self, j: usize, label: usize) -> i128 {
        match self.labels {
            0 => 1,
            labels if j % labels == label => 1,
            labels if (j / 2) % labels == label => 2,
            _ => 0,
        }
    }

    /// The part that the requester's person `i` is in, from 0.
    fn part_of(&self, i: usize) -> usize {
        let ends = self.parts.iter().scan(0, |end, part| {
            *end += part.persons;
            Some(*end)
        });
        ends.take_while(|end| *end <= i).count()
    }

    fn aggregates(&self) -> Vec<AskedWord> {
        let mut aggregates = vec![Aggregate::Persons, Aggregate::Sum { column: "amount".to_owned() }];
        if self.own_sum {
            aggregates.insert(1, Aggregate::OwnSum { value: 0, decimals: 0 });
        }
        let mut words: Vec<AskedWord> = aggregates.into_iter().map(AskedWord::from).collect();
        // What a filter says is for the values; here it is a text that travels.
        if let Some(sum) = words.last_mut().filter(|_| self.labels > 0) {
            sum.when = Some("amount > 1".to_owned());
        }
        words
    }

    fn words(&self) -> Vec<WordTerms> {
        let word = |min, max| WordTerms { min, max, decimals: 0, noise: self.noise.clone() };
        let (count, sum) = (word(0, 1), word(-self.bound, self.bound));
        if self.own_sum { vec![count, sum.clone(), sum] } else { vec![count, sum] }
    }

    fn entries(&self, rows: &Rows, values: Vec<Vec<i128>>, fillers: u64) -> Entries {
        let identifiers = (0..self.columns)
            .map(|k| rows.iter().map(|(ids, _)| ids[k].as_deref()).collect::<LargeBinaryArray>())
            .collect();
        Entries::whole(identifiers, values, fillers)
    }

    fn offer(&self) -> OfferTerms {
        OfferTerms {
            session: SessionId([7; 16]),
            requester: "publisher".to_owned(),
            responder: "advertiser".to_owned(),
            question: Question {
                table: "purchases".to_owned(),
                identifiers: (0..self.columns).map(|k| format!("id{k}")).collect(),
                filter: None,
                aggregates: self.aggregates(),
                group_by: (self.labels > 0).then(|| "category".to_owned()),
                own_groups: !self.parts.is_empty(),
            },
            normalisers: vec!["exact/1".to_owned(); self.columns],
            dummies: self.dummies.0,
            ot_width: self.ot_width,
            words: self.words(),
            sizes: SizesTerms::Exact { queries: 100 },
            chain: vec![ChainLink { seq: 4, hash: [4; 32] }, ChainLink { seq: 3, hash: [3; 32] }],
            published: self.published(),
        }
    }

    fn requester(&self) -> Result<Requester, Error> {
        let values = if self.own_sum { vec![self.requester.iter().map(|(_, v)| *v).collect()] } else { Vec::new() };
        let mut entries = self.entries(&self.requester, values, self.fillers.0);
        if !self.parts.is_empty() {
            entries.parts.clone_from(&self.parts);
        }
        let rng = ChaCha20Rng::seed_from_u64(self.seed);
        let witness = self.witness(Role::Requester);
        let check_chain: ChainCheck = Box::new(|_| Ok(()));
        Requester::new(self.offer(), entries, granted(), witness, check_chain, Limits::default(), rng)
    }

    fn responder(&self, offer: &Offer) -> Result<Responder, Error> {
        let weights = |label: usize| (0..self.responder.len()).map(move |j| self.weight(j, label));
        let labels = 0..self.labels.max(1);
        let counts = labels.clone().map(|label| weights(label).map(|weight| weight.min(1)).collect());
        let sums = labels.map(|label| weights(label).zip(&self.responder).map(|(weight, (_, v))| weight * v).collect());
        let mut entries = self.entries(&self.responder, counts.chain(sums).collect(), self.fillers.1);
        let ahead = self.blinded_ahead(&mut entries);
        let terms = AnswerTerms {
            dummies: self.dummies.1,
            words: self.words(),
            normalisers: vec!["exact/1".to_owned(); self.columns],
            labels: self.label_names(),
            minimum_matched: self.minimum_matched,
            filtered_rows: FilteredRows::Hide,
            sizes: self.published().sizes,
            outputs: self.published().outputs.per_query()?,
            chain: vec![ChainLink { seq: 9, hash: [9; 32] }],
        };
        let rng = ChaCha20Rng::seed_from_u64(self.seed ^ u64::MAX);
        let witness = self.witness(Role::Responder);
        Responder::new(offer, terms, entries, granted(), witness, Limits::default(), rng)?.with_ahead(ahead)
    }

    /// The model: column by column, unmatched persons with equal identifiers match. Sizes by column, then part; cells.
    fn expected(&self) -> (Vec<u64>, Vec<Vec<i128>>) {
        let (parts, labels) = (self.parts.len().max(1), self.labels.max(1));
        let mut taken = (vec![false; self.requester.len()], vec![false; self.responder.len()]);
        let mut sizes = Vec::new();
        let words = self.aggregates().len();
        let mut cells = vec![vec![0; words]; parts * labels];
        for k in 0..self.columns {
            let mut matched = vec![0; parts];
            for (i, (ours, own_value)) in self.requester.iter().enumerate() {
                for (j, (theirs, value)) in self.responder.iter().enumerate() {
                    if !taken.0[i] && !taken.1[j] && ours[k].is_some() && ours[k] == theirs[k] {
                        (taken.0[i], taken.1[j]) = (true, true);
                        matched[self.part_of(i)] += 1;
                        for label in 0..labels {
                            let weight = self.weight(j, label);
                            let cell = &mut cells[self.part_of(i) * labels + label];
                            cell[0] += weight.min(1);
                            cell[words - 1] += weight * value;
                            if self.own_sum {
                                cell[1] += own_value;
                            }
                        }
                    }
                }
            }
            sizes.extend(matched);
        }
        (sizes, cells)
    }
}

/// Who sends a batch that a hook sees.
type Hook<'a> = &'a mut dyn FnMut(Role, Phase, usize, RecordBatch) -> Vec<RecordBatch>;

enum Failure {
    Requester(Error),
    Responder(Error),
}

impl Failure {
    fn error(self) -> Error {
        match self {
            Failure::Requester(error) | Failure::Responder(error) => error,
        }
    }
}

/// Moves all of one direction of the open phase from `from` to `to`; true once both have ended it.
fn carry(from: &mut dyn Session, to: &mut dyn Session, sent: &mut usize, hook: Hook<'_>) -> Result<bool, Error> {
    let phase = from.phase().unwrap();
    loop {
        match from.poll_output()? {
            Output::Batch(batch) => {
                assert_eq!(batch.schema(), from.out_schema());
                for batch in hook(from.role(), phase, *sent, batch) {
                    to.receive(batch)?;
                }
                *sent += 1;
            }
            Output::Wait => return Ok(false),
            Output::Done => {
                to.end_input()?;
                return Ok(true);
            }
        }
    }
}

/// Runs both sessions to their end; an error carries the side that raised it.
fn run(setting: &Setting, hook: Hook<'_>) -> Result<(Answered, Outcome), Failure> {
    let (mut requester, mut responder) = open(setting, hook)?;
    drive(&mut requester, &mut responder, hook)?;
    let answered = requester.into_answer().map_err(Failure::Requester)?;
    Ok((answered, responder.into_outcome().map_err(Failure::Responder)?))
}

/// Both sessions with the offer handed over.
fn open(setting: &Setting, hook: Hook<'_>) -> Result<(Requester, Responder), Failure> {
    let mut requester = setting.requester().map_err(Failure::Requester)?;
    let Output::Batch(offer) = requester.poll_output().map_err(Failure::Requester)? else { panic!("no offer") };
    let mut batches = hook(Role::Requester, Phase::Hello, 0, offer);
    let offer = Offer::from_batch(&batches.remove(0)).map_err(Failure::Responder)?;
    let mut responder = setting.responder(&offer).map_err(Failure::Responder)?;
    for batch in batches {
        responder.receive(batch).map_err(Failure::Responder)?;
    }
    Ok((requester, responder))
}

fn drive(requester: &mut Requester, responder: &mut Responder, hook: Hook<'_>) -> Result<(), Failure> {
    for _ in 0..64 {
        let phase = requester.phase();
        assert_eq!(phase, responder.phase());
        let Some(phase) = phase else { return Ok(()) };
        let (mut up, mut down) = ((false, 0), (false, 0));
        for _ in 0..3 {
            if !up.0 {
                // An error of `from` and one of `to` are told apart by role below.
                up.0 = carry(requester, responder, &mut up.1, hook)
                    .map_err(|error| blame(phase, Role::Requester, error))?;
            }
            if !down.0 {
                down.0 = carry(responder, requester, &mut down.1, hook)
                    .map_err(|error| blame(phase, Role::Responder, error))?;
            }
        }
        assert!(up.0 && down.0, "phase {phase} got stuck");
        assert_eq!(requester.progress().rows_done, requester.progress().rows_total);
        requester.advance().map_err(Failure::Requester)?;
        responder.advance().map_err(Failure::Responder)?;
    }
    panic!("more phases than there can be");
}

/// What a receiver finds wrong is its own finding: the sender of the carried direction is not the one that raised it.
fn blame(_phase: Phase, from: Role, error: Error) -> Failure {
    match from {
        Role::Requester => Failure::Responder(error),
        Role::Responder => Failure::Requester(error),
    }
}

fn pass(_: Role, _: Phase, _: usize, batch: RecordBatch) -> Vec<RecordBatch> {
    vec![batch]
}

fn person(ids: &[&str], value: i128) -> (Vec<Option<String>>, i128) {
    (ids.iter().map(|id| (!id.is_empty()).then(|| (*id).to_owned())).collect(), value)
}

fn check(setting: &Setting) {
    let (answered, outcome) = run(setting, &mut pass).map_err(Failure::error).unwrap();
    let (sizes, cells) = setting.expected();
    assert_eq!(answered.cells, cells);
    assert_eq!(answered.sizes, outcome.sizes);
    assert_eq!(answered.sizes.len(), sizes.len());
    let dummies = setting.dummies.0.max(setting.dummies.1);
    assert_eq!((answered.dummies, outcome.dummies), (dummies, dummies));
    for (noisy, size) in answered.sizes.iter().zip(sizes) {
        assert!((size..=size + dummies).contains(noisy), "{noisy} matches where {size} are real");
    }
}

#[test]
fn sums_over_one_identifier_are_those_of_the_join() {
    let requester = vec![person(&["a"], 5), person(&["b"], 7), person(&[""], 100), person(&["d"], -3)];
    let responder = vec![person(&["b"], 10), person(&["x"], 20), person(&["d"], -40), person(&[""], 80)];
    for ot_width in [1, 2, 4, 8] {
        check(&Setting { ot_width, ..Setting::new(1, requester.clone(), responder.clone()) });
    }
}

#[test]
fn each_person_matches_once_by_its_first_matching_column() {
    let requester = vec![person(&["a", "1", "x"], 1), person(&["", "2", "y"], 10), person(&["c", "3", ""], 100)];
    let responder = vec![
        person(&["a", "2", ""], 1),
        person(&["z", "1", "y"], 10),
        person(&["", "3", "x"], 100),
        person(&["q", "", ""], 1000),
    ];
    let setting = Setting { bound: 1000, ..Setting::new(3, requester, responder) };
    assert_eq!(setting.expected().0, vec![1, 1, 1]);
    check(&setting);
}

#[test]
fn empty_tables_single_entries_and_unequal_sizes_work() {
    let many: Rows = (0..40).map(|i| person(&[&format!("p{i}"), &format!("q{i}")], i)).collect();
    for (requester, responder) in [
        (Vec::new(), Vec::new()),
        (Vec::new(), many.clone()),
        (many.clone(), Vec::new()),
        (many[3..4].to_vec(), many.clone()),
        (many.clone(), many[7..8].to_vec()),
        (many.clone(), many.clone()),
    ] {
        for dummies in [(0, 0), (3, 0), (0, 5)] {
            check(&Setting { dummies, ..Setting::new(2, requester.clone(), responder.clone()) });
        }
    }
}

#[test]
fn eight_columns_and_fillers_on_both_sides_work() {
    let row = |i: i128, k: usize| {
        let mut ids = vec![None; 8];
        ids[k] = Some(format!("v{i}"));
        (ids, i)
    };
    let requester: Rows = (0..16).map(|i| row(i, i as usize % 8)).collect();
    let responder: Rows = (8..24).map(|i| row(i, i as usize % 8)).collect();
    check(&Setting { fillers: (5, 9), ..Setting::new(8, requester, responder) });
}

#[test]
fn tables_of_more_than_one_batch_work() {
    let table = |from: i128, to: i128| -> Rows { (from..to).map(|i| person(&[&format!("p{i}")], i % 900)).collect() };
    check(&Setting::new(1, table(0, 4097), table(4000, 4000 + 8192)));
}

#[test]
fn bounds_that_need_it_take_words_of_128_bits() {
    let huge = i128::from(i64::MAX) * 4;
    let requester = vec![person(&["a"], huge), person(&["b"], -huge)];
    let responder = vec![person(&["a"], -huge), person(&["b"], -huge)];
    check(&Setting { bound: huge, ..Setting::new(1, requester, responder) });
}

#[test]
fn bounds_that_could_overflow_are_refused_before_anything_is_sent() {
    let setting =
        Setting { bound: i128::MAX / 2, ..Setting::new(1, vec![person(&["a"], 1); 3], vec![person(&["b"], 1); 3]) };
    let failure = run(&setting, &mut pass).err().unwrap();
    assert!(matches!(failure, Failure::Responder(Error::Refused(_))));
}

#[test]
fn too_few_noisy_matches_are_refused_by_the_responder_before_the_oblivious_transfer() {
    let rows: Rows = (0..20).map(|i| person(&[&format!("p{i}")], i)).collect();
    let setting = Setting { dummies: (0, 0), minimum_matched: 20, ..Setting::new(1, rows.clone(), rows.clone()) };
    check(&setting);
    let mut phases = Vec::new();
    let refused = run(&Setting { minimum_matched: 21, ..setting }, &mut |_, phase, _, batch| {
        phases.push(phase);
        vec![batch]
    });
    let Err(Failure::Responder(Error::Refused(text))) = refused else { panic!("not refused") };
    assert!(text.contains("minimum_matched = 21"), "{text}");
    assert_eq!(phases.last(), Some(&Phase::Tags));
}

#[test]
fn a_batch_that_is_dropped_doubled_cut_or_emptied_is_noticed_in_every_phase() {
    let table = |from: i128, to: i128| -> Rows {
        (from..to).map(|i| person(&[&format!("p{i}"), &format!("q{}", i % 31)], i)).collect()
    };
    let setting = Setting::new(2, table(0, 31), table(10, 41));
    let mut messages = Vec::new();
    run(&setting, &mut |role, phase, index, batch| {
        messages.push((role, phase, index));
        vec![batch]
    })
    .map_err(Failure::error)
    .unwrap();
    assert!(messages.len() > 20, "{messages:?}");
    type Change = fn(RecordBatch) -> Vec<RecordBatch>;
    let changes: [(&str, Change); 4] = [
        ("dropped", |_| Vec::new()),
        ("doubled", |batch| vec![batch.clone(), batch]),
        ("cut", |batch| vec![batch.slice(0, batch.num_rows() - 1)]),
        ("emptied", |batch| vec![batch.slice(0, 0)]),
    ];
    for &(role, phase, index) in &messages {
        for (name, change) in changes {
            if phase == Phase::Hello && role == Role::Requester && name == "dropped" {
                continue; // Without an offer there is no session.
            }
            let outcome = run(&setting, &mut |r, p, i, batch| {
                if (r, p, i) == (role, phase, index) { change(batch) } else { vec![batch] }
            });
            let error = match outcome {
                Ok(_) => panic!("{name} in {phase} by {role:?} went unnoticed"),
                Err(failure) => failure.error(),
            };
            assert_eq!(error.fault(), Fault::Peer, "{name} in {phase} by {role:?}: {error}");
        }
    }
}

/// A batch with another value in one row of one of its columns: `bytes`, or the next row's.
fn replaced(batch: &RecordBatch, column: usize, row: usize, bytes: Option<&[u8]>) -> RecordBatch {
    use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray};
    let old = batch.column(column).as_any().downcast_ref::<FixedSizeBinaryArray>().unwrap();
    let mut values: Vec<Vec<u8>> = (0..old.len()).map(|i| old.value(i).to_vec()).collect();
    values[row] = bytes.map_or_else(|| values[row + 1].clone(), <[u8]>::to_vec);
    let new: ArrayRef = std::sync::Arc::new(FixedSizeBinaryArray::try_from_iter(values.into_iter()).unwrap());
    let mut columns = batch.columns().to_vec();
    columns[column] = new;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn elements_that_are_none_the_identity_or_there_twice_are_refused_by_name() {
    let rows: Rows = (0..9).map(|i| person(&[&format!("p{i}"), &format!("q{i}")], i)).collect();
    let setting = Setting::new(2, rows[..5].to_vec(), rows[3..].to_vec());
    for (from, phase, column) in [
        (Role::Requester, Phase::Columns, 0),
        (Role::Requester, Phase::Columns, 1),
        (Role::Responder, Phase::Columns, 0),
        (Role::Responder, Phase::Columns, 1),
        (Role::Responder, Phase::Elements(2), 0),
        (Role::Requester, Phase::Replies(2), 0),
    ] {
        for (what, bytes) in [("identity", Some([0; 32])), ("canonical", Some([0xff; 32])), ("twice", None)] {
            let failure = run(&setting, &mut |role, p, _, batch| {
                let bytes = bytes.as_ref().map(|bytes| &bytes[..]);
                vec![if (role, p) == (from, phase) { replaced(&batch, column, 2, bytes) } else { batch }]
            })
            .err()
            .unwrap_or_else(|| panic!("{what} in {phase} column {column} of {from:?} went unnoticed"));
            let error = failure.error();
            assert_eq!(error.fault(), Fault::Peer);
            assert!(error.to_string().contains(what), "{what} in {phase} column {column}: {error}");
        }
    }
}

#[test]
fn tags_asked_for_twice_or_out_of_order_and_marks_that_are_none_are_refused() {
    let rows: Rows = (0..9).map(|i| person(&[&format!("p{i}"), &format!("q{i}")], i)).collect();
    let setting = Setting::new(2, rows[..5].to_vec(), rows[3..].to_vec());
    let cases: [(Role, Phase, Option<&[u8]>, &str); 5] = [
        (Role::Requester, Phase::Tags, None, "strictly ascending"),
        (Role::Requester, Phase::Tags, Some(&[0xff; 8]), "strictly ascending"),
        (Role::Requester, Phase::Elements(2), None, "the same tag occurs twice"),
        (Role::Responder, Phase::Tags, Some(&[2]), "neither 0 nor 1"),
        (Role::Responder, Phase::Replies(2), Some(&[255]), "neither 0 nor 1"),
    ];
    for (from, phase, bytes, what) in cases {
        let failure = run(&setting, &mut |role, p, _, batch| {
            vec![if (role, p) == (from, phase) { replaced(&batch, 0, 2, bytes) } else { batch }]
        })
        .err()
        .unwrap_or_else(|| panic!("{bytes:?} in {phase} of {from:?} went unnoticed"));
        let error = failure.error();
        assert_eq!(error.fault(), Fault::Peer);
        assert!(error.to_string().contains(what), "{phase}: {error}");
    }
}

#[test]
fn more_marks_than_there_are_entries_are_refused() {
    // Three of the requester's against nine: no more than three (and a dummy) can have matched.
    let rows: Rows = (0..9).map(|i| person(&[&format!("p{i}"), &format!("q{i}")], i)).collect();
    let setting = Setting { dummies: (0, 0), ..Setting::new(2, rows[..3].to_vec(), rows.clone()) };
    for phase in [Phase::Tags, Phase::Replies(2)] {
        let failure = run(&setting, &mut |role, p, _, batch| {
            if (role, p) != (Role::Responder, phase) {
                return vec![batch];
            }
            vec![(0..batch.num_rows()).fold(batch, |batch, row| replaced(&batch, 0, row, Some(&[1])))]
        })
        .err()
        .unwrap_or_else(|| panic!("nine marks in {phase} went unnoticed"));
        let error = failure.error().to_string();
        assert!(error.contains("more matches than this side has entries"), "{error}");
    }
}

#[test]
fn what_one_party_sees_of_its_own_rows_never_depends_on_their_order() {
    // The set that is asked for in column 1 is sorted by tag: an order that the tags alone determine.
    let rows: Rows = (0..50).map(|i| person(&[&format!("p{i}")], i)).collect();
    let setting = Setting::new(1, rows.clone(), rows);
    run(&setting, &mut |role, phase, _, batch| {
        if phase == Phase::Tags && role == Role::Requester {
            let column = batch.column(0);
            let tags = column.as_any().downcast_ref::<arrow::array::FixedSizeBinaryArray>().unwrap();
            let tags: Vec<&[u8]> = tags.iter().flatten().collect();
            assert!(tags.windows(2).all(|pair| pair[0] < pair[1]));
        }
        vec![batch]
    })
    .map_err(Failure::error)
    .unwrap();
}

#[test]
fn the_number_and_shape_of_messages_depend_on_announced_counts_and_matches_alone() {
    let shapes = |setting: &Setting| {
        let mut shapes = Vec::new();
        run(setting, &mut |role, phase, _, batch| {
            if phase != Phase::Hello {
                shapes.push((role, phase, batch.num_rows(), batch.schema()));
            }
            vec![batch]
        })
        .map_err(Failure::error)
        .unwrap();
        shapes
    };
    let full: Rows = (0..30).map(|i| person(&[&format!("p{i}")], i)).collect();
    // Nobody of the emptied ones matches, in either table.
    let other: Rows = (100..130).map(|i| person(&[&format!("p{i}")], i)).collect();
    let emptied: Rows =
        other.iter().enumerate().map(|(i, row)| if i % 3 == 0 { person(&[""], 0) } else { row.clone() }).collect();
    assert_eq!(shapes(&Setting::new(1, full.clone(), other)), shapes(&Setting::new(1, full, emptied)));
}

#[test]
fn the_bytes_of_the_matching_are_those_that_are_foretold() {
    for columns in [1, 2, 4] {
        let table = |side: &str, rows: usize| -> Rows {
            (0..rows).map(|i| ((0..columns).map(|k| Some(format!("{side}-{k}-{i}"))).collect(), 1)).collect()
        };
        let mut bytes = (0, 0);
        let setting = Setting { dummies: (0, 0), ..Setting::new(columns, table("a", 9), table("b", 14)) };
        run(&setting, &mut |role, phase, _, batch| {
            if phase >= Phase::Columns && phase < Phase::OtChoices {
                let schema = batch.schema();
                let widths = schema.fields().iter().map(|field| match field.data_type() {
                    arrow::datatypes::DataType::FixedSizeBinary(width) => *width as u64,
                    other => panic!("{other}"),
                });
                let widths: u64 = widths.sum();
                *(if role == Role::Requester { &mut bytes.0 } else { &mut bytes.1 }) +=
                    widths * batch.num_rows() as u64;
            }
            vec![batch]
        })
        .map_err(Failure::error)
        .unwrap();
        assert_eq!(bytes, matching_bytes(9, 14, columns, 1));
    }
}

fn rows(columns: usize) -> impl Strategy<Value = Rows> {
    let entry = (proptest::collection::vec(proptest::option::weighted(0.7, 0u8..6), columns), -50i128..50);
    proptest::collection::vec(entry, 0..7).prop_map(move |entries| {
        // A prepared table: each identifier once per column.
        let mut seen: HashMap<(usize, u8), ()> = HashMap::new();
        entries
            .into_iter()
            .map(|(ids, value)| {
                let ids = ids
                    .into_iter()
                    .enumerate()
                    .map(|(k, id)| id.filter(|id| seen.insert((k, *id), ()).is_none()).map(|id| format!("i{id}")))
                    .collect();
                (ids, value)
            })
            .collect()
    })
}

fn settings() -> impl Strategy<Value = Setting> {
    (1usize..=4).prop_flat_map(|columns| {
        (rows(columns), rows(columns), any::<bool>(), (0u64..3, 0u64..3), (0u64..3, 0u64..3), any::<u64>()).prop_map(
            move |(requester, responder, own_sum, dummies, fillers, seed)| Setting {
                own_sum,
                dummies,
                fillers,
                seed,
                ..Setting::new(columns, requester, responder)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_two_prepared_tables_give_what_the_model_gives(setting in settings()) {
        check(&setting);
    }
}
