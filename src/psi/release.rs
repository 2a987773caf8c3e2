//! The release: the one message in which an answer leaves the responder.
//!
//! | direction | columns | rows |
//! |---|---|---|
//! | up | `transcript`: FixedSizeBinary(32), `signature`: Binary | 1 |
//! | down | `transcript`: FixedSizeBinary(32), `share`: FixedSizeBinary(16), `signature`: Binary | of each cell, one per aggregate, in the question's order |
//!
//! Cells come part by part, and within a part label by label. A share is an additive share, little-endian, zeros above a
//! 64-bit word. The signature is the sender's over the [`Receipt`], in the first row, of no bytes in all others; of none there
//! too where the hello says `receipts` = `none`. The responder's shares leave once it has held the requester's transcript
//! hash and signature against its own.
//!
//! # The noise of the outputs
//! The two sides hold a + b = S (mod 2^w) for each aggregate of each cell, a the requester's, b the responder's additive share. The
//! responder sends b + X, X being the whole noise of the word's [`Noise`](crate::dp::Noise), drawn afresh for every cell,
//! and the requester opens S + X. The word's noise is made for all its cells together: it covers how far the vector of them
//! moves, by the sum of absolute values, when one entry is emptied.
//!
//! *Why one party adds all of it.* Only the requester sees the result, so the noise has to protect the responder's entries
//! against the requester, and against nobody else. A part of it that the requester drew would be known to the
//! requester, and subtracted: what protects is the other's part alone, so that has to be enough, and then it is all that
//! is needed. (The requester's entries need no output noise: the responder sees no output.)
//!
//! *Why before the share leaves.* a and the transfer's messages are independent of S; b is the only message in which S
//! occurs. What the requester sees is therefore a function of its own randomness and of S + X: b + X = (S + X) − a. Noise
//! that were added after the release, by the requester's software, would be a request.
//!
//! *Why the wrap is harmless.* The opened word is (S + X) mod 2^w, read as a signed number: a function of S + X and of
//! nothing else. Differential privacy is closed under such post-processing, whatever w is. That the word is wide
//! enough for the noise but for its outermost 2^-64 ([`word_width`](crate::dp::word_width)) is for the answer's sake; where a word would have
//! to be wider than 128 bits the query is refused, by its shape and terms, before any value is looked at. The check of
//! the opened word against its bounds, by the requester, is post-processing too.
//!
//! *What is released besides.* The sizes, with the dummies' noise of their own: the view of a session is the
//! composition of both, and costs the sum of both budgets. `minimum_matched` is held against the noisy sizes, never
//! against a word: so that a query is refused for too few matches says nothing beyond the sizes.
//!
//! *When it is drawn.* Before the answer leaves, with filter and values: how long exact sampling takes depends on the
//! number that comes out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use zeroize::Zeroizing;

use crate::mpc::{AdditiveShares, WordWidth};

use super::frame::{Inbound, Outbound, binary_column};
use super::hello::{Answer, Offer};
use super::receipt::{Receipt, SignedReceipt, Verifier, Witness};
use super::{Error, Output, PeerMisbehaved, Phase, Progress, Role};

/// What the hello leaves for the release.
pub(crate) struct Closing {
    /// The noise of each cell's words, for the responder; empty for the requester, which adds none.
    pub(crate) noise: Zeroizing<Vec<i128>>,
    /// What is signed, where the hello says so.
    pub(crate) witnessed: Option<Witnessed>,
}

/// What a receipt is made of, and the keys.
pub(crate) struct Witnessed {
    pub(crate) witness: Witness,
    pub(crate) offer: Offer,
    pub(crate) answer: Answer,
}

/// The phase, open.
pub(crate) struct Release {
    role: Role,
    transcript: [u8; 32],
    shares: AdditiveShares,
    sums: Vec<i128>,
    signed: Option<Signed>,
    outbound: Outbound,
    inbound: Inbound,
}

struct Signed {
    receipt: Receipt,
    own_signature: Vec<u8>,
    peer: Arc<dyn Verifier>,
    peer_signature: Option<Vec<u8>>,
}

/// What the release leaves.
pub(crate) struct Released {
    /// The opened words, for the requester; empty for the responder.
    pub(crate) sums: Vec<i128>,
    pub(crate) receipt: Option<SignedReceipt>,
}

impl Release {
    /// Adds the noise to the shares, and signs.
    pub(crate) fn new(
        role: Role,
        transcript: [u8; 32],
        mut shares: AdditiveShares,
        closing: Closing,
        sizes: &[u64],
    ) -> Result<Self, Error> {
        // Of all cells.
        let words = shares.widths().len();
        let due = if role == Role::Responder { words } else { 0 };
        if closing.noise.len() != due {
            return Err(Error::internal("noise for another number of words"));
        }
        for (word, noise) in closing.noise.iter().enumerate() {
            shares.add(word, *noise).map_err(Error::internal)?;
        }
        let signed = match closing.witnessed {
            None => None,
            Some(Witnessed { witness, offer, answer }) => {
                let receipt = Receipt::new(offer, answer, sizes.to_vec());
                let own_signature = witness.own.sign(&receipt.message(role))?;
                Some(Signed { receipt, own_signature, peer: witness.peer, peer_signature: None })
            }
        };
        let (out_rows, in_rows) = match role {
            Role::Requester => (1, words as u64),
            Role::Responder => (words as u64, 1),
        };
        let inbound = Inbound::new(Phase::Release, schema(peer_of(role)), in_rows);
        let outbound = Outbound::new(out_rows);
        Ok(Release { role, transcript, shares, sums: Vec::new(), signed, outbound, inbound })
    }

    /// (what this side sends, what the peer sends).
    pub(crate) fn schemas(&self) -> (SchemaRef, SchemaRef) {
        (schema(self.role), schema(peer_of(self.role)))
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            rows_done: self.outbound.sent() + self.inbound.seen(),
            rows_total: self.outbound.total() + self.inbound.total(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Result<Output, Error> {
        // The shares leave once the requester has shown that it still holds the same transcript, and has signed.
        if self.role == Role::Responder && self.inbound.seen() < self.inbound.total() {
            return Ok(Output::Wait);
        }
        let Some(rows) = self.outbound.next_rows() else { return Ok(Output::Done) };
        let (count, opens) = (rows.len(), rows.start == 0);
        let transcripts = FixedSizeBinaryArray::new(32, self.transcript.repeat(count).into(), None);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(transcripts)];
        if self.role == Role::Responder {
            let shares: Vec<u8> = self.shares.words()[rows].iter().flat_map(|word| word.to_le_bytes()).collect();
            columns.push(Arc::new(FixedSizeBinaryArray::new(16, shares.into(), None)));
        }
        let signature = self.signed.as_ref().map_or(&[][..], |signed| &signed.own_signature);
        let signatures = (0..count).map(|row| if opens && row == 0 { signature } else { &[] });
        columns.push(Arc::new(BinaryArray::from_iter_values(signatures)));
        RecordBatch::try_new(schema(self.role), columns).map(Output::Batch).map_err(Error::internal)
    }

    pub(crate) fn receive(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let rows = self.inbound.accept(batch)?;
        check_transcript(&self.transcript, batch)?;
        self.check_signature(batch, rows.start)?;
        if self.role == Role::Requester {
            let widths = self.shares.widths()[rows.clone()].to_vec();
            let theirs = read_shares(binary_column(batch, 1)?, widths.clone())?;
            let ours = AdditiveShares::new(widths, self.shares.words()[rows].to_vec()).map_err(Error::internal)?;
            self.sums.extend(AdditiveShares::open(&ours, &theirs).map_err(Error::internal)?);
        }
        Ok(())
    }

    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        Ok(self.inbound.end()?)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.outbound.is_done() && self.inbound.is_ended()
    }

    /// What was released, after the phase has ended.
    pub(crate) fn finish(self) -> Result<Released, Error> {
        let receipt = match self.signed {
            None => None,
            Some(Signed { receipt, own_signature, peer_signature: Some(peer_signature), .. }) => {
                Some(SignedReceipt { text: receipt.text().to_owned(), own_signature, peer_signature })
            }
            Some(_) => return Err(Error::internal("a release has ended without the peer's signature")),
        };
        Ok(Released { sums: self.sums, receipt })
    }

    /// The last column: in the first row of all the peer's signature, or nothing where none was agreed; nothing in others.
    fn check_signature(&mut self, batch: &RecordBatch, first_row: usize) -> Result<(), Error> {
        let column = batch
            .columns()
            .last()
            .and_then(|column| column.as_any().downcast_ref::<BinaryArray>())
            .ok_or_else(|| Error::internal("a checked release has a signature of another type"))?;
        for (row, signature) in (first_row..).zip(column.iter().flatten()) {
            match &mut self.signed {
                Some(signed) if row == 0 => {
                    signed.receipt.verify(peer_of(self.role), signature, signed.peer.as_ref())?;
                    signed.peer_signature = Some(signature.to_vec());
                }
                _ if signature.is_empty() => {}
                Some(_) => return Err(PeerMisbehaved::Signature("there is a second one".to_owned()).into()),
                None => return Err(PeerMisbehaved::Signature("there is one where none was agreed".to_owned()).into()),
            }
        }
        Ok(())
    }
}

fn peer_of(role: Role) -> Role {
    match role {
        Role::Requester => Role::Responder,
        Role::Responder => Role::Requester,
    }
}

/// What `role` sends.
fn schema(role: Role) -> SchemaRef {
    let mut fields = vec![Field::new("transcript", DataType::FixedSizeBinary(32), false)];
    if role == Role::Responder {
        fields.push(Field::new("share", DataType::FixedSizeBinary(16), false));
    }
    fields.push(Field::new("signature", DataType::Binary, false));
    Arc::new(Schema::new(fields))
}

/// The transcript of each row against this side's.
pub(crate) fn check_transcript(expected: &[u8; 32], batch: &RecordBatch) -> Result<(), Error> {
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
