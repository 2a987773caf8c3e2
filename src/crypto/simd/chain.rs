//! Powers to fixed exponents: inverses and square roots.
//!
//! A chain of squarings waits for each result; one chain alone leaves two fifths of the multipliers' time unused. So
//! chains take `N` groups of eight elements at a time.

use super::constants::{ONE, SQRT_M1};
use super::field::{Field, Mask};

/// `x` squared `count` times.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn squared_times<const N: usize>(x: &[Field; N], count: usize) -> [Field; N] {
    let mut powers = *x;
    for _ in 0..count {
        for power in &mut powers {
            *power = power.squared().carry();
        }
    }
    powers
}

/// `x` · `y`
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn products<const N: usize>(x: &[Field; N], y: &[Field; N]) -> [Field; N] {
    let mut products = *x;
    for i in 0..N {
        products[i] = x[i].times(&y[i]).carry();
    }
    products
}

/// x^(2^250 − 1) and x^11, which both exponents begin with: 249 squarings and 10 multiplications, the chain of
/// Bernstein, "Curve25519: new Diffie-Hellman speed records" (2006).
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn common_powers<const N: usize>(x: &[Field; N]) -> ([Field; N], [Field; N]) {
    let x2 = squared_times(x, 1);
    let x9 = products(&squared_times(&x2, 2), x);
    let x11 = products(&x9, &x2);
    // ones[n] = x^(2^n − 1)
    let ones5 = products(&squared_times(&x11, 1), &x9);
    let ones10 = products(&squared_times(&ones5, 5), &ones5);
    let ones20 = products(&squared_times(&ones10, 10), &ones10);
    let ones40 = products(&squared_times(&ones20, 20), &ones20);
    let ones50 = products(&squared_times(&ones40, 10), &ones10);
    let ones100 = products(&squared_times(&ones50, 50), &ones50);
    let ones200 = products(&squared_times(&ones100, 100), &ones100);
    (products(&squared_times(&ones200, 50), &ones50), x11)
}

/// 1/`x`, as x^(p − 2) with p − 2 = 2^5·(2^250 − 1) + 11; zero for zero.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn inverse(x: &Field) -> Field {
    let (ones250, x11) = common_powers(&[*x]);
    let [inverse] = products(&squared_times(&ones250, 5), &x11);
    inverse
}

/// x^((p − 5)/8), with (p − 5)/8 = 2^2·(2^250 − 1) + 1.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn power_p58<const N: usize>(x: &[Field; N]) -> [Field; N] {
    let (ones250, _) = common_powers(x);
    products(&squared_times(&ones250, 2), x)
}

/// √(u/v), not negative, where u/v is a square, and √(i·u/v) where it is not; with the lanes where it is. Zero and a
/// square for u = 0; zero and no square for v = 0 alone. RFC 9496, section 4.2.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn sqrt_ratio<const N: usize>(u: &[Field; N], v: &[Field; N]) -> [(Mask, Field); N] {
    let i = Field::splat(&SQRT_M1);
    let v3 = products(&squared_times(v, 1), v);
    let v7 = products(&squared_times(&v3, 1), v);
    let roots = products(&products(u, &v3), &power_p58(&products(u, &v7)));
    let checks = products(v, &squared_times(&roots, 1));
    let mut ratios = [(Mask::none(), roots[0]); N];
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
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn invert_all(elements: &mut [Field]) {
    let one = Field::splat(&ONE);
    let mut product = one;
    let mut before = zeroize::Zeroizing::new(Vec::with_capacity(elements.len()));
    for element in elements.iter() {
        before.push(product);
        product = product.times(&element.or_where(element.is_zero(), &one)).carry();
    }
    let mut inverse = inverse(&product);
    for (element, before) in elements.iter_mut().zip(before.iter()).rev() {
        let zero = element.is_zero();
        let own = inverse.times(before).carry();
        inverse = inverse.times(&element.or_where(zero, &one)).carry();
        *element = own.or_where(zero, &Field::splat(&[0; 5]));
    }
}
