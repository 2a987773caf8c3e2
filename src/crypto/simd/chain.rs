//! Powers to fixed exponents: inverses and square roots.
//!
//! A chain of squarings waits for each result; one chain alone leaves much of the multipliers' time unused. So chains
//! take `N` groups of elements at a time.

use zeroize::Zeroizing;

use super::constants::{ONE, SQRT_M1, ZERO};
use super::field::{Field, Mask};
use super::vector::{Machine, Step};

/// `x`^(2^`squarings`) · `y`. A function of its own, as chains are made of nothing else: inlined, their code would not fit
/// a cache.
struct PowerTimes<'a, M: Machine, const N: usize> {
    x: &'a [Field<M>; N],
    squarings: usize,
    y: &'a [Field<M>; N],
}

impl<M: Machine, const N: usize> Step<M> for PowerTimes<'_, M, N> {
    type Output = [Field<M>; N];

    #[inline(always)]
    fn go(self, _machine: M) -> Self::Output {
        let mut powers = *self.x;
        for _ in 0..self.squarings {
            for power in &mut powers {
                *power = power.squared().carry();
            }
        }
        for (power, y) in powers.iter_mut().zip(self.y) {
            *power = power.times(y).carry();
        }
        powers
    }
}

/// The machine, and how its powers read as a chain.
#[derive(Clone, Copy)]
struct Chain<M>(M);

impl<M: Machine> Chain<M> {
    /// `x`^(2^`squarings`) · `y`
    #[inline(always)]
    fn power_times<const N: usize>(self, x: &[Field<M>; N], squarings: usize, y: &[Field<M>; N]) -> [Field<M>; N] {
        self.0.run(PowerTimes { x, squarings, y })
    }

    /// x^(2^250 − 1) and x^11, which both exponents begin with: 248 squarings and 12 multiplications, the chain of
    /// Bernstein, "Curve25519: new Diffie-Hellman speed records" (2006).
    #[inline(always)]
    fn common_powers<const N: usize>(self, x: &[Field<M>; N]) -> ([Field<M>; N], [Field<M>; N]) {
        let x2 = self.power_times(x, 0, x);
        let x9 = self.power_times(&x2, 2, x);
        let x11 = self.power_times(&x9, 0, &x2);
        // ones[n] = x^(2^n − 1)
        let ones5 = self.power_times(&x11, 1, &x9);
        let ones10 = self.power_times(&ones5, 5, &ones5);
        let ones20 = self.power_times(&ones10, 10, &ones10);
        let ones40 = self.power_times(&ones20, 20, &ones20);
        let ones50 = self.power_times(&ones40, 10, &ones10);
        let ones100 = self.power_times(&ones50, 50, &ones50);
        let ones200 = self.power_times(&ones100, 100, &ones100);
        (self.power_times(&ones200, 50, &ones50), x11)
    }
}

/// 1/`x`, as x^(p − 2) with p − 2 = 2^5·(2^250 − 1) + 11; zero for zero.
#[inline(always)]
pub(super) fn inverse<M: Machine>(machine: M, x: &Field<M>) -> Field<M> {
    let chain = Chain(machine);
    let (ones250, x11) = chain.common_powers(&[*x]);
    let [inverse] = chain.power_times(&ones250, 5, &x11);
    inverse
}

/// √(u/v), not negative, where u/v is a square, and √(i·u/v) where it is not; with the lanes where it is. Zero and a
/// square for u = 0; zero and no square for v = 0 alone. RFC 9496, section 4.2.
#[inline(always)]
pub(super) fn sqrt_ratio<M: Machine, const N: usize>(
    machine: M,
    u: &[Field<M>; N],
    v: &[Field<M>; N],
) -> [(Mask<M::Word>, Field<M>); N] {
    let chain = Chain(machine);
    let i = Field::splat(machine, &SQRT_M1);
    let v3 = chain.power_times(v, 1, v);
    let v7 = chain.power_times(&v3, 1, v);
    let uv7 = chain.power_times(u, 0, &v7);
    // (p − 5)/8 = 2^2·(2^250 − 1) + 1
    let (ones250, _) = chain.common_powers(&uv7);
    let power_p58 = chain.power_times(&ones250, 2, &uv7);
    let roots = chain.power_times(&chain.power_times(u, 0, &v3), 0, &power_p58);
    let checks = chain.power_times(&roots, 1, v);
    let mut ratios = [(Mask::none(machine), roots[0]); N];
    for k in 0..N {
        let minus_u = u[k].negated();
        let correct = checks[k].is_equal(&u[k]);
        let flipped = checks[k].is_equal(&minus_u);
        let flipped_i = checks[k].is_equal(&minus_u.times(&i).carry());
        let root = roots[k].or_where(flipped.or(flipped_i), &roots[k].times(&i).carry());
        ratios[k] = (correct.or(flipped), root.absolute());
    }
    ratios
}

/// The inverse of each of `elements` in place, by one inversion (Montgomery's trick, lane by lane). Zero stays zero:
/// in the products one stands in for it, so that it spoils nobody's inverse.
#[inline(always)]
pub(super) fn invert_all<M: Machine>(machine: M, elements: &mut [Field<M>]) {
    let one = Field::splat(machine, &ONE);
    let mut product = one;
    let mut before = Zeroizing::new(Vec::with_capacity(elements.len()));
    for element in elements.iter() {
        before.push(product);
        product = product.times(&element.or_where(element.is_zero(), &one)).carry();
    }
    let mut inverse = inverse(machine, &product);
    for (element, before) in elements.iter_mut().zip(before.iter()).rev() {
        let zero = element.is_zero();
        let own = inverse.times(before).carry();
        inverse = inverse.times(&element.or_where(zero, &one)).carry();
        *element = own.or_where(zero, &Field::splat(machine, &ZERO));
    }
}
