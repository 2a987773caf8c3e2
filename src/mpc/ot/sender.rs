//! The Sender: owns the values, holds Δ.
//!
//! ```text
//! Sender ──BaseReply──▶ SenderExtending ──Corrections, each──▶ … ──Challenge out──▶ SenderChallenging
//!        ──Check──▶ SenderPaying ──Payload out, each──▶ … ──▶ AdditiveShares
//! ```
//! A payload can be had from [`SenderPaying`] alone, and that from a passed check alone.

use std::ops::Range;

use rand_core::CryptoRng;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::{
    super::{
        domain::{Binding, Bound},
        error::{Misuse, OtError, PeerMisbehaved},
        share::AdditiveShares,
    },
    base::Chooser,
    check::{CHECK_ROWS, CheckMatrix, Transcript},
    messages::{BaseChoices, BaseReply, Challenge, Check, Corrections, Payload},
    pads::{Pads, Values},
    parameters::{BLOCK_ROWS, Parameters},
    pprf,
    vole::Leaves,
};

/// Waits for [`BaseReply`].
pub struct Sender {
    parameters: Parameters,
    bound: Bound,
    delta: Zeroizing<u128>,
    chooser: Chooser,
    transcript: Transcript,
}

impl Sender {
    /// Begins: draws Δ and chooses its complement's bits in the base OTs.
    pub fn start(parameters: Parameters, binding: Binding<'_>, rng: &mut impl CryptoRng) -> (Self, BaseChoices) {
        let bound = parameters.bind(binding);
        let mut bytes = Zeroizing::new([0; 16]);
        rng.fill_bytes(&mut bytes[..]);
        let delta = Zeroizing::new(u128::from_le_bytes(*bytes));
        let (chooser, rows) = Chooser::start(&bound, !*delta, rng);
        let mut transcript = Transcript::new();
        transcript.add(&rows);
        (Self { parameters, bound, delta, chooser, transcript }, BaseChoices(rows))
    }

    /// Takes the base OTs' and the trees' answer.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: an element that is none or the identity, inconsistent trees.
    pub fn reply(mut self, reply: BaseReply) -> Result<SenderExtending, OtError> {
        let (elements, trees) = reply.parse(&self.parameters)?;
        self.transcript.add(&reply.0);
        let seeds = self.chooser.finish(&self.bound, &elements)?;
        let field_bits = self.parameters.field_bits();
        let seeds = pprf::evaluate(&self.bound, field_bits, *self.delta, &seeds, &trees)?;
        let leaves = Leaves::punctured(field_bits, &seeds);
        Ok(SenderExtending::new(self.parameters, self.bound, self.delta, leaves, self.transcript))
    }
}

/// Takes [`Corrections`] chunk by chunk, then gives the [`Challenge`].
pub struct SenderExtending {
    parameters: Parameters,
    bound: Bound,
    delta: Zeroizing<u128>,
    leaves: Leaves,
    /// q_i, 128 rows per block, the check's extra block last.
    rows: Zeroizing<Vec<u128>>,
    /// Blocks received.
    done: usize,
    transcript: Transcript,
}

impl SenderExtending {
    pub(super) fn new(
        parameters: Parameters,
        bound: Bound,
        delta: Zeroizing<u128>,
        leaves: Leaves,
        transcript: Transcript,
    ) -> Self {
        let rows = Zeroizing::new(vec![0; (parameters.blocks() + 1) * BLOCK_ROWS]);
        Self { parameters, bound, delta, leaves, rows, done: 0, transcript }
    }

    /// Blocks of 128 OTs that are still to come; 0 when it is time for [`Self::challenge`].
    pub fn blocks_left(&self) -> usize {
        self.parameters.blocks() + 1 - self.done
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Rows`] for a chunk of another size than is due.
    pub fn accept(mut self, corrections: Corrections) -> Result<Self, OtError> {
        let due = self.blocks_left().min(self.parameters.correction_chunk_blocks());
        corrections.expect_blocks(&self.parameters, due)?;
        self.transcript.add(&corrections.0);
        let range = self.done * BLOCK_ROWS..(self.done + due) * BLOCK_ROWS;
        self.leaves.apply(self.done, *self.delta, &corrections.0, &mut self.rows[range]);
        self.done += due;
        Ok(self)
    }

    /// Draws the check's challenge: only now, as the corrections must not depend on it.
    ///
    /// # Errors
    /// [`Misuse::Incomplete`] while corrections are due.
    pub fn challenge(self, rng: &mut impl CryptoRng) -> Result<(SenderChallenging, Challenge), OtError> {
        if self.blocks_left() > 0 {
            return Err(Misuse::Incomplete { step: "corrections", left: self.blocks_left() }.into());
        }
        let mut challenge = [0; 16];
        rng.fill_bytes(&mut challenge);
        let state = SenderChallenging {
            matrix: CheckMatrix::new(&self.bound, self.transcript, &challenge),
            parameters: self.parameters,
            bound: self.bound,
            delta: self.delta,
            rows: self.rows,
        };
        Ok((state, Challenge(challenge.to_vec())))
    }
}

/// Waits for [`Check`].
pub struct SenderChallenging {
    parameters: Parameters,
    bound: Bound,
    delta: Zeroizing<u128>,
    rows: Zeroizing<Vec<u128>>,
    matrix: CheckMatrix,
}

impl SenderChallenging {
    /// Compares the answer: R·W = Ṽ ⊕ ũ ⊗ Δ.
    ///
    /// # Errors
    /// [`PeerMisbehaved::ConsistencyCheck`]: the corrections, or the answer, were not honest.
    pub fn verify(mut self, check: Check) -> Result<SenderPaying, OtError> {
        let (bits, columns) = check.0.as_chunks::<8>().0.split_first().ok_or(PeerMisbehaved::ConsistencyCheck)?;
        let bits = u64::from_le_bytes(*bits);
        let sums = Zeroizing::new(self.matrix.compress(&self.rows));
        let mut same = (columns.len() as u64).ct_eq(&(2 * CHECK_ROWS as u64));
        for (row, (sum, column)) in sums.iter().zip(columns.as_chunks::<2>().0).enumerate() {
            let [low, high] = column.map(u64::from_le_bytes);
            let claimed = low as u128 | (high as u128) << 64;
            let bit = subtle::Choice::from((bits >> row) as u8 & 1);
            let expected = claimed ^ u128::conditional_select(&0, &self.delta, bit);
            same &= sum.ct_eq(&expected);
        }
        if !bool::from(same) {
            return Err(PeerMisbehaved::ConsistencyCheck.into());
        }
        // Only the run's rows remain: neither the last block's filling nor the check's block is of
        // use.
        self.rows[self.parameters.rows()..].zeroize();
        self.rows.truncate(self.parameters.rows());
        Ok(SenderPaying {
            pads: Pads::new(&self.bound, &self.parameters),
            shares: Zeroizing::new(vec![0; self.parameters.words().len()]),
            done: 0,
            parameters: self.parameters,
            delta: self.delta,
            rows: self.rows,
        })
    }
}

/// The check has passed: gives [`Payload`] chunk by chunk, then the shares.
pub struct SenderPaying {
    parameters: Parameters,
    delta: Zeroizing<u128>,
    rows: Zeroizing<Vec<u128>>,
    pads: Pads,
    shares: Zeroizing<Vec<u128>>,
    /// Rows paid.
    done: usize,
}

impl SenderPaying {
    /// The rows of the run that the next chunk takes; none when it is time for [`Self::finish`].
    pub fn next_rows(&self) -> Option<Range<usize>> {
        next_payload(&self.parameters, self.done)
    }

    /// Masks the next chunk's values: one column per word, one value per row of
    /// [`Self::next_rows`].
    ///
    /// # Errors
    /// [`Misuse`] for columns of another number, length or width; the chunk can be tried again.
    pub fn pay(&mut self, values: &[Values<'_>]) -> Result<Payload, OtError> {
        let found = values.first().map_or(0, Values::len);
        let range = self.next_rows().ok_or(Misuse::ValueCount { word: 0, expected: 0, found })?;
        let words = self.parameters.words();
        if values.len() != words.len() {
            return Err(Misuse::ColumnCount { expected: words.len(), found: values.len() }.into());
        }
        for (word, (values, width)) in values.iter().zip(words).enumerate() {
            if values.width() != *width {
                return Err(Misuse::ValueWidth { word }.into());
            }
            if values.len() != range.len() {
                return Err(Misuse::ValueCount { word, expected: range.len(), found: values.len() }.into());
            }
        }
        let mut payload = vec![0; range.len() * self.parameters.payload_row_bytes()];
        let rows = &self.rows[range.clone()];
        let shares = self.pads.pay(range.start, rows, *self.delta, values, &mut payload);
        add_shares(&mut self.shares, shares);
        self.done = range.end;
        Ok(Payload(payload))
    }

    /// Both outputs of the random OTs of `rows`, 128 bits each, for functions that do not add: r_0
    /// and r_1. They are independent of the payload's pads.
    ///
    /// # Errors
    /// [`Misuse::RowRange`] beyond the run's rows.
    pub fn random_pairs(&self, rows: Range<usize>) -> Result<RandomPairs, OtError> {
        check_range(&self.parameters, &rows)?;
        Ok(RandomPairs {
            zero: Zeroizing::new(self.pads.random(rows.clone(), &self.rows, 0)),
            one: Zeroizing::new(self.pads.random(rows, &self.rows, *self.delta)),
        })
    }

    /// The Sender's shares, −Σ r_0 per word.
    ///
    /// # Errors
    /// [`Misuse::Incomplete`] while payload is due.
    pub fn finish(self) -> Result<AdditiveShares, OtError> {
        finish(&self.parameters, self.done, &self.shares)
    }
}

/// Both outputs of some rows' random OTs. Zeroized on drop.
pub struct RandomPairs {
    /// r_0 by row.
    pub zero: Zeroizing<Vec<u128>>,
    /// r_1 by row.
    pub one: Zeroizing<Vec<u128>>,
}

pub(super) fn next_payload(parameters: &Parameters, done: usize) -> Option<Range<usize>> {
    if parameters.words().is_empty() || done >= parameters.rows() {
        return None;
    }
    Some(done..parameters.rows().min(done + parameters.payload_chunk_rows()))
}

pub(super) fn check_range(parameters: &Parameters, range: &Range<usize>) -> Result<(), Misuse> {
    if range.start > range.end || range.end > parameters.rows() {
        return Err(Misuse::RowRange { end: range.end, rows: parameters.rows() });
    }
    Ok(())
}

pub(super) fn add_shares(shares: &mut [u128], mut summands: Vec<u128>) {
    shares.iter_mut().zip(&summands).for_each(|(share, summand)| *share = share.wrapping_add(*summand));
    summands.zeroize();
}

pub(super) fn finish(parameters: &Parameters, done: usize, shares: &[u128]) -> Result<AdditiveShares, OtError> {
    if let Some(rows) = next_payload(parameters, done) {
        return Err(Misuse::Incomplete { step: "payload", left: parameters.rows() - rows.start }.into());
    }
    Ok(AdditiveShares::new(parameters.words().to_vec(), shares.to_vec())?)
}
