//! Between field elements and their encodings: packing, the canonical form, and what is decided by it.
//!
//! A [`Field`]'s value is below (2^51 + 2^17)·(1 + 2^51 + … + 2^204) < 2p, so its canonical form is one conditional
//! subtraction of p away.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::LANES;
use super::field::{Field, LIMB_MASK, Mask, Word, splat};

/// One 64-bit integer per lane, in memory.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [u64; LANES]);

impl Zeroize for Lanes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn load(&self) -> Word {
        // SAFETY: 64 bytes that `self` borrows, aligned to 64.
        unsafe { _mm512_load_si512((&raw const self.0).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn store(word: Word) -> Self {
        let mut lanes = Self::default();
        // SAFETY: 64 bytes that nobody else has borrowed, aligned to 64.
        unsafe { _mm512_store_si512((&raw mut lanes.0).cast(), word) };
        lanes
    }
}

/// The `WORDS` 64-bit words of each row from byte `offset` on, in little-endian order: row i goes to lane i, and the
/// last row to what lanes are left, so that these hold something valid and are never the first that is not.
pub(super) fn words<const WORDS: usize, const BYTES: usize>(rows: &[[u8; BYTES]], offset: usize) -> [Lanes; WORDS] {
    let mut words = [Lanes::default(); WORDS];
    for lane in 0..LANES {
        let row = &rows[lane.min(rows.len() - 1)];
        let (chunks, _) = row[offset..].as_chunks();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            word.0[lane] = u64::from_le_bytes(*chunk);
        }
    }
    words
}

/// The limbs of the 255-bit integer of these words.
pub(super) const fn limbs(words: [u64; 4]) -> [u64; 5] {
    let [w0, w1, w2, w3] = words;
    [
        w0 & LIMB_MASK,
        (w0 >> 51 | w1 << 13) & LIMB_MASK,
        (w1 >> 38 | w2 << 26) & LIMB_MASK,
        (w2 >> 25 | w3 << 39) & LIMB_MASK,
        (w3 >> 12) & LIMB_MASK,
    ]
}

impl Field {
    /// The integers below 2^255 of these words; bit 255 is passed over.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn unpack(words: &[Lanes; 4]) -> Self {
        let [w0, w1, w2, w3] = [words[0].load(), words[1].load(), words[2].load(), words[3].load()];
        let mask = splat(LIMB_MASK);
        let low = |x: Word| _mm512_and_si512(x, mask);
        let or = |x: Word, y: Word| _mm512_or_si512(x, y);
        Self([
            low(w0),
            low(or(_mm512_srli_epi64::<51>(w0), _mm512_slli_epi64::<13>(w1))),
            low(or(_mm512_srli_epi64::<38>(w1), _mm512_slli_epi64::<26>(w2))),
            low(or(_mm512_srli_epi64::<25>(w2), _mm512_slli_epi64::<39>(w3))),
            low(_mm512_srli_epi64::<12>(w3)),
        ])
    }

    /// The words of the canonical form, below p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn pack(&self) -> [Lanes; 4] {
        let [l0, l1, l2, l3, l4] = self.canonical();
        let or = |x: Word, y: Word| Lanes::store(_mm512_or_si512(x, y));
        [
            or(l0, _mm512_slli_epi64::<51>(l1)),
            or(_mm512_srli_epi64::<13>(l1), _mm512_slli_epi64::<38>(l2)),
            or(_mm512_srli_epi64::<26>(l2), _mm512_slli_epi64::<25>(l3)),
            or(_mm512_srli_epi64::<39>(l3), _mm512_slli_epi64::<12>(l4)),
        ]
    }

    /// The limbs, each below 2^51, of the canonical form.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn canonical(&self) -> [Word; 5] {
        let mut limbs = self.0;
        // The value is p or more where the value + 19 reaches 2^255: what that addition carries out at the top is how
        // often p is to be subtracted.
        let mut carry = splat(19);
        for limb in limbs {
            carry = _mm512_srli_epi64::<51>(_mm512_add_epi64(limb, carry));
        }
        // −p = 19 − 2^255: 19 goes in at the bottom, 2^255 is what falls off at the top.
        carry = _mm512_mullo_epi64(carry, splat(19));
        for limb in &mut limbs {
            let sum = _mm512_add_epi64(*limb, carry);
            *limb = _mm512_and_si512(sum, splat(LIMB_MASK));
            carry = _mm512_srli_epi64::<51>(sum);
        }
        limbs
    }

    /// Where `words` are those of the canonical form.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn packs_to(&self, words: &[Lanes; 4]) -> Mask {
        let mut difference = splat(0);
        for (packed, word) in self.pack().iter().zip(words) {
            difference = _mm512_or_si512(difference, _mm512_xor_si512(packed.load(), word.load()));
        }
        Mask::of_zero(difference)
    }

    /// Where the canonical form is odd: "negative" in RFC 9496, section 3.1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn is_negative(&self) -> Mask {
        Mask::of_negative(_mm512_slli_epi64::<63>(self.canonical()[0]))
    }

    /// Where the element is zero.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn is_zero(&self) -> Mask {
        let [l0, l1, l2, l3, l4] = self.canonical();
        let any = _mm512_or_si512(_mm512_or_si512(_mm512_or_si512(l0, l1), _mm512_or_si512(l2, l3)), l4);
        Mask::of_zero(any)
    }

    /// Where the two are the same element.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn is_equal(&self, other: &Self) -> Mask {
        self.minus(other).carry().is_zero()
    }

    /// −`self` in the lanes of `mask`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn negated_where(&self, mask: Mask) -> Self {
        self.or_where(mask, &self.negated())
    }

    /// Of `self` and −`self` the one that is not negative.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn absolute(&self) -> Self {
        self.negated_where(self.is_negative())
    }
}

impl Zeroize for Field {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
