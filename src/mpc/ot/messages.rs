//! The messages: each is one column of rows of a fixed width, so that it fits one Arrow
//! `FixedSizeBinary` column.
//!
//! | Message | From | Rows | Bytes per row |
//! |---|---|---|---|
//! | [`BaseChoices`] | Sender | 128 | 64: R_0 ‖ R_1 |
//! | [`BaseReply`] | Receiver | 128/k trees | 64k + 32: k elements M, k − 1 pairs of sums, proof sum, proof digest |
//! | [`Corrections`] | Receiver | blocks of 128 OTs, ⌈n/128⌉ + 1 in all | 2048/k: 16 per tree, bit r of the little-endian number belongs to the block's row r |
//! | [`Challenge`] | Sender | 1 | 16 |
//! | [`Check`] | Receiver | 1 | 1032: 8 for the choices, then 64 × 16 for the columns |
//! | [`Payload`] | Sender | n in all | the words' bytes, little-endian, 8 or 16 each, in order |
//!
//! `Corrections` and `Payload` come in chunks, every one but the last of the size that
//! [`Parameters`] give. Numbers are little-endian. Decoding checks width and whole rows and, where
//! one message is all, the count; counts of chunks are checked where they are received, against
//! what is still due.

use super::{
    super::error::PeerMisbehaved,
    base::{CHOICE_BYTES, ELEMENT_BYTES},
    check::CHECK_ROWS,
    parameters::{COLUMNS, Parameters},
    pprf::{PROOF_BYTES, TreeMessage},
};

/// What all messages of this room have in common.
pub trait Message: Sized {
    /// The name, for errors and schemas.
    const NAME: &'static str;

    /// Bytes of a row.
    fn row_bytes(parameters: &Parameters) -> usize;

    /// Checks bytes from the peer: `row_bytes` as the peer's column has it, and its rows back to
    /// back.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Width`], [`PeerMisbehaved::Leftover`] and [`PeerMisbehaved::Rows`], the
    /// latter too where a chunk is empty or more than a full one.
    fn decode(parameters: &Parameters, row_bytes: usize, bytes: Vec<u8>) -> Result<Self, PeerMisbehaved>;

    /// The rows, back to back.
    fn bytes(&self) -> &[u8];

    /// The same by value, for a column without a copy.
    fn into_bytes(self) -> Vec<u8>;
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident, |$parameters:ident| $width:expr, $rows:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub(super) Vec<u8>);

        impl Message for $name {
            const NAME: &'static str = stringify!($name);

            fn row_bytes($parameters: &Parameters) -> usize {
                $width
            }

            fn decode(
                $parameters: &Parameters,
                row_bytes: usize,
                bytes: Vec<u8>,
            ) -> Result<Self, PeerMisbehaved> {
                check_rows(Self::NAME, Self::row_bytes($parameters), row_bytes, &bytes, $rows)?;
                Ok(Self(bytes))
            }

            fn bytes(&self) -> &[u8] {
                &self.0
            }

            fn into_bytes(self) -> Vec<u8> {
                self.0
            }
        }
    };
}

/// How many rows a message has.
enum Rows {
    Exactly(usize),
    UpTo(usize),
}

message!(
    /// Base OT, chooser's elements.
    BaseChoices, |_parameters| CHOICE_BYTES, Rows::Exactly(COLUMNS)
);
message!(
    /// Base OT, replier's elements, with the trees' sums and proofs.
    BaseReply, |parameters| 64 * parameters.field_bits().bits() + 32, Rows::Exactly(parameters.field_bits().trees())
);
message!(
    /// A chunk of corrections.
    Corrections, |parameters| parameters.field_bits().correction_bytes(),
    Rows::UpTo(parameters.correction_chunk_blocks())
);
message!(
    /// The check's seed.
    Challenge, |_parameters| 16, Rows::Exactly(1)
);
message!(
    /// The check's answer.
    Check, |_parameters| CHECK_ROWS / 8 + CHECK_ROWS * COLUMNS / 8, Rows::Exactly(1)
);
message!(
    /// A chunk of masked values.
    Payload, |parameters| parameters.payload_row_bytes(), Rows::UpTo(parameters.payload_chunk_rows())
);

fn check_rows(
    message: &'static str,
    width: usize,
    found_width: usize,
    bytes: &[u8],
    rows: Rows,
) -> Result<(), PeerMisbehaved> {
    if found_width != width {
        return Err(PeerMisbehaved::Width { message, expected: width, found: found_width });
    }
    if width == 0 {
        // A payload without words: never due.
        return Err(PeerMisbehaved::Rows { message, expected: 0, found: bytes.len() });
    }
    if !bytes.len().is_multiple_of(width) {
        return Err(PeerMisbehaved::Leftover { message, width, bytes: bytes.len() });
    }
    let found = bytes.len() / width;
    let (fits, expected) = match rows {
        Rows::Exactly(count) => (found == count, count),
        Rows::UpTo(count) => ((1..=count).contains(&found), count),
    };
    if fits { Ok(()) } else { Err(PeerMisbehaved::Rows { message, expected, found }) }
}

impl Corrections {
    /// Refuses a chunk of other than `due` blocks.
    pub(super) fn expect_blocks(&self, parameters: &Parameters, due: usize) -> Result<(), PeerMisbehaved> {
        expect(self, parameters, due)
    }
}

impl Payload {
    /// Refuses a chunk of other than `due` rows.
    pub(super) fn expect_rows(&self, parameters: &Parameters, due: usize) -> Result<(), PeerMisbehaved> {
        expect(self, parameters, due)
    }
}

fn expect<M: Message>(message: &M, parameters: &Parameters, due: usize) -> Result<(), PeerMisbehaved> {
    // Again, as the message may have been decoded with other parameters.
    let width = M::row_bytes(parameters);
    if message.bytes().len() == width * due && due > 0 {
        return Ok(());
    }
    let found = message.bytes().len() / width.max(1);
    Err(PeerMisbehaved::Rows { message: M::NAME, expected: due, found })
}

impl BaseReply {
    pub(super) fn encode(elements: &[[u8; ELEMENT_BYTES]], trees: &[TreeMessage]) -> Self {
        let mut bytes = Vec::with_capacity(elements.len() * (2 * ELEMENT_BYTES) + trees.len() * 2 * PROOF_BYTES);
        for (elements, tree) in elements.chunks(elements.len() / trees.len()).zip(trees) {
            bytes.extend_from_slice(elements.as_flattened());
            for sum in tree.sums.as_flattened() {
                bytes.extend_from_slice(&sum.to_le_bytes());
            }
            bytes.extend_from_slice(&tree.proof_sum);
            bytes.extend_from_slice(&tree.proof_digest);
        }
        Self(bytes)
    }

    pub(super) fn parse(
        &self,
        parameters: &Parameters,
    ) -> Result<(Vec<[u8; ELEMENT_BYTES]>, Vec<TreeMessage>), PeerMisbehaved> {
        let width = Self::row_bytes(parameters);
        // Again, as the message may have been decoded with other parameters.
        check_rows(Self::NAME, width, width, &self.0, Rows::Exactly(parameters.field_bits().trees()))?;
        let k = parameters.field_bits().bits();
        let mut elements = Vec::with_capacity(COLUMNS);
        let mut trees = Vec::with_capacity(parameters.field_bits().trees());
        for row in self.0.chunks_exact(width) {
            let (own, rest) = row.split_at(k * ELEMENT_BYTES);
            elements.extend(own.as_chunks().0);
            let (sums, proofs) = rest.split_at((k - 1) * 32);
            let sums = sums.as_chunks().0.iter().map(|sum: &[u8; 16]| u128::from_le_bytes(*sum));
            let sums = sums.collect::<Vec<_>>().as_chunks().0.to_vec();
            let (proof_sum, proof_digest) = (proofs.as_chunks().0[0], proofs.as_chunks().0[1]);
            trees.push(TreeMessage { sums, proof_sum, proof_digest });
        }
        Ok((elements, trees))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::share::WordWidth, super::testing::*, *};

    fn refused<M: Message>(parameters: &Parameters, row_bytes: usize, bytes: usize) -> PeerMisbehaved {
        M::decode(parameters, row_bytes, vec![0; bytes]).err().unwrap()
    }

    fn widths_and_counts<M: Message>(parameters: &Parameters, expected_rows: usize) {
        let width = M::row_bytes(parameters);
        assert!(M::decode(parameters, width, vec![0; width * expected_rows]).is_ok(), "{}", M::NAME);
        for wrong in [0, width - 1, width + 1, usize::MAX] {
            let expected = PeerMisbehaved::Width { message: M::NAME, expected: width, found: wrong };
            assert_eq!(refused::<M>(parameters, wrong, width * expected_rows), expected);
        }
        for bytes in [1, width * expected_rows - 1, width * expected_rows + 1] {
            let expected = PeerMisbehaved::Leftover { message: M::NAME, width, bytes };
            assert_eq!(refused::<M>(parameters, width, bytes), expected);
        }
        for found in [0, expected_rows + 1] {
            let expected = PeerMisbehaved::Rows { message: M::NAME, expected: expected_rows, found };
            assert_eq!(refused::<M>(parameters, width, width * found), expected);
        }
    }

    #[test]
    fn wrong_widths_leftovers_and_counts_are_refused_for_every_message() {
        for k in [1, 2, 4, 8] {
            let parameters = parameters(k, 5000, &[WordWidth::Bits64, WordWidth::Bits128]);
            widths_and_counts::<BaseChoices>(&parameters, 128);
            widths_and_counts::<BaseReply>(&parameters, 128 / k as usize);
            widths_and_counts::<Corrections>(&parameters, parameters.correction_chunk_blocks());
            widths_and_counts::<Challenge>(&parameters, 1);
            widths_and_counts::<Check>(&parameters, 1);
            widths_and_counts::<Payload>(&parameters, parameters.payload_chunk_rows());
        }
    }

    #[test]
    fn the_reply_reads_back_as_it_was_written() {
        for k in [1u8, 2, 4, 8] {
            let parameters = parameters(k, 0, &[]);
            let width = BaseReply::row_bytes(&parameters);
            let bytes: Vec<u8> = (0..width * 128 / k as usize).map(|i| (i * 7 + i / 251) as u8).collect();
            let reply = BaseReply::decode(&parameters, width, bytes.clone()).unwrap();
            let (elements, trees) = reply.parse(&parameters).unwrap();
            assert_eq!(elements.len(), 128);
            assert_eq!(BaseReply::encode(&elements, &trees).into_bytes(), bytes);
        }
    }
}
