//! The 128 base OTs: Masny and Rindal, "Endemic Oblivious Transfer" (CCS 2019, eprint 2019/706),
//! their random-oracle construction from a two-message key agreement, with Diffie–Hellman on
//! ristretto255 as the agreement.
//!
//! Per OT i with choice c, the chooser draws a and an element R_(1−c) of unknown logarithm, sets
//! R_c = a·G − H(i, c, R_(1−c)) and sends (R_0, R_1). The replier draws s, sends M = s·G, and both
//! seeds are k_b = KDF(i, b, R_0, R_1, M, s·(R_b + H(i, b, R_(1−b)))); the chooser knows k_c from
//! a·M.
//!
//! *Choice bits:* R_0 and R_1 are both uniform and independent of c, so they are hidden perfectly.
//! *The other seed:* of the two values H(i, 0, R_1), H(i, 1, R_0) a chooser asks one after having
//! fixed the other element; that answer is uniform, so the logarithm of R_b + H(i, b, R_(1−b)) is
//! known to it for at most one b, and the other seed is a Diffie–Hellman value (paper: theorem on
//! the ROM construction).
//! *Why this one:* it takes two messages with the chooser first, which is the order of the
//! extension, so no message is added; it is proven against malicious parties. Chou and Orlandi
//! (LatinCrypt 2015) needs a third message, and its malicious security holds only with later
//! repairs (a seed commitment, key derivation over the whole transcript) and not in the UC sense.
//! What the paper calls *endemic* security (either party may choose its own outputs, never see the
//! other's) is what SoftSpokenOT assumes of its base OTs and promises of its outputs.
//! *Departures:* hash inputs carry run, index and bit (the paper needs one oracle per instance); a
//! fresh s per OT rather than one for all, so that each instance is the paper's one, at 128
//! fixed-base multiplications more; the identity is refused throughout, which an honest peer sends
//! with probability 2⁻²⁵².

use curve25519_dalek::{
    RistrettoPoint, Scalar,
    ristretto::CompressedRistretto,
    traits::{Identity, IsIdentity},
};
use rand_core::CryptoRng;
use rayon::prelude::*;
use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, Zeroizing};

use super::{
    super::{
        domain::{Bound, Label},
        error::PeerMisbehaved,
    },
    parameters::COLUMNS,
};

/// Bytes of one row of the chooser's message: R_0 ‖ R_1.
pub(super) const CHOICE_BYTES: usize = 64;
/// Bytes of one element.
pub(super) const ELEMENT_BYTES: usize = 32;

/// The chooser, waiting for the reply.
pub(super) struct Chooser {
    choices: Zeroizing<u128>,
    scalars: Zeroizing<Vec<Scalar>>,
    sent: Vec<u8>,
}

impl Chooser {
    /// Chooses seed c_i of OT i, c_i being bit i of `choices`. Returns the 128 rows to send.
    pub(super) fn start(bound: &Bound, choices: u128, rng: &mut impl CryptoRng) -> (Self, Vec<u8>) {
        let choices = Zeroizing::new(choices);
        let scalars = Zeroizing::new((0..COLUMNS).map(|_| Scalar::random(rng)).collect::<Vec<_>>());
        let mut uniform = vec![[0; 64]; COLUMNS];
        uniform.iter_mut().for_each(|bytes| rng.fill_bytes(bytes));
        let mut sent = vec![0; COLUMNS * CHOICE_BYTES];
        sent.par_chunks_mut(CHOICE_BYTES).zip(&scalars[..]).zip(&uniform).enumerate().for_each(
            |(index, ((row, scalar), uniform))| {
                let choice = bit(*choices, index);
                let mut other = RistrettoPoint::from_uniform_bytes(uniform).compress().to_bytes();
                let own = RistrettoPoint::mul_base(scalar) - hash_to_group(bound, index, choice, &other);
                let mut own = own.compress().to_bytes();
                // Chosen 0: (own, other); chosen 1: (other, own).
                <[u8; 32]>::conditional_swap(&mut own, &mut other, choice);
                row[..ELEMENT_BYTES].copy_from_slice(&own);
                row[ELEMENT_BYTES..].copy_from_slice(&other);
            },
        );
        // Which of the two elements came from here is the choice.
        uniform.zeroize();
        (Self { choices, scalars, sent: sent.clone() }, sent)
    }

    /// The chosen seeds from the replier's elements M.
    pub(super) fn finish(
        self,
        bound: &Bound,
        elements: &[[u8; ELEMENT_BYTES]],
    ) -> Result<Zeroizing<Vec<u128>>, PeerMisbehaved> {
        let seeds = (self.sent.par_chunks(CHOICE_BYTES), &self.scalars[..], elements)
            .into_par_iter()
            .enumerate()
            .map(|(index, (row, scalar, element))| {
                let point = decode(element, "BaseReply", index)?;
                Ok(*seed(bound, index, bit(*self.choices, index), row, element, &(point * scalar)))
            })
            .collect::<Result<Vec<u128>, _>>();
        seeds.map(Zeroizing::new)
    }
}

/// The replier's elements M and both seeds of each OT, from the chooser's rows.
#[expect(clippy::type_complexity, reason = "two columns, named in the line above")]
pub(super) fn reply(
    bound: &Bound,
    choices: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<[u8; ELEMENT_BYTES]>, Zeroizing<Vec<[u128; 2]>>), PeerMisbehaved> {
    let scalars = Zeroizing::new((0..COLUMNS).map(|_| Scalar::random(rng)).collect::<Vec<_>>());
    let rows = (choices.par_chunks(CHOICE_BYTES), &scalars[..])
        .into_par_iter()
        .enumerate()
        .map(|(index, (row, scalar))| {
            let element = RistrettoPoint::mul_base(scalar).compress().to_bytes();
            let mut encoded = [[0; ELEMENT_BYTES]; 2];
            encoded[0].copy_from_slice(&row[..ELEMENT_BYTES]);
            encoded[1].copy_from_slice(&row[ELEMENT_BYTES..]);
            let mut seeds = [0; 2];
            for side in 0..2 {
                let choice = Choice::from(side as u8);
                let point = decode(&encoded[side], "BaseChoices", index)?
                    + hash_to_group(bound, index, choice, &encoded[1 - side]);
                if point.is_identity() {
                    return Err(PeerMisbehaved::Identity { message: "BaseChoices", row: index });
                }
                seeds[side] = *seed(bound, index, choice, row, &element, &(point * scalar));
            }
            Ok((element, seeds))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (elements, seeds) = rows.into_iter().unzip();
    Ok((elements, Zeroizing::new(seeds)))
}

fn bit(bits: u128, index: usize) -> Choice {
    Choice::from((bits >> index) as u8 & 1)
}

fn decode(encoded: &[u8; 32], message: &'static str, row: usize) -> Result<RistrettoPoint, PeerMisbehaved> {
    let point = CompressedRistretto(*encoded).decompress().ok_or(PeerMisbehaved::NotAnElement { message, row })?;
    if point == RistrettoPoint::identity() {
        return Err(PeerMisbehaved::Identity { message, row });
    }
    Ok(point)
}

fn hash_to_group(bound: &Bound, index: usize, side: Choice, other: &[u8; 32]) -> RistrettoPoint {
    let uniform = bound.hash(Label::BaseHashToGroup, &[&[index as u8, side.unwrap_u8()], other]);
    RistrettoPoint::from_uniform_bytes(&uniform)
}

fn seed(
    bound: &Bound,
    index: usize,
    side: Choice,
    choices: &[u8],
    element: &[u8; 32],
    shared: &RistrettoPoint,
) -> Zeroizing<u128> {
    let shared = Zeroizing::new(shared.compress().to_bytes());
    bound.hash_block(Label::BaseSeed, &[&[index as u8, side.unwrap_u8()], choices, element, &shared[..]])
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn the_chooser_gets_the_chosen_seed_and_the_two_differ() {
        for choices in [0, u128::MAX, 0x0123_4567_89ab_cdef_1122_3344_5566_7788] {
            let bound = bound(&parameters(4, 0, &[]));
            let (chooser, sent) = Chooser::start(&bound, choices, &mut rng(1));
            let (elements, pairs) = reply(&bound, &sent, &mut rng(2)).unwrap();
            let chosen = chooser.finish(&bound, &elements).unwrap();
            for (index, pair) in pairs.iter().enumerate() {
                let choice = (choices >> index) as usize & 1;
                assert_eq!(chosen[index], pair[choice], "OT {index}");
                assert_ne!(chosen[index], pair[1 - choice], "OT {index}");
            }
        }
    }

    #[test]
    fn another_run_gives_other_seeds_because_the_binding_is_hashed() {
        let (mine, theirs) = (bound(&parameters(4, 0, &[])), bound(&parameters(4, 1, &[])));
        let (chooser, sent) = Chooser::start(&mine, 5, &mut rng(1));
        let (elements, pairs) = reply(&theirs, &sent, &mut rng(2)).unwrap();
        let chosen = chooser.finish(&mine, &elements).unwrap();
        assert!(pairs.iter().flatten().all(|seed| !chosen.contains(seed)));
    }

    #[test]
    fn identity_and_non_canonical_elements_are_refused_on_both_sides() {
        let bound = bound(&parameters(4, 0, &[]));
        let (_, sent) = Chooser::start(&bound, 5, &mut rng(1));
        // All zero is the identity's canonical encoding; an odd number is "negative"; p itself is
        // not reduced.
        let mut modulus = [0xff; 32];
        (modulus[0], modulus[31]) = (0xed, 0x7f);
        let one = {
            let mut one = [0; 32];
            one[0] = 1;
            one
        };
        for (bad, identity) in [([0; 32], true), (one, false), (modulus, false), ([0xff; 32], false)] {
            for (row, side) in [(0, 0), (77, 1)] {
                let mut wrong = sent.clone();
                wrong[row * CHOICE_BYTES + side * 32..][..32].copy_from_slice(&bad);
                let expected = if identity {
                    PeerMisbehaved::Identity { message: "BaseChoices", row }
                } else {
                    PeerMisbehaved::NotAnElement { message: "BaseChoices", row }
                };
                assert_eq!(reply(&bound, &wrong, &mut rng(2)).err(), Some(expected));
            }
            let (chooser, sent) = Chooser::start(&bound, 5, &mut rng(1));
            let (mut elements, _) = reply(&bound, &sent, &mut rng(2)).unwrap();
            elements[3] = bad;
            assert!(chooser.finish(&bound, &elements).is_err());
        }
    }

    #[test]
    fn an_element_that_cancels_its_hash_is_refused_because_the_seed_would_be_known_to_all() {
        let bound = bound(&parameters(4, 0, &[]));
        let (_, mut sent) = Chooser::start(&bound, 0, &mut rng(1));
        let mut other = [0; 32];
        other.copy_from_slice(&sent[32..64]);
        let cancelling = -hash_to_group(&bound, 0, Choice::from(0), &other);
        sent[..32].copy_from_slice(&cancelling.compress().to_bytes());
        let expected = PeerMisbehaved::Identity { message: "BaseChoices", row: 0 };
        assert_eq!(reply(&bound, &sent, &mut rng(2)).err(), Some(expected));
    }
}
