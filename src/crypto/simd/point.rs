//! Points of the curve −x² + y² = 1 + d·x²·y², one per lane, and their sums and doubles.
//!
//! Formulas of Hisil, Wong, Carter and Dawson, "Twisted Edwards curves revisited" (2008), sections 3.1 and 3.3, with
//! a = −1. They are complete, as −1 is a square modulo p and d is not: the identity and equal points are nothing special,
//! so no lane needs another path. Products are left uncarried until they are combined, see [`super::vector`].

use zeroize::Zeroize;

use super::constants::{ONE, TWICE_D, TWO, ZERO};
use super::field::{Field, Mask, Stored};
use super::vector::Machine;

/// (x, y) = (X/Z, Y/Z), xy = T/Z.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Extended<F> {
    pub(super) x: F,
    pub(super) y: F,
    pub(super) z: F,
    pub(super) t: F,
}

/// (x, y) = (X/Z, Y/Z): all that doubling needs.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Projective<F> {
    pub(super) x: F,
    pub(super) y: F,
    pub(super) z: F,
}

/// (x, y) = (E/G, H/F): a sum or a double, of which products make the form that is needed next.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Completed<F> {
    pub(super) e: F,
    pub(super) f: F,
    pub(super) g: F,
    pub(super) h: F,
}

/// Y + X, Y − X, 2·Z and 2·d·T: a point that is ready to be added.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Addend<F> {
    pub(super) y_plus_x: F,
    pub(super) y_minus_x: F,
    pub(super) twice_z: F,
    pub(super) twice_dt: F,
}

impl<M: Machine> Completed<Field<M>> {
    #[inline(always)]
    pub(super) fn projective(&self) -> Projective<Field<M>> {
        Projective {
            x: self.e.times(&self.f).carry(),
            y: self.g.times(&self.h).carry(),
            z: self.f.times(&self.g).carry(),
        }
    }

    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<Field<M>> {
        let Projective { x, y, z } = self.projective();
        Extended { x, y, z, t: self.e.times(&self.h).carry() }
    }
}

impl<M: Machine> Projective<Field<M>> {
    /// 2 · `self`. Of Hisil et al.'s E, F, G, H the signs of F and H are turned, and with them those of X, Y, Z and T,
    /// which is the same point: E = 2XY, F = 2Z² − (Y² − X²), G = Y² − X², H = Y² + X².
    ///
    /// Bounds, with a product's limbs below 2^59, and those of the multiple of p above which it may be 2^60 or just less:
    /// g < 2^59 + 2^60, and not below zero, as the multiple exceeds X²; h < 2·2^59 + 2^60 = 2^61; f < 2·(2^59 + 2^60), and
    /// twice the multiple exceeds g; e < 2^61 + 2^62, and four times the multiple exceeds h. All are below 2^63. The odd
    /// limbs of radix 2^25.5 are below 2^58.3, the multiple's 2^59 or just less: g < 2^59.8 < 2·2^59, h < 2^60.2 < 4·2^59.
    #[inline(always)]
    pub(super) fn double(&self) -> Completed<Field<M>> {
        let xx = self.x.squared();
        let yy = self.y.squared_above();
        let g = yy.minus(&xx);
        let h = yy.plus(&xx);
        let zz = self.z.squared_above();
        let f = zz.plus(&zz).minus(&g);
        // (X + Y)² − X² − Y² = 2XY
        let e = self.x.sum_squared_above(&self.y).minus(&h);
        Completed { e: e.carry(), f: f.carry(), g: g.carry(), h: h.carry() }
    }
}

impl<M: Machine> Extended<Field<M>> {
    #[inline(always)]
    pub(super) fn identity(machine: M) -> Self {
        let (zero, one) = (Field::splat(machine, &ZERO), Field::splat(machine, &ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    #[inline(always)]
    pub(super) fn double(&self) -> Completed<Field<M>> {
        Projective { x: self.x, y: self.y, z: self.z }.double()
    }

    /// `self` + `other`, and `self` − `other` in the lanes of `negative`.
    ///
    /// Bounds: what is subtracted from is above a multiple of p that exceeds products, and sums are below
    /// 2·2^59 + 2^60 = 2^61.
    #[inline(always)]
    pub(super) fn add(&self, other: &Addend<Field<M>>, negative: Mask<M::Word>) -> Completed<Field<M>> {
        // −(x, y) = (−x, y): Y + X and Y − X change places, and T changes its sign.
        let y_plus_x = other.y_plus_x.or_where(negative, &other.y_minus_x);
        let y_minus_x = other.y_minus_x.or_where(negative, &other.y_plus_x);
        let a = self.y.minus(&self.x).carry().times(&y_minus_x);
        let b = self.y.plus(&self.x).carry().times_above(&y_plus_x);
        let c = self.t.times(&other.twice_dt);
        let d = self.z.times_above(&other.twice_z);
        let (difference, sum) = (d.minus(&c), d.plus(&c));
        let f = difference.or_where(negative, &sum);
        let g = sum.or_where(negative, &difference);
        Completed { e: b.minus(&a).carry(), f: f.carry(), g: g.carry(), h: b.plus(&a).carry() }
    }

    #[inline(always)]
    pub(super) fn addend(&self, machine: M) -> Addend<Field<M>> {
        Addend {
            y_plus_x: self.y.plus(&self.x).carry(),
            y_minus_x: self.y.minus(&self.x).carry(),
            twice_z: self.z.plus(&self.z).carry(),
            twice_dt: self.t.times(&Field::splat(machine, &TWICE_D)).carry(),
        }
    }
}

impl<M: Machine> Addend<Field<M>> {
    #[inline(always)]
    pub(super) fn identity(machine: M) -> Self {
        let (zero, one) = (Field::splat(machine, &ZERO), Field::splat(machine, &ONE));
        Self { y_plus_x: one, y_minus_x: one, twice_z: Field::splat(machine, &TWO), twice_dt: zero }
    }

    /// As a table keeps it.
    #[inline(always)]
    pub(super) fn stored(&self) -> Addend<Stored<M>> {
        Addend {
            y_plus_x: self.y_plus_x.stored(),
            y_minus_x: self.y_minus_x.stored(),
            twice_z: self.twice_z.stored(),
            twice_dt: self.twice_dt.stored(),
        }
    }
}

impl<M: Machine> Addend<Stored<M>> {
    /// No point, but the beginning of a choice among several.
    #[inline(always)]
    pub(super) fn zero(machine: M) -> Self {
        let zero = Stored::zero(machine);
        Self { y_plus_x: zero, y_minus_x: zero, twice_z: zero, twice_dt: zero }
    }

    #[inline(always)]
    pub(super) fn fields(&self) -> Addend<Field<M>> {
        Addend {
            y_plus_x: self.y_plus_x.field(),
            y_minus_x: self.y_minus_x.field(),
            twice_z: self.twice_z.field(),
            twice_dt: self.twice_dt.field(),
        }
    }
}
