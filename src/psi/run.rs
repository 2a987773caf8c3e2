//! What both roles do after the hello: confirm, match, aggregate, release.

use std::sync::Arc;

use arrow::array::{FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use rand_core::{Rng, SeedableRng};

use crate::crypto::ChaCha20Rng;
use crate::dp::Spent;
use crate::mpc::WordWidth;

use super::aggregation::{Aggregation, Owned};
use super::ahead::BlindedAhead;
use super::frame::{Inbound, Outbound, binary_schema};
use super::hello::WordTerms;
use super::matching::Matching;
use super::receipt::SignedReceipt;
use super::release::{Closing, Release, Released, check_transcript};
use super::spill::Spill;
use super::table::{Entries, PartRows, WireTable};
use super::{Error, Output, PeerMisbehaved, Phase, Progress, Role};

/// What the hello has settled, equal on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) transcript: [u8; 32],
    pub(crate) columns: usize,
    /// Entries without dummies: those of each of the requester's parts, the responder's.
    pub(crate) requester_parts: Vec<u64>,
    pub(crate) responder_persons: u64,
    /// τ: dummies per column, part and party.
    pub(crate) dummies: u64,
    /// Per aggregate: who owns its values, its clip bounds, its width.
    pub(crate) words: Vec<AgreedWord>,
    /// The labels that the answer is grouped by; 1 where it is by none.
    pub(crate) labels: usize,
    pub(crate) minimum_matched: u64,
    pub(crate) ot_width: u8,
}

/// One aggregate, settled.
#[derive(Debug, Clone)]
pub(crate) struct AgreedWord {
    pub(crate) owner: Role,
    pub(crate) terms: WordTerms,
    pub(crate) width: WordWidth,
}

impl Agreed {
    /// How many parts the requester's table has.
    fn parts(&self) -> usize {
        self.requester_parts.len()
    }

    /// How many cells the answer has.
    pub(crate) fn cells(&self) -> usize {
        self.parts() * self.labels
    }

    /// Dummies of one part: K·τ.
    fn part_dummies(&self) -> u64 {
        self.columns as u64 * self.dummies
    }

    /// The rows of the requester's wire table, by part.
    pub(crate) fn part_rows(&self) -> PartRows {
        PartRows::new(self.requester_parts.iter().map(|persons| persons + self.part_dummies()))
    }

    /// The rows of a side's wire table.
    pub(crate) fn rows(&self, role: Role) -> u64 {
        let persons = match role {
            Role::Requester => self.requester_parts.iter().sum::<u64>(),
            Role::Responder => self.responder_persons,
        };
        persons + self.parts() as u64 * self.part_dummies()
    }

    /// Matched dummies to be expected over all columns and parts, times two: parts·K·τ (the overlap of a column in a part
    /// is τ/2 in the mean).
    fn dummy_matches_doubled(&self) -> u64 {
        self.parts() as u64 * self.part_dummies()
    }
}

/// What a run has shown this side, and for the requester the answer.
pub(crate) struct Finished {
    /// The noisy number of matches per column and part.
    pub(crate) sizes: Vec<u64>,
    /// The opened cells, for the requester, in each a sum per aggregate; none for the responder.
    pub(crate) cells: Vec<Vec<i128>>,
    /// The receipt, where the hello says that there is one.
    pub(crate) receipt: Option<SignedReceipt>,
}

/// The run after the hello.
pub(crate) struct Run {
    role: Role,
    agreed: Agreed,
    /// Proof that the budget was charged: a run cannot be made without one.
    _spent: Spent,
    sizes: Vec<u64>,
    /// Until the release opens.
    closing: Option<Closing>,
    /// Where columns lie that memory has no room for.
    spill: Option<Arc<dyn Spill>>,
    /// This side's rows, if they were blinded before; until the matching begins.
    ahead: Option<BlindedAhead>,
    stage: Stage,
}

enum Stage {
    Confirm { entries: Entries, rng: ChaCha20Rng, outbound: Outbound, inbound: Inbound },
    Match { matching: Box<Matching>, rng: ChaCha20Rng },
    Aggregate(Box<Aggregation>),
    Release(Box<Release>),
    Finished { sums: Vec<i128>, receipt: Option<SignedReceipt> },
    Failed,
}

impl Run {
    pub(crate) fn new(
        role: Role,
        agreed: Agreed,
        entries: Entries,
        spent: Spent,
        closing: Closing,
        rng: ChaCha20Rng,
    ) -> Self {
        let outbound = Outbound::new(1);
        let inbound = Inbound::new(Phase::Confirm, confirm_schema(), 1);
        Run {
            role,
            agreed,
            _spent: spent,
            sizes: Vec::new(),
            closing: Some(closing),
            spill: None,
            ahead: None,
            stage: Stage::Confirm { entries, rng, outbound, inbound },
        }
    }

    /// The same, with columns that are kept in files if there is a `spill`.
    pub(crate) fn with_spill(self, spill: Option<Arc<dyn Spill>>) -> Self {
        Run { spill, ..self }
    }

    /// The same, with rows that were blinded before if there are any. They are of these entries.
    pub(crate) fn with_ahead(self, ahead: Option<BlindedAhead>) -> Self {
        Run { ahead, ..self }
    }

    pub(crate) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// The noisy number of matches per column and part, as far as columns have been matched.
    pub(crate) fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        match &self.stage {
            Stage::Confirm { .. } => Some(Phase::Confirm),
            Stage::Match { matching, .. } => matching.phase(),
            Stage::Aggregate(aggregation) => aggregation.phase(),
            Stage::Release(_) => Some(Phase::Release),
            Stage::Finished { .. } | Stage::Failed => None,
        }
    }

    /// (what this side sends, what the peer sends).
    pub(crate) fn schemas(&self) -> (SchemaRef, SchemaRef) {
        match &self.stage {
            Stage::Match { matching, .. } => matching.schemas(),
            Stage::Aggregate(aggregation) => aggregation.schemas(),
            Stage::Release(release) => release.schemas(),
            _ => (confirm_schema(), confirm_schema()),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        match &self.stage {
            Stage::Match { matching, .. } => matching.progress(),
            Stage::Aggregate(aggregation) => aggregation.progress(),
            Stage::Release(release) => release.progress(),
            Stage::Confirm { outbound, inbound, .. } => {
                Progress { rows_done: outbound.sent() + inbound.seen(), rows_total: outbound.total() + inbound.total() }
            }
            Stage::Finished { .. } | Stage::Failed => Progress { rows_done: 0, rows_total: 0 },
        }
    }

    pub(crate) fn poll_outputs(&mut self, most: usize) -> Result<Vec<Output>, Error> {
        let transcript = self.agreed.transcript;
        let one = match &mut self.stage {
            Stage::Confirm { outbound, .. } => match outbound.next_rows() {
                Some(_) => Output::Batch(transcript_batch(&transcript)?),
                None => Output::Done,
            },
            Stage::Match { matching, .. } => return matching.poll_outputs(most),
            // Narrow: one after the other, each in parallel inside.
            Stage::Aggregate(aggregation) => aggregation.poll_output()?,
            Stage::Release(release) => release.poll_output()?,
            Stage::Finished { .. } => Output::Done,
            Stage::Failed => return Err(Error::internal("a failed session was asked for output")),
        };
        Ok(vec![one])
    }

    pub(crate) fn receive_all(&mut self, batches: &[RecordBatch]) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Match { matching, .. } => matching.receive_all(batches),
            _ => batches.iter().try_for_each(|batch| self.receive(batch)),
        }
    }

    fn receive(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Confirm { inbound, .. } => {
                inbound.accept(batch)?;
                check_transcript(&self.agreed.transcript, batch)
            }
            Stage::Match { matching, .. } => matching.receive_all(std::slice::from_ref(batch)),
            Stage::Aggregate(aggregation) => aggregation.receive(batch),
            Stage::Release(release) => release.receive(batch),
            Stage::Finished { .. } | Stage::Failed => Err(Error::internal("a batch after the session's end")),
        }
    }

    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Confirm { inbound, .. } => Ok(inbound.end()?),
            Stage::Release(release) => release.end_input(),
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
                let mut table = {
                    let Agreed { dummies, transcript, .. } = &self.agreed;
                    WireTable::new(entries, self.agreed.parts(), *dummies, transcript, &mut rng)
                };
                if let Some(ahead) = self.ahead.take() {
                    table.take_up(ahead, &mut rng)?;
                }
                let peer = match self.role {
                    Role::Requester => Role::Responder,
                    Role::Responder => Role::Requester,
                };
                let (peer_rows, part_rows) = (self.agreed.rows(peer), self.agreed.part_rows());
                let matching =
                    Matching::new(self.role, table, peer_rows, part_rows, self.spill.take(), fork(&mut rng))?;
                Stage::Match { matching: Box::new(matching), rng }
            }
            Stage::Match { mut matching, mut rng } => {
                both_ended(matching.phase_ended())?;
                matching.advance()?;
                self.sizes = matching.sizes().to_vec();
                if matching.phase().is_some() {
                    Stage::Match { matching, rng }
                } else {
                    let matches = matching.finish();
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
            Stage::Release(release) => {
                both_ended(release.is_ended())?;
                let Released { sums, receipt } = release.finish()?;
                Stage::Finished { sums, receipt }
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
            Stage::Finished { sums, receipt } => {
                let cells: Vec<Vec<i128>> = sums.chunks(self.agreed.words.len()).map(<[i128]>::to_vec).collect();
                self.check_bounds(&cells)?;
                Ok(Finished { sizes: self.sizes, cells, receipt })
            }
            _ => Err(Error::internal("the outcome of a session that has not ended")),
        }
    }

    /// The responder's rule `minimum_matched`, before the oblivious transfer: Σ sizes − parts·K·τ/2 is the
    /// unbiased estimate of the matched persons. The charge stays.
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

    fn open_release(&mut self, owned: Owned) -> Result<Stage, Error> {
        let shares = owned.in_cells(&self.agreed)?;
        let closing = self.closing.take().ok_or_else(|| Error::internal("a release was opened twice"))?;
        let release = Release::new(self.role, self.agreed.transcript, shares, closing, &self.sizes)?;
        Ok(Stage::Release(Box::new(release)))
    }

    /// A sum outside what n clipped totals and the noise can make (but for the noise's outermost 2^-64), n being the
    /// entries of the cell's part or of the responder's table, is the peer's doing: better an error than a wrong answer.
    fn check_bounds(&self, cells: &[Vec<i128>]) -> Result<(), Error> {
        for (part, cells) in self.agreed.requester_parts.iter().zip(cells.chunks(self.agreed.labels)) {
            let persons = i128::from(*part.min(&self.agreed.responder_persons));
            for (sum, word) in cells.iter().flat_map(|sums| sums.iter().zip(&self.agreed.words)) {
                // The word's width has room for both, with its sign.
                let tail = i128::try_from(word.terms.noise.tail()).unwrap_or(i128::MAX);
                let least = (persons * word.terms.min.min(0)).saturating_sub(tail);
                let greatest = (persons * word.terms.max.max(0)).saturating_add(tail);
                if !(least..=greatest).contains(sum) {
                    let reason = "a sum opens to more than the clip bounds and the noise allow".to_owned();
                    return Err(PeerMisbehaved::Inconsistent { phase: Phase::Release, reason }.into());
                }
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

fn transcript_batch(transcript: &[u8; 32]) -> Result<RecordBatch, Error> {
    let array = FixedSizeBinaryArray::new(32, transcript.to_vec().into(), None);
    RecordBatch::try_new(confirm_schema(), vec![Arc::new(array)]).map_err(Error::internal)
}
