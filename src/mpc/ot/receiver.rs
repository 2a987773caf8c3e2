//! The Receiver: holds the choice bits.
//!
//! ```text
//! Receiver ──BaseChoices in, BaseReply out──▶ ReceiverExtending ──Corrections out, each──▶ …
//!          ──▶ ReceiverChallenged ──Challenge in, Check out──▶ ReceiverPaid ──Payload in, each──▶ … ──▶ AdditiveShares
//! ```

use std::ops::Range;

use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::{
    super::{
        domain::{Binding, Bound},
        error::{Misuse, OtError, PeerMisbehaved},
        share::AdditiveShares,
    },
    base,
    check::{CHECK_ROWS, CheckMatrix, Transcript},
    messages::{BaseChoices, BaseReply, Challenge, Check, Corrections, Message, Payload},
    pads::Pads,
    parameters::{BLOCK_ROWS, COLUMNS, Parameters},
    pprf,
    sender::{add_shares, check_range, finish, next_payload},
    vole::Leaves,
};

/// One choice bit per row, packed; zeroized on drop.
pub struct Choices {
    /// 128 rows per number, row r of a block at bit r; bits past the end are 0.
    blocks: Zeroizing<Vec<u128>>,
    rows: usize,
}

impl Choices {
    /// Packs one bit per row: whether the row is chosen, thus counted.
    pub fn new(chosen: impl IntoIterator<Item = bool>) -> Self {
        let chosen = chosen.into_iter();
        let expected = chosen.size_hint().0.div_ceil(BLOCK_ROWS) + 1;
        let (mut blocks, mut rows) = (Zeroizing::new(Vec::with_capacity(expected)), 0);
        for bit in chosen {
            if rows % BLOCK_ROWS == 0 {
                blocks.push(0);
            }
            if let Some(block) = blocks.last_mut() {
                *block |= u128::from(bit) << (rows % BLOCK_ROWS);
            }
            rows += 1;
        }
        Self { blocks, rows }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

/// Waits for [`BaseChoices`].
pub struct Receiver {
    parameters: Parameters,
    bound: Bound,
    choices: Choices,
}

impl Receiver {
    /// Begins, with one choice bit per row.
    ///
    /// # Errors
    /// [`Misuse::ChoiceCount`].
    pub fn start(parameters: Parameters, binding: Binding<'_>, choices: Choices) -> Result<Self, OtError> {
        if choices.len() != parameters.rows() {
            return Err(Misuse::ChoiceCount { expected: parameters.rows(), found: choices.len() }.into());
        }
        let bound = parameters.bind(binding);
        Ok(Self { parameters, bound, choices })
    }

    /// Answers the base OTs and builds the trees; draws the choices that fill the last block and
    /// hide the check.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: an element that is none, the identity, or cancels its hash.
    pub fn reply(self, base: BaseChoices, rng: &mut impl CryptoRng) -> Result<(ReceiverExtending, BaseReply), OtError> {
        let width = BaseChoices::row_bytes(&self.parameters);
        if base.0.len() != COLUMNS * width {
            let found = base.0.len() / width;
            return Err(PeerMisbehaved::Rows { message: BaseChoices::NAME, expected: COLUMNS, found }.into());
        }
        let (elements, seeds) = base::reply(&self.bound, &base.0, rng)?;
        let field_bits = self.parameters.field_bits();
        let (seeds, trees) = pprf::build(&self.bound, field_bits, &seeds);
        let mut choices = self.choices.blocks;
        let mut random = || {
            let mut bytes = Zeroizing::new([0; 16]);
            rng.fill_bytes(&mut bytes[..]);
            u128::from_le_bytes(*bytes)
        };
        let within = self.parameters.rows() % BLOCK_ROWS;
        if let (Some(last), 1..) = (choices.last_mut(), within) {
            *last |= random() << within;
        }
        choices.push(random());
        let reply = BaseReply::encode(&elements, &trees);
        let mut transcript = Transcript::new();
        transcript.add(&base.0);
        transcript.add(&reply.0);
        let leaves = Leaves::all(field_bits, &seeds);
        Ok((ReceiverExtending::new(self.parameters, self.bound, leaves, choices, transcript), reply))
    }
}

/// Gives [`Corrections`] chunk by chunk.
pub struct ReceiverExtending {
    parameters: Parameters,
    bound: Bound,
    leaves: Leaves,
    choices: Zeroizing<Vec<u128>>,
    /// t_i, 128 rows per block, the check's extra block last.
    rows: Zeroizing<Vec<u128>>,
    /// Blocks sent.
    done: usize,
    transcript: Transcript,
}

impl ReceiverExtending {
    /// `choices`: whole blocks, the filling of the last and the extra block included.
    pub(super) fn new(
        parameters: Parameters,
        bound: Bound,
        leaves: Leaves,
        choices: Zeroizing<Vec<u128>>,
        transcript: Transcript,
    ) -> Self {
        let rows = Zeroizing::new(vec![0; choices.len() * BLOCK_ROWS]);
        Self { parameters, bound, leaves, choices, rows, done: 0, transcript }
    }

    /// The next chunk; none when it is time for [`Self::finish`]. Both ends compute while chunks
    /// travel.
    pub fn corrections(&mut self) -> Option<Corrections> {
        self.corrections_then(|_| ())
    }

    /// The same, changed by `lie` before they are hashed: how tests play a Receiver that deviates.
    pub(super) fn corrections_then(&mut self, lie: impl FnOnce(&mut [u8])) -> Option<Corrections> {
        let left = self.choices.len() - self.done;
        let count = left.min(self.parameters.correction_chunk_blocks());
        if count == 0 {
            return None;
        }
        let end = self.done + count;
        let mut corrections = vec![0; count * Corrections::row_bytes(&self.parameters)];
        self.leaves.correct(
            self.done,
            &self.choices[self.done..end],
            &mut self.rows[self.done * BLOCK_ROWS..end * BLOCK_ROWS],
            &mut corrections,
        );
        self.done = end;
        lie(&mut corrections);
        self.transcript.add(&corrections);
        Some(Corrections(corrections))
    }

    /// Ends the corrections; the leaves' keys are zeroized.
    ///
    /// # Errors
    /// [`Misuse::Incomplete`] while [`Self::corrections`] gives any.
    pub fn finish(self) -> Result<ReceiverChallenged, OtError> {
        let left = self.choices.len() - self.done;
        if left > 0 {
            return Err(Misuse::Incomplete { step: "corrections", left }.into());
        }
        Ok(ReceiverChallenged {
            parameters: self.parameters,
            bound: self.bound,
            choices: self.choices,
            rows: self.rows,
            transcript: self.transcript,
        })
    }
}

/// Waits for [`Challenge`].
pub struct ReceiverChallenged {
    parameters: Parameters,
    bound: Bound,
    choices: Zeroizing<Vec<u128>>,
    rows: Zeroizing<Vec<u128>>,
    transcript: Transcript,
}

impl ReceiverChallenged {
    /// Answers the check: ũ = R·u and Ṽ = R·V.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Rows`] for a challenge of another length.
    pub fn answer(mut self, challenge: Challenge) -> Result<(ReceiverPaid, Check), OtError> {
        let (seed, rest) = challenge.0.as_chunks::<16>();
        let ([seed], []) = (seed, rest) else {
            return Err(PeerMisbehaved::Rows { message: Challenge::NAME, expected: 1, found: seed.len() }.into());
        };
        let matrix = CheckMatrix::new(&self.bound, self.transcript, seed);
        let mut check = Vec::with_capacity(CHECK_ROWS / 8 + CHECK_ROWS * 16);
        check.extend_from_slice(&matrix.compress_bits(&self.choices).to_le_bytes());
        for sum in matrix.compress(&self.rows) {
            check.extend_from_slice(&sum.to_le_bytes());
        }
        self.rows[self.parameters.rows()..].zeroize();
        self.rows.truncate(self.parameters.rows());
        let state = ReceiverPaid {
            pads: Pads::new(&self.bound, &self.parameters),
            shares: Zeroizing::new(vec![0; self.parameters.words().len()]),
            done: 0,
            parameters: self.parameters,
            choices: self.choices,
            rows: self.rows,
        };
        Ok((state, Check(check)))
    }
}

/// Takes [`Payload`] chunk by chunk, then gives the shares.
pub struct ReceiverPaid {
    parameters: Parameters,
    choices: Zeroizing<Vec<u128>>,
    rows: Zeroizing<Vec<u128>>,
    pads: Pads,
    shares: Zeroizing<Vec<u128>>,
    /// Rows received.
    done: usize,
}

impl ReceiverPaid {
    /// Payload rows that are still to come; 0 when it is time for [`Self::finish`].
    pub fn rows_left(&self) -> usize {
        next_payload(&self.parameters, self.done).map_or(0, |rows| self.parameters.rows() - rows.start)
    }

    /// Takes the next chunk. A falsified one is not noticed, nor need it be: it is the same as
    /// other values from its sender, who may choose them.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Rows`] for a chunk of another size than is due.
    pub fn accept(mut self, payload: Payload) -> Result<Self, OtError> {
        let range = next_payload(&self.parameters, self.done).unwrap_or(self.done..self.done);
        payload.expect_rows(&self.parameters, range.len())?;
        let rows = &self.rows[range.clone()];
        add_shares(&mut self.shares, self.pads.collect(range.start, rows, &self.choices, &payload.0));
        self.done = range.end;
        Ok(self)
    }

    /// The chosen outputs of the random OTs of `rows`, 128 bits each, for functions that do not
    /// add: r_b. They are independent of the payload's pads.
    ///
    /// # Errors
    /// [`Misuse::RowRange`] beyond the run's rows.
    pub fn random_chosen(&self, rows: Range<usize>) -> Result<RandomChosen, OtError> {
        check_range(&self.parameters, &rows)?;
        Ok(RandomChosen { chosen: Zeroizing::new(self.pads.random(rows, &self.rows, 0)) })
    }

    /// The Receiver's shares, Σ (r_0 + b·v) per word.
    ///
    /// # Errors
    /// [`Misuse::Incomplete`] while payload is due.
    pub fn finish(self) -> Result<AdditiveShares, OtError> {
        finish(&self.parameters, self.done, &self.shares)
    }
}

/// The chosen outputs of some rows' random OTs. Zeroized on drop.
pub struct RandomChosen {
    /// r_b by row.
    pub chosen: Zeroizing<Vec<u128>>,
}
