//! Eight points of the curve −x² + y² = 1 + d·x²·y², one per lane, and their sums and doubles.
//!
//! Formulas of Hisil, Wong, Carter and Dawson, "Twisted Edwards curves revisited" (2008), sections 3.1 and 3.3, with
//! a = −1. They are complete, as −1 is a square modulo p and d is not: the identity and equal points are nothing special,
//! so no lane needs another path. Products are left uncarried until they are combined, see [`super::field`].

use zeroize::Zeroize;

use super::constants::{ONE, TWICE_D};
use super::field::{Field, Mask};

/// (x, y) = (X/Z, Y/Z), xy = T/Z.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Extended {
    pub(super) x: Field,
    pub(super) y: Field,
    pub(super) z: Field,
    pub(super) t: Field,
}

/// (x, y) = (X/Z, Y/Z): all that doubling needs.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Projective {
    pub(super) x: Field,
    pub(super) y: Field,
    pub(super) z: Field,
}

/// (x, y) = (E/G, H/F): a sum or a double, of which products make the form that is needed next.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Completed {
    pub(super) e: Field,
    pub(super) f: Field,
    pub(super) g: Field,
    pub(super) h: Field,
}

/// Y + X, Y − X, 2·Z and 2·d·T: a point that is ready to be added.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Addend {
    pub(super) y_plus_x: Field,
    pub(super) y_minus_x: Field,
    pub(super) twice_z: Field,
    pub(super) twice_dt: Field,
}

impl Completed {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn projective(&self) -> Projective {
        Projective {
            x: self.e.times(&self.f).carry(),
            y: self.g.times(&self.h).carry(),
            z: self.f.times(&self.g).carry(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn extended(&self) -> Extended {
        let Projective { x, y, z } = self.projective();
        Extended { x, y, z, t: self.e.times(&self.h).carry() }
    }
}

impl Projective {
    /// 2 · `self`. Of Hisil et al.'s E, F, G, H the signs of F and H are turned, and with them those of X, Y, Z and T,
    /// which is the same point: E = 2XY, F = 2Z² − (Y² − X²), G = Y² − X², H = Y² + X².
    ///
    /// Bounds, with products below 2^59 and limbs of 512p between 2^60 − 2^14 and 2^60: g < 2^59 + 2^60, and not below
    /// zero, as 512p exceeds X²; h < 2·2^59 + 2^60 = 2^61; f < 2·(2^59 + 2^60), and its 1024p exceed 2^61 − 2^15 > g;
    /// e < 2^59 + 2^62, and its 2048p exceed 2^62 − 2^16 > h. All are below 2^63.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn double(&self) -> Completed {
        let xx = self.x.squared();
        let yy = self.y.squared_from::<512>();
        let g = yy.minus(&xx);
        let h = yy.plus(&xx);
        let zz = self.z.squared_from::<512>();
        let f = zz.plus(&zz).minus(&g);
        // (X + Y)² − X² − Y² = 2XY
        let e = self.x.plus(&self.y).carry().squared_from::<2048>().minus(&h);
        Completed { e: e.carry(), f: f.carry(), g: g.carry(), h: h.carry() }
    }
}

impl Extended {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn identity() -> Self {
        let (zero, one) = (Field::splat(&[0; 5]), Field::splat(&ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn double(&self) -> Completed {
        Projective { x: self.x, y: self.y, z: self.z }.double()
    }

    /// `self` + `other`, and `self` − `other` in the lanes of `negative`.
    ///
    /// Bounds, with products below 2^59: what is subtracted from starts from 512p, whose limbs exceed 2^60 − 2^14; sums
    /// are below 2·2^59 + 2^60 = 2^61.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn add(&self, other: &Addend, negative: Mask) -> Completed {
        // −(x, y) = (−x, y): Y + X and Y − X change places, and T changes its sign.
        let y_plus_x = other.y_plus_x.or_where(negative, &other.y_minus_x);
        let y_minus_x = other.y_minus_x.or_where(negative, &other.y_plus_x);
        let a = self.y.minus(&self.x).carry().times(&y_minus_x);
        let b = self.y.plus(&self.x).carry().times_from::<512>(&y_plus_x);
        let c = self.t.times(&other.twice_dt);
        let d = self.z.times_from::<512>(&other.twice_z);
        let (difference, sum) = (d.minus(&c), d.plus(&c));
        let f = difference.or_where(negative, &sum);
        let g = sum.or_where(negative, &difference);
        Completed { e: b.minus(&a).carry(), f: f.carry(), g: g.carry(), h: b.plus(&a).carry() }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn addend(&self) -> Addend {
        Addend {
            y_plus_x: self.y.plus(&self.x).carry(),
            y_minus_x: self.y.minus(&self.x).carry(),
            twice_z: self.z.plus(&self.z).carry(),
            twice_dt: self.t.times(&Field::splat(&TWICE_D)).carry(),
        }
    }
}

impl Addend {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn identity() -> Self {
        let one = Field::splat(&ONE);
        Self { y_plus_x: one, y_minus_x: one, twice_z: one.plus(&one).carry(), twice_dt: Field::splat(&[0; 5]) }
    }

    /// No point, but the beginning of a choice among several.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn zeros() -> Self {
        let zero = Field::splat(&[0; 5]);
        Self { y_plus_x: zero, y_minus_x: zero, twice_z: zero, twice_dt: zero }
    }

    /// `other` in the lanes of `mask`, where `self` must be [`zeros`](Self::zeros); `self` in the others.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn and_where(&self, mask: Mask, other: &Self) -> Self {
        Self {
            y_plus_x: self.y_plus_x.and_where(mask, &other.y_plus_x),
            y_minus_x: self.y_minus_x.and_where(mask, &other.y_minus_x),
            twice_z: self.twice_z.and_where(mask, &other.twice_z),
            twice_dt: self.twice_dt.and_where(mask, &other.twice_dt),
        }
    }
}
