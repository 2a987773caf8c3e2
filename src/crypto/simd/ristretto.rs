//! ristretto255 (RFC 9496, section 4.3), an element per lane: decoding, the map from uniform bytes, encoding.
//!
//! Symbols are those of the RFC. Lanes that fail are carried along and reported in a mask, so that time tells nothing.

use zeroize::{Zeroize, Zeroizing};

use super::chain::{invert_all, sqrt_ratio};
use super::constants::{D, D_MINUS_ONE_SQ, INVSQRT_A_MINUS_D, ONE, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use super::field::{Field, Mask};
use super::point::{Completed, Extended, Projective};
use super::vector::{Machine, Step};

/// Decoded elements, and the lanes that held the identity or no canonical encoding at all.
#[derive(Clone, Copy)]
pub(super) struct Decoded<M: Machine> {
    pub(super) point: Extended<Field<M>>,
    pub(super) refused: u8,
}

/// Four 64-bit words of each row from byte `offset` on, in little-endian order: row i goes to lane i, and the last row to
/// what lanes are left, so that these hold something valid and are never the first that is not.
fn words<M: Machine, const BYTES: usize>(rows: &[[u8; BYTES]], offset: usize) -> [M::Lanes; 4] {
    let mut words = [M::Lanes::default(); 4];
    for lane in 0..M::LANES {
        let row = &rows[lane.min(rows.len() - 1)];
        let (chunks, _) = row[offset..].as_chunks();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            word.as_mut()[lane] = u64::from_le_bytes(*chunk);
        }
    }
    words
}

/// Section 4.3.1, for two groups of at most as many rows as there are lanes: their square roots share a chain's time.
pub(super) struct Decode<'a>(pub(super) [&'a [[u8; 32]]; 2]);

impl<M: Machine> Step<M> for Decode<'_> {
    type Output = [Decoded<M>; 2];

    #[inline(always)]
    fn go(self, machine: M) -> Self::Output {
        let one = Field::splat(machine, &ONE);
        let encodings = [words::<M, 32>(self.0[0], 0), words::<M, 32>(self.0[1], 0)];
        let s = [Field::unpack(machine, &encodings[0]), Field::unpack(machine, &encodings[1])];
        let (mut u1, mut u2, mut v, mut v_u2_sqr) = (s, s, s, s);
        for k in 0..2 {
            let ss = s[k].squared().carry();
            u1[k] = one.minus(&ss).carry();
            u2[k] = one.plus(&ss).carry();
            let u2_sqr = u2[k].squared();
            let d_u1_sqr = u1[k].squared().carry().times(&Field::splat(machine, &D));
            v[k] = d_u1_sqr.plus(&u2_sqr).negated().carry();
            v_u2_sqr[k] = v[k].times(&u2_sqr.carry()).carry();
        }
        let roots = sqrt_ratio(machine, &[one; 2], &v_u2_sqr);
        let mut decoded = [Decoded { point: Extended::identity(machine), refused: 0 }; 2];
        for k in 0..2 {
            let (was_square, invsqrt) = roots[k];
            let den_x = invsqrt.times(&u2[k]).carry();
            let den_y = invsqrt.times(&den_x).carry().times(&v[k]).carry();
            let x = s[k].plus(&s[k]).carry().times(&den_x).carry().absolute();
            let y = u1[k].times(&den_y).carry();
            let t = x.times(&y).carry();
            let non_canonical = s[k].packs_to(machine, &encodings[k]).not();
            let invalid = non_canonical.or(s[k].is_negative()).or(was_square.not()).or(t.is_negative()).or(y.is_zero());
            decoded[k] = Decoded { point: Extended { x, y, z: one, t }, refused: invalid.or(s[k].is_zero()).bits() };
        }
        decoded
    }
}

/// Section 4.3.4, for at most as many rows as there are lanes: the sum of the images of both halves of each row's bytes.
pub(super) struct MapUniform<'a>(pub(super) &'a [[u8; 64]]);

impl<M: Machine> Step<M> for MapUniform<'_> {
    type Output = Extended<Field<M>>;

    #[inline(always)]
    fn go(self, machine: M) -> Self::Output {
        let mut halves = [words::<M, 64>(self.0, 0), words::<M, 64>(self.0, 32)];
        let [first, second] = map(machine, &[Field::unpack(machine, &halves[0]), Field::unpack(machine, &halves[1])]);
        halves.zeroize();
        first.extended().add(&second.extended().addend(machine), Mask::none(machine)).extended()
    }
}

/// MAP of section 4.3.4, the Elligator 2 map in ristretto's coordinates, for two groups.
#[inline(always)]
fn map<M: Machine>(machine: M, t: &[Field<M>; 2]) -> [Completed<Field<M>>; 2] {
    let one = Field::splat(machine, &ONE);
    let (minus_one, d) = (one.negated(), Field::splat(machine, &D));
    let (mut r, mut u, mut v) = (*t, *t, *t);
    for k in 0..2 {
        r[k] = t[k].squared().carry().times(&Field::splat(machine, &SQRT_M1)).carry();
        u[k] = r[k].plus(&one).carry().times(&Field::splat(machine, &ONE_MINUS_D_SQ)).carry();
        let minus_one_minus_rd = minus_one.minus(&r[k].times(&d).carry()).carry();
        v[k] = minus_one_minus_rd.times(&r[k].plus(&d).carry()).carry();
    }
    let roots = sqrt_ratio(machine, &u, &v);
    let mut completed = [Completed { e: one, f: one, g: one, h: one }; 2];
    for k in 0..2 {
        let (was_square, root) = roots[k];
        let s_prime = root.times(&t[k]).carry().absolute().negated();
        let s = s_prime.or_where(was_square, &root);
        let c = r[k].or_where(was_square, &minus_one);
        let c_r_minus_one = c.times(&r[k].minus(&one).carry()).carry();
        let n = c_r_minus_one.times(&Field::splat(machine, &D_MINUS_ONE_SQ)).carry().minus(&v[k]).carry();
        let ss = s.squared().carry();
        let two_s = s.plus(&s).carry();
        // w0, w3, w1 and w2: the point is (w0·w3 : w2·w1 : w1·w3 : w0·w2).
        completed[k] = Completed {
            e: two_s.times(&v[k]).carry(),
            f: one.plus(&ss).carry(),
            g: n.times(&Field::splat(machine, &SQRT_AD_MINUS_ONE)).carry(),
            h: one.minus(&ss).carry(),
        };
    }
    completed
}

/// A double that waits for the block's inversion.
#[derive(Zeroize)]
struct Doubled<F> {
    e: F,
    f: F,
    g: F,
    h: F,
    eh: F,
    fg: F,
}

/// The encodings of 2P for each P of `halves`, rows going through the lanes of each group, by one inversion for all.
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
pub(super) struct EncodeDoubled<'a, M: Machine> {
    pub(super) halves: &'a [Projective<Field<M>>],
    pub(super) encodings: &'a mut [[u8; 32]],
}

impl<M: Machine> Step<M> for EncodeDoubled<'_, M> {
    type Output = ();

    #[inline(always)]
    fn go(self, machine: M) {
        let mut doubles = Zeroizing::new(Vec::with_capacity(self.halves.len()));
        let mut inverses = Zeroizing::new(Vec::with_capacity(self.halves.len()));
        for half in self.halves {
            let Completed { e, f, g, h } = half.double();
            let (eh, fg) = (e.times(&h).carry(), f.times(&g).carry());
            inverses.push(eh.times(&fg).carry());
            doubles.push(Doubled { e, f, g, h, eh, fg });
        }
        invert_all(machine, &mut inverses);
        let rows = self.encodings.chunks_mut(M::LANES);
        for ((double, inverse), rows) in doubles.iter().zip(inverses.iter()).zip(rows) {
            let words = double.encode(machine, inverse).pack();
            for (lane, row) in rows.iter_mut().enumerate() {
                let (chunks, _) = row.as_chunks_mut();
                for (chunk, word) in chunks.iter_mut().zip(&words) {
                    *chunk = word.as_ref()[lane].to_le_bytes();
                }
            }
        }
    }
}

impl<M: Machine> Doubled<Field<M>> {
    /// s of the table above.
    #[inline(always)]
    fn encode(&self, machine: M, inverse: &Field<M>) -> Field<M> {
        let Self { e, f, g, h, eh, fg } = self;
        let i = Field::splat(machine, &SQRT_M1);
        let one_over_z = eh.times(inverse).carry();
        let one_over_t = fg.times(inverse).carry();
        let rotated = eh.times(&one_over_z).carry().is_negative();
        let x = e.times(f).carry().or_where(rotated, &g.times(h).carry().times(&i).carry());
        let subtrahend = h.or_where(rotated, &e.times(&i).carry());
        let minuend = f.or_where(rotated, g);
        let times_t = h.times(&Field::splat(machine, &INVSQRT_A_MINUS_D)).carry().or_where(rotated, e);
        let negative = x.times(&one_over_z).carry().is_negative();
        let difference = minuend.minus(&subtrahend.negated_where(negative)).carry();
        difference.times(&times_t.times(&one_over_t).carry()).carry().absolute()
    }
}
