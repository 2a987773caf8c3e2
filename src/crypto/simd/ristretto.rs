//! ristretto255 (RFC 9496, section 4.3), eight elements at a time: decoding, the map from uniform bytes, encoding.
//!
//! Symbols are those of the RFC. Lanes that fail are carried along and reported in a mask, so that time tells nothing.

use zeroize::{Zeroize, Zeroizing};

use super::LANES;
use super::chain::{invert_all, sqrt_ratio};
use super::constants::{D, D_MINUS_ONE_SQ, INVSQRT_A_MINUS_D, ONE, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use super::field::{Field, Mask, Sum};
use super::limbs::words;
use super::point::{Completed, Extended, Projective};

/// Eight decoded elements, and the lanes that held the identity or no canonical encoding at all.
pub(super) struct Decoded {
    pub(super) point: Extended,
    pub(super) refused: u8,
}

/// Section 4.3.1, for two groups of at most eight rows each: their square roots share a chain's time.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn decode(groups: [&[[u8; 32]]; 2]) -> [Decoded; 2] {
    let one = Field::splat(&ONE);
    let encodings = [words::<4, 32>(groups[0], 0), words::<4, 32>(groups[1], 0)];
    let s = [Field::unpack(&encodings[0]), Field::unpack(&encodings[1])];
    let (mut u1, mut u2, mut v, mut v_u2_sqr) = (s, s, s, s);
    for k in 0..2 {
        let ss = s[k].squared().carry();
        u1[k] = one.minus(&ss).carry();
        u2[k] = one.plus(&ss).carry();
        let u2_sqr = u2[k].squared();
        let d_u1_sqr = u1[k].squared().carry().times(&Field::splat(&D));
        // Two products below 2^59 each.
        v[k] = Sum::multiple_of_p::<1024>().minus(&d_u1_sqr).minus(&u2_sqr).carry();
        v_u2_sqr[k] = v[k].times(&u2_sqr.carry()).carry();
    }
    let roots = sqrt_ratio(&[one; 2], &v_u2_sqr);
    let decoded = |k: usize| {
        let (was_square, invsqrt) = roots[k];
        let den_x = invsqrt.times(&u2[k]).carry();
        let den_y = invsqrt.times(&den_x).carry().times(&v[k]).carry();
        let x = s[k].plus(&s[k]).carry().times(&den_x).carry().absolute();
        let y = u1[k].times(&den_y).carry();
        let t = x.times(&y).carry();
        let canonical = s[k].packs_to(&encodings[k]);
        let invalid = canonical.not().or(s[k].is_negative()).or(was_square.not()).or(t.is_negative()).or(y.is_zero());
        Decoded { point: Extended { x, y, z: one, t }, refused: invalid.or(s[k].is_zero()).bits() }
    };
    [decoded(0), decoded(1)]
}

/// Section 4.3.4: the sum of the images of both halves of each row's bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn map_uniform(rows: &[[u8; 64]]) -> Extended {
    let mut halves = [words::<4, 64>(rows, 0), words::<4, 64>(rows, 32)];
    let [first, second] = map(&[Field::unpack(&halves[0]), Field::unpack(&halves[1])]);
    halves.zeroize();
    first.extended().add(&second.extended().addend(), Mask::none()).extended()
}

/// MAP of section 4.3.4, the Elligator 2 map in ristretto's coordinates, for two groups.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn map(t: &[Field; 2]) -> [Completed; 2] {
    let one = Field::splat(&ONE);
    let (minus_one, d) = (one.negated(), Field::splat(&D));
    let (mut r, mut u, mut v) = (*t, *t, *t);
    for k in 0..2 {
        r[k] = t[k].squared().carry().times(&Field::splat(&SQRT_M1)).carry();
        u[k] = r[k].plus(&one).carry().times(&Field::splat(&ONE_MINUS_D_SQ)).carry();
        let minus_one_minus_rd = minus_one.minus(&r[k].times(&d).carry()).carry();
        v[k] = minus_one_minus_rd.times(&r[k].plus(&d).carry()).carry();
    }
    let roots = sqrt_ratio(&u, &v);
    let completed = |k: usize| {
        let (was_square, root) = roots[k];
        let s_prime = root.times(&t[k]).carry().absolute().negated();
        let s = s_prime.or_where(was_square, &root);
        let c = r[k].or_where(was_square, &minus_one);
        let c_r_minus_one = c.times(&r[k].minus(&one).carry()).carry();
        let n = c_r_minus_one.times(&Field::splat(&D_MINUS_ONE_SQ)).carry().minus(&v[k]).carry();
        let ss = s.squared().carry();
        let two_s = s.plus(&s).carry();
        // w0, w3, w1 and w2: the point is (w0·w3 : w2·w1 : w1·w3 : w0·w2).
        Completed {
            e: two_s.times(&v[k]).carry(),
            f: one.plus(&ss).carry(),
            g: n.times(&Field::splat(&SQRT_AD_MINUS_ONE)).carry(),
            h: one.minus(&ss).carry(),
        }
    };
    [completed(0), completed(1)]
}

/// A double that waits for the block's inversion.
#[derive(Zeroize)]
struct Doubled {
    e: Field,
    f: Field,
    g: Field,
    h: Field,
    eh: Field,
    fg: Field,
}

/// The encodings of 2P for each P of `halves`, row i being lane i mod 8 of group i / 8, by one inversion for all.
///
/// Encoding (section 4.3.2) takes 1/√(u1·u2²) with u1 = Z² − Y² and u2 = XY. For a double that root is at hand, an
/// observation of Hamburg's that curve25519-dalek's `double_and_compress_batch` uses as well: with X = EF, Y = GH,
/// Z = FG, T = EH, the curve's equation for P gives F² − H² = (a − d)·E², hence u1 = G²·(F² − H²) = (a − d)·(EG)². So,
/// but for signs, which the absolute value takes care of at the end,
///
/// | | plain | rotated |
/// |---|---|---|
/// | when T/Z is | not negative | negative |
/// | x, y | X, Y | iY, iX |
/// | den_inv | den2 = u2/√(u1·u2²) = 1/(√(a − d)·EG) | u1/(√(a − d)·√(u1·u2²)) = 1/(FH) |
/// | s = den_inv·(Z ∓ y) | (F ∓ H)/(√(a − d)·E) | (G ∓ iE)/H |
///
/// with + where x/Z is negative, and 1/E = H/T, 1/H = E/T. One inverse, of EFGH = ZT, gives 1/Z and 1/T. It is zero
/// only for doubles of order 4 or less, which are the identity; its encoding, zero, is what comes of an "inverse" 0.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn encode_doubled(halves: &[Projective], encodings: &mut [[u8; 32]]) {
    let mut doubles = Zeroizing::new(Vec::with_capacity(halves.len()));
    let mut inverses = Zeroizing::new(Vec::with_capacity(halves.len()));
    for half in halves {
        let Completed { e, f, g, h } = half.double();
        let (eh, fg) = (e.times(&h).carry(), f.times(&g).carry());
        inverses.push(eh.times(&fg).carry());
        doubles.push(Doubled { e, f, g, h, eh, fg });
    }
    invert_all(&mut inverses);
    for ((double, inverse), rows) in doubles.iter().zip(inverses.iter()).zip(encodings.chunks_mut(LANES)) {
        let words = double.encode(inverse).pack();
        for (lane, row) in rows.iter_mut().enumerate() {
            let (chunks, _) = row.as_chunks_mut();
            for (chunk, word) in chunks.iter_mut().zip(&words) {
                *chunk = word.0[lane].to_le_bytes();
            }
        }
    }
}

impl Doubled {
    /// s of the table above.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn encode(&self, inverse: &Field) -> Field {
        let Self { e, f, g, h, eh, fg } = self;
        let i = Field::splat(&SQRT_M1);
        let one_over_z = eh.times(inverse).carry();
        let one_over_t = fg.times(inverse).carry();
        let rotated = eh.times(&one_over_z).carry().is_negative();
        let x = e.times(f).carry().or_where(rotated, &g.times(h).carry().times(&i).carry());
        let subtrahend = h.or_where(rotated, &e.times(&i).carry());
        let minuend = f.or_where(rotated, g);
        let times_t = h.times(&Field::splat(&INVSQRT_A_MINUS_D)).carry().or_where(rotated, e);
        let negative = x.times(&one_over_z).carry().is_negative();
        let difference = minuend.minus(&subtrahend.negated_where(negative)).carry();
        difference.times(&times_t.times(&one_over_t).carry()).carry().absolute()
    }
}
