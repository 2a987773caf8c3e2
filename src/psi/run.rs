//! What both roles do after the hello: confirm, match, aggregate, release.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::dp::Spent;
use crate::mpc::{AdditiveShares, WordWidth};

use super::aggregation::{Aggregation, Owned};
use super::frame::{Inbound, Outbound, binary_column, binary_schema};
use super::hello::WordTerms;
use super::matching::Matching;
use super::table::{Entries, WireTable};
use super::{Error, Output, PeerMisbehaved, Phase, Progress, Role};

/// What the hello has settled, equal on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) transcript: [u8; 32],
    pub(crate) columns: usize,
    /// Entries without dummies: the requester's, the responder's.
    pub(crate) requester_persons: u64,
    pub(crate) responder_persons: u64,
    /// τ: dummies per column and party.
    pub(crate) dummies: u64,
    /// Per aggregate: who owns its values, its clip bounds, its width.
    pub(crate) words: Vec<AgreedWord>,
    pub(crate) minimum_matched: u64,
    pub(crate) ot_width: u8,
}

/// One aggregate, settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgreedWord {
    pub(crate) owner: Role,
    pub(crate) terms: WordTerms,
    pub(crate) width: WordWidth,
}

impl Agreed {
    fn rows(&self, role: Role) -> u64 {
        let persons = match role {
            Role::Requester => self.requester_persons,
            Role::Responder => self.responder_persons,
        };
        persons + self.columns as u64 * self.dummies
    }

    /// Matched dummies to be expected over all columns, times two: K·τ (each column's overlap is τ/2 in the mean).
    fn dummy_matches_doubled(&self) -> u64 {
        self.columns as u64 * self.dummies
    }
}

/// What a run has shown this side, and for the requester the answer.
pub(crate) struct Finished {
    /// The noisy number of matches per column.
    pub(crate) sizes: Vec<u64>,
    /// The opened sums, for the requester; empty for the responder.
    pub(crate) sums: Vec<i128>,
}

/// The run after the hello.
pub(crate) struct Run {
    role: Role,
    agreed: Agreed,
    /// Proof that the budget was charged: a run cannot be made without one.
    _spent: Spent,
    sizes: Vec<u64>,
    stage: Stage,
}

enum Stage {
    Confirm { entries: Entries, rng: ChaCha20Rng, outbound: Outbound, inbound: Inbound },
    Match { matching: Box<Matching>, rng: ChaCha20Rng },
    Aggregate(Box<Aggregation>),
    Release { shares: AdditiveShares, sums: Vec<i128>, outbound: Outbound, inbound: Inbound },
    Finished { sums: Vec<i128> },
    Failed,
}

impl Run {
    pub(crate) fn new(role: Role, agreed: Agreed, entries: Entries, spent: Spent, rng: ChaCha20Rng) -> Self {
        let outbound = Outbound::new(1);
        let inbound = Inbound::new(Phase::Confirm, confirm_schema(), 1);
        Run {
            role,
            agreed,
            _spent: spent,
            sizes: Vec::new(),
            stage: Stage::Confirm { entries, rng, outbound, inbound },
        }
    }

    pub(crate) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        match &self.stage {
            Stage::Confirm { .. } => Some(Phase::Confirm),
            Stage::Match { matching, .. } => matching.phase(),
            Stage::Aggregate(aggregation) => aggregation.phase(),
            Stage::Release { .. } => Some(Phase::Release),
            Stage::Finished { .. } | Stage::Failed => None,
        }
    }

    /// (what this side sends, what the peer sends).
    pub(crate) fn schemas(&self) -> (SchemaRef, SchemaRef) {
        match &self.stage {
            Stage::Match { matching, .. } => (matching.schema(), matching.schema()),
            Stage::Aggregate(aggregation) => aggregation.schemas(),
            Stage::Release { .. } => match self.role {
                Role::Requester => (confirm_schema(), release_schema()),
                Role::Responder => (release_schema(), confirm_schema()),
            },
            _ => (confirm_schema(), confirm_schema()),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        match &self.stage {
            Stage::Match { matching, .. } => matching.progress(),
            Stage::Aggregate(aggregation) => aggregation.progress(),
            Stage::Confirm { outbound, inbound, .. } | Stage::Release { outbound, inbound, .. } => {
                Progress { rows_done: outbound.sent() + inbound.seen(), rows_total: outbound.total() + inbound.total() }
            }
            Stage::Finished { .. } | Stage::Failed => Progress { rows_done: 0, rows_total: 0 },
        }
    }

    pub(crate) fn poll_output(&mut self) -> Result<Output, Error> {
        let transcript = self.agreed.transcript;
        match &mut self.stage {
            Stage::Confirm { outbound, .. } => Ok(match outbound.next_rows() {
                Some(_) => Output::Batch(transcript_batch(&transcript)?),
                None => Output::Done,
            }),
            Stage::Match { matching, .. } => matching.poll_output(),
            Stage::Aggregate(aggregation) => aggregation.poll_output(),
            Stage::Release { shares, outbound, inbound, .. } => match self.role {
                Role::Requester => Ok(match outbound.next_rows() {
                    Some(_) => Output::Batch(transcript_batch(&transcript)?),
                    None => Output::Done,
                }),
                // The shares leave once the requester has shown that it still holds the same transcript.
                Role::Responder if inbound.seen() < inbound.total() => Ok(Output::Wait),
                Role::Responder => match outbound.next_rows() {
                    Some(rows) => Ok(Output::Batch(release_batch(&transcript, &shares.words()[rows])?)),
                    None => Ok(Output::Done),
                },
            },
            Stage::Finished { .. } => Ok(Output::Done),
            Stage::Failed => Err(Error::internal("a failed session was asked for output")),
        }
    }

    pub(crate) fn receive(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Confirm { inbound, .. } => {
                inbound.accept(batch)?;
                check_transcript(&self.agreed.transcript, batch)
            }
            Stage::Match { matching, .. } => matching.receive(batch),
            Stage::Aggregate(aggregation) => aggregation.receive(batch),
            Stage::Release { shares, sums, inbound, .. } => {
                let rows = inbound.accept(batch)?;
                check_transcript(&self.agreed.transcript, batch)?;
                if self.role == Role::Requester {
                    let widths = shares.widths()[rows.clone()].to_vec();
                    let theirs = read_shares(binary_column(batch, 1)?, widths.clone())?;
                    let ours = AdditiveShares::new(widths, shares.words()[rows].to_vec()).map_err(Error::internal)?;
                    sums.extend(AdditiveShares::open(&ours, &theirs).map_err(Error::internal)?);
                }
                Ok(())
            }
            Stage::Finished { .. } | Stage::Failed => Err(Error::internal("a batch after the session's end")),
        }
    }

    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Confirm { inbound, .. } | Stage::Release { inbound, .. } => Ok(inbound.end()?),
            Stage::Match { matching, .. } => matching.end_input(),
            Stage::Aggregate(aggregation) => aggregation.end_input(),
            Stage::Finished { .. } | Stage::Failed => Err(Error::internal("an end after the session's end")),
        }
    }

    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        // A stage that fails below leaves `Failed` behind, so that nothing can resume half-way.
        self.stage = match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Confirm { entries, mut rng, outbound, inbound } => {
                both_ended(outbound.is_done() && inbound.is_ended())?;
                let table = WireTable::new(entries, self.agreed.dummies, &self.agreed.transcript, &mut rng);
                let peer = match self.role {
                    Role::Requester => Role::Responder,
                    Role::Responder => Role::Requester,
                };
                let matching = Matching::new(table, self.agreed.rows(peer), fork(&mut rng));
                Stage::Match { matching: Box::new(matching), rng }
            }
            Stage::Match { mut matching, mut rng } => {
                both_ended(matching.phase_ended())?;
                matching.advance()?;
                if matching.phase().is_some() {
                    Stage::Match { matching, rng }
                } else {
                    let matches = matching.finish();
                    self.sizes.clone_from(&matches.sizes);
                    self.check_minimum()?;
                    let aggregation = Aggregation::new(self.role, &self.agreed, matches, fork(&mut rng))?;
                    // Own values that can only be 0 need no oblivious transfer.
                    match aggregation.phase() {
                        Some(_) => Stage::Aggregate(Box::new(aggregation)),
                        None => self.open_release(aggregation.finish()?)?,
                    }
                }
            }
            Stage::Aggregate(mut aggregation) => {
                both_ended(aggregation.phase_ended())?;
                aggregation.advance()?;
                if aggregation.phase().is_some() {
                    Stage::Aggregate(aggregation)
                } else {
                    self.open_release(aggregation.finish()?)?
                }
            }
            Stage::Release { sums, outbound, inbound, .. } => {
                both_ended(outbound.is_done() && inbound.is_ended())?;
                Stage::Finished { sums }
            }
            Stage::Finished { .. } | Stage::Failed => {
                return Err(Error::internal("a session that has ended was asked to go on"));
            }
        };
        Ok(())
    }

    /// The outcome, after the last phase.
    ///
    /// The sums' bounds are checked here and not inside the session: the peer, which may have paid a value beyond
    /// them at a row of its own, must not hear from an error whether that row matched.
    pub(crate) fn finish(mut self) -> Result<Finished, Error> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Finished { sums } => {
                self.check_bounds(&sums)?;
                Ok(Finished { sizes: self.sizes, sums })
            }
            _ => Err(Error::internal("the outcome of a session that has not ended")),
        }
    }

    /// The responder's rule `minimum_matched`, before the oblivious transfer: Σ sizes − K·τ/2 is the unbiased
    /// estimate of the matched persons. The charge stays.
    fn check_minimum(&self) -> Result<(), Error> {
        if self.role == Role::Requester || self.agreed.minimum_matched == 0 {
            return Ok(());
        }
        let noisy_doubled = 2 * u128::from(self.sizes.iter().sum::<u64>());
        let due_doubled = 2 * u128::from(self.agreed.minimum_matched) + u128::from(self.agreed.dummy_matches_doubled());
        if noisy_doubled < due_doubled {
            return Err(Error::Refused(format!(
                "fewer matches than this share's minimum_matched = {} (by the noisy sizes); ask about more people",
                self.agreed.minimum_matched
            )));
        }
        Ok(())
    }

    fn open_release(&self, owned: Owned) -> Result<Stage, Error> {
        let shares = owned.in_question_order(&self.agreed)?;
        let words = shares.widths().len() as u64;
        let (out_rows, in_rows, in_schema) = match self.role {
            Role::Requester => (1, words, release_schema()),
            Role::Responder => (words, 1, confirm_schema()),
        };
        Ok(Stage::Release {
            shares,
            sums: Vec::new(),
            outbound: Outbound::new(out_rows),
            inbound: Inbound::new(Phase::Release, in_schema, in_rows),
        })
    }

    /// A sum outside what n clipped totals can make is the peer's doing: better an error than a wrong answer.
    fn check_bounds(&self, sums: &[i128]) -> Result<(), Error> {
        let persons = i128::from(self.agreed.requester_persons.min(self.agreed.responder_persons));
        for (sum, word) in sums.iter().zip(&self.agreed.words) {
            let least = persons * word.terms.min.min(0);
            let greatest = persons * word.terms.max.max(0);
            if !(least..=greatest).contains(sum) {
                let reason = "a sum opens to more than the clip bounds allow".to_owned();
                return Err(PeerMisbehaved::Inconsistent { phase: Phase::Release, reason }.into());
            }
        }
        Ok(())
    }
}

fn both_ended(ended: bool) -> Result<(), Error> {
    if ended { Ok(()) } else { Err(Error::internal("a phase was closed before both of its directions had ended")) }
}

/// A generator of its own for a stage: 256 bits of the session's.
fn fork(rng: &mut ChaCha20Rng) -> ChaCha20Rng {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut seed[..]);
    ChaCha20Rng::from_seed(*seed)
}

fn confirm_schema() -> SchemaRef {
    binary_schema(&[("transcript", 32)])
}

fn release_schema() -> SchemaRef {
    binary_schema(&[("transcript", 32), ("share", 16)])
}

fn transcript_batch(transcript: &[u8; 32]) -> Result<RecordBatch, Error> {
    let array = FixedSizeBinaryArray::new(32, transcript.to_vec().into(), None);
    RecordBatch::try_new(confirm_schema(), vec![Arc::new(array)]).map_err(Error::internal)
}

/// One row per word: the transcript, and the share as 16 bytes, little-endian (zeros above a 64-bit word).
fn release_batch(transcript: &[u8; 32], words: &[u128]) -> Result<RecordBatch, Error> {
    let transcripts: ArrayRef = Arc::new(FixedSizeBinaryArray::new(32, transcript.repeat(words.len()).into(), None));
    let shares: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let shares: ArrayRef = Arc::new(FixedSizeBinaryArray::new(16, shares.into(), None));
    RecordBatch::try_new(release_schema(), vec![transcripts, shares]).map_err(Error::internal)
}

fn check_transcript(expected: &[u8; 32], batch: &RecordBatch) -> Result<(), Error> {
    let column = binary_column(batch, 0)?;
    let equal = (0..batch.num_rows()).all(|row| column.value(row) == expected);
    if equal { Ok(()) } else { Err(PeerMisbehaved::Transcript.into()) }
}

fn read_shares(column: &FixedSizeBinaryArray, widths: Vec<WordWidth>) -> Result<AdditiveShares, Error> {
    let mut words = Vec::with_capacity(widths.len());
    for (row, width) in widths.iter().enumerate() {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(column.value(row));
        let word = u128::from_le_bytes(bytes);
        if *width == WordWidth::Bits64 && word >> 64 != 0 {
            let reason = "a 64-bit share has more than 64 bits".to_owned();
            return Err(PeerMisbehaved::Inconsistent { phase: Phase::Release, reason }.into());
        }
        words.push(word);
    }
    AdditiveShares::new(widths, words).map_err(Error::internal)
}
