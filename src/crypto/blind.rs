//! From rows to blinded elements: hash to group, multiply, encode.

use std::fmt;

use arrow::array::{Array, LargeBinaryArray};
use rand_core::{CryptoRng, Rng, SeedableRng};
use rayon::prelude::*;
use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, Zeroizing};

use super::choose::kernel;
use super::column::{ELEMENT_BYTES, ElementColumn};
use super::domain::{HashDomain, Message};
use super::kernel::{BLOCK_ROWS, Uniform};
use super::random::ChaCha20Rng;
use super::secret::SecretScalar;

/// What one row of a blinded column is made of.
///
/// `Debug` shows nothing, not even the kind: being null is hidden, and so is who is a dummy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A person's identifier, normalised: H(identifier).
    Identifier(&'a [u8]),
    /// An entry that a filter emptied, with the identifier that it would have had. A random element, like
    /// [`Null`](Self::Null), at exactly the cost of [`Identifier`](Self::Identifier), so that the time of a column
    /// does not depend on the filter.
    Emptied(&'a [u8]),
    /// No identifier: an element of its own, uniformly random, that nobody can recognise.
    Null,
    /// The common dummy of this number, in this part of the requester's groups (0 without).
    Dummy {
        /// Part of the requester's table.
        part: u32,
        /// Number of the dummy within part and column, 0 to 2τ − 1.
        index: u64,
    },
}

impl<'a> Source<'a> {
    /// The identifier in row `row` of `identifiers`, or [`Null`](Self::Null).
    ///
    /// # Panics
    /// Where `row` is not below the array's length.
    pub fn of(identifiers: &'a LargeBinaryArray, row: usize) -> Self {
        if identifiers.is_null(row) { Self::Null } else { Self::Identifier(identifiers.value(row)) }
    }

    /// What is hashed, and whether the hash gives way to random bytes.
    fn message(self, domain: &HashDomain) -> (Message<'a>, Choice) {
        match self {
            Self::Identifier(identifier) => (domain.identifier(identifier), Choice::from(0)),
            Self::Emptied(identifier) => (domain.identifier(identifier), Choice::from(1)),
            Self::Null => (domain.identifier(&[]), Choice::from(1)),
            Self::Dummy { part, index } => (domain.dummy(part, index), Choice::from(0)),
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(…)")
    }
}

/// `rows` blinded elements, row i being `scalar` · H(`source(i)`) for an identifier or dummy, and `scalar` · a fresh
/// uniformly random element for a null.
///
/// One call takes a chunk of the wire, any mix of sources in shuffled order, for example
/// `|i| Source::of(&identifiers, order[i] as usize)`. Work is spread over rayon's threads and is the same for every
/// row (room doc, "Timing"). `rng` gives 32 bytes per block of [`BLOCK_ROWS`] rows, from which the block's random
/// bytes are expanded by ChaCha20, so the result depends on neither the number of threads nor their order. A null
/// is `from_uniform_bytes` of 64 random bytes like a hash's, never a multiple of a known element: its discrete
/// logarithm is known to nobody, to its maker neither.
pub fn hash_and_blind<'a>(
    domain: &HashDomain,
    rows: usize,
    source: impl Fn(usize) -> Source<'a> + Sync,
    scalar: &SecretScalar,
    rng: &mut impl CryptoRng,
) -> ElementColumn {
    let mut encodings = vec![[0; ELEMENT_BYTES]; rows];
    hash_and_blind_into(domain, &mut encodings, source, scalar, rng);
    encodings.into()
}

/// [`hash_and_blind`] of as many rows as there is place for, where whoever calls wants them: so that no copy stays elsewhere.
pub fn hash_and_blind_into<'a>(
    domain: &HashDomain,
    encodings: &mut [[u8; ELEMENT_BYTES]],
    source: impl Fn(usize) -> Source<'a> + Sync,
    scalar: &SecretScalar,
    rng: &mut impl CryptoRng,
) {
    let seeds = block_seeds(encodings.len(), rng);
    encodings.par_chunks_mut(BLOCK_ROWS).zip(seeds.par_iter()).enumerate().for_each(|(block, (encodings, seed))| {
        let start = block * BLOCK_ROWS;
        let sources = (start..start + encodings.len()).map(&source);
        let uniform = uniform_bytes(domain, sources, seed);
        kernel().map_mul_encode(&uniform, scalar, encodings);
    });
}

/// `rows` elements, row i being the element of `kept(i)` where its choice is set, and otherwise a fresh uniformly random one:
/// what [`hash_and_blind`] makes of a null, at a fifth of the price and unblinded, as a random element times a scalar is a
/// random element.
///
/// Each row makes its random element, whether it keeps it or not, and which of the two it keeps is selected in constant
/// time: with elements that were blinded before, time tells as little of a row as it does of one that is blinded now. `rng`
/// gives 32 bytes per block, as in [`hash_and_blind`].
pub fn kept_or_random<'a>(
    rows: usize,
    kept: impl Fn(usize) -> (&'a [u8; ELEMENT_BYTES], Choice) + Sync,
    rng: &mut impl CryptoRng,
) -> ElementColumn {
    let mut encodings = vec![[0; ELEMENT_BYTES]; rows];
    let seeds = block_seeds(rows, rng);
    encodings.par_chunks_mut(BLOCK_ROWS).zip(seeds.par_iter()).enumerate().for_each(|(block, (encodings, seed))| {
        let mut uniform = Zeroizing::new(vec![[0; 64]; encodings.len()]);
        let mut random = ChaCha20Rng::from_seed(*seed);
        uniform.iter_mut().for_each(|bytes| random.fill_bytes(bytes));
        kernel().map_double_encode(&uniform, encodings);
        for (row, encoding) in (block * BLOCK_ROWS..).zip(encodings) {
            let (element, keep) = kept(row);
            for (byte, kept) in encoding.iter_mut().zip(element) {
                byte.conditional_assign(kept, keep);
            }
        }
    });
    encodings.into()
}

/// A seed for each block of so many rows.
fn block_seeds(rows: usize, rng: &mut impl CryptoRng) -> Zeroizing<Vec<[u8; 32]>> {
    let mut seeds = Zeroizing::new(vec![[0; 32]; rows.div_ceil(BLOCK_ROWS)]);
    seeds.iter_mut().for_each(|seed| rng.fill_bytes(seed));
    seeds
}

/// The bytes that [`hash_and_blind`] and [`kept_or_random`] draw for so many rows.
pub fn blind_draws(rows: usize) -> usize {
    32 * rows.div_ceil(BLOCK_ROWS)
}

/// The 64 bytes per source that the map to the group takes.
fn uniform_bytes<'a>(
    domain: &HashDomain,
    sources: impl Iterator<Item = Source<'a>>,
    seed: &[u8; 32],
) -> Zeroizing<Vec<Uniform>> {
    let (messages, random): (Vec<_>, Vec<_>) = sources.map(|source| source.message(domain)).unzip();
    let mut uniform = Zeroizing::new(vec![[0; 64]; messages.len()]);
    kernel().hash(&messages, &mut uniform);

    // Every row draws its random bytes, whether it keeps them or not.
    let mut rng = ChaCha20Rng::from_seed(*seed);
    let mut fresh = Zeroizing::new([0; 64]);
    for (bytes, random) in uniform.iter_mut().zip(random) {
        rng.fill_bytes(&mut fresh[..]);
        for (byte, fresh) in bytes.iter_mut().zip(fresh.iter()) {
            byte.conditional_assign(fresh, random);
        }
    }
    fresh.zeroize();
    uniform
}
