//! Field, chains and point formulas against big integers, on any limbs that their bounds allow.

use num_bigint::BigUint;
use proptest::prelude::*;

use super::numbers::{
    Limbs, d, element, everywhere, integer, inverse, is_square, lanes_of, minus, numbers, p, pack, root, unpack,
};
use super::*;
use crate::crypto::simd::chain::{inverse as invert, invert_all, sqrt_ratio};
use crate::crypto::simd::constants::*;
use crate::crypto::simd::field::{Field, LIMB_MASK, Mask, P, REDUCED, Sum};
use crate::crypto::simd::limbs::Lanes;
use crate::crypto::simd::point::{Addend, Completed, Extended, Projective};
use crate::crypto::tests::cases;

/// Limbs at which something ends: none, one, all of a limb's 51 bits, the largest that a field element may have.
const EDGES: [u64; 7] = [0, 1, 18, P[0], LIMB_MASK, LIMB_MASK + 1, REDUCED - 1];

fn any_limb() -> impl Strategy<Value = u64> {
    prop_oneof![1 => prop::sample::select(&EDGES[..]), 2 => 0..REDUCED]
}

pub(super) fn any_limbs() -> impl Strategy<Value = Limbs> {
    let random = prop::array::uniform8(prop::array::uniform5(any_limb()));
    // Now and then all limbs of all lanes the same.
    prop_oneof![4 => random, 1 => prop::sample::select(&EDGES[..]).prop_map(|limb| [[limb; 5]; LANES])]
}

/// Elements whose limbs or values are at an edge: 0 and 1, p − 1, p and p + 1 unreduced, the largest limbs of all.
fn edges() -> Limbs {
    let largest = [REDUCED - 1; 5];
    let p_plus_1 = [P[0] + 1, P[1], P[2], P[3], P[4]];
    let p_minus_1 = [P[0] - 1, P[1], P[2], P[3], P[4]];
    [[0; 5], [1, 0, 0, 0, 0], p_minus_1, P, p_plus_1, [LIMB_MASK; 5], largest, [0, 0, 0, 0, REDUCED - 1]]
}

fn assert_numbers(field: &[BigUint], expected: impl Fn(usize) -> BigUint) {
    for (lane, number) in field.iter().enumerate() {
        assert_eq!(number, &(expected(lane) % p()), "lane {lane}");
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn assert_reduced(field: &Field) {
    assert!(unpack(field).as_flattened().iter().all(|limb| *limb < REDUCED));
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn check_arithmetic(x: &Limbs, y: &Limbs) {
    let (a, b) = (pack(x), pack(y));
    let (m, n): (Vec<_>, Vec<_>) = (x.iter().map(integer).collect(), y.iter().map(integer).collect());
    let check = |sum: &Sum, expected: &dyn Fn(usize) -> BigUint| {
        let field = sum.carry();
        assert_reduced(&field);
        assert_numbers(&numbers(&field), expected);
    };
    check(&a.times(&b), &|i| &m[i] * &n[i]);
    check(&a.times_from::<512>(&b), &|i| &m[i] * &n[i]);
    check(&a.squared(), &|i| &m[i] * &m[i]);
    check(&a.squared_from::<2048>(), &|i| &m[i] * &m[i]);
    check(&a.plus(&b), &|i| &m[i] + &n[i]);
    check(&a.minus(&b), &|i| minus(&m[i], &n[i]));
    for product in [a.times(&b), a.squared()] {
        assert!(unpack(&Field(product.0)).as_flattened().iter().all(|limb| *limb < 1 << 59), "the bound of products");
    }
    assert_numbers(&numbers(&a.negated()), |i| minus(&BigUint::ZERO, &m[i]));
    assert_numbers(&numbers(&a.or_where(lanes_of(0b1010_0110), &b)), |i| {
        if 0b1010_0110 >> i & 1 == 1 { n[i].clone() } else { m[i].clone() }
    });
    for lane in 0..LANES {
        let (canonical, other) = (&m[lane] % p(), &n[lane] % p());
        let bit = |mask: Mask| mask.bits() >> lane & 1 == 1;
        assert_eq!(bit(a.is_negative()), canonical.bit(0));
        assert_eq!(bit(a.is_zero()), canonical == BigUint::ZERO);
        assert_eq!(bit(a.is_equal(&b)), canonical == other);
        let words: Vec<u64> = a.pack().iter().map(|word| word.0[lane]).collect();
        let mut expected = canonical.to_u64_digits();
        expected.resize(4, 0);
        assert_eq!(words, expected, "the canonical form");
    }
    let absolute = numbers(&a.absolute());
    assert_numbers(&absolute, |i| if (&m[i] % p()).bit(0) { minus(&BigUint::ZERO, &m[i]) } else { m[i].clone() });
    assert_eq!(a.absolute().is_negative().bits(), 0);
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn check_chains(x: &Limbs, y: &Limbs) {
    let (u, v) = (pack(x), pack(y));
    let (m, n): (Vec<_>, Vec<_>) = (x.iter().map(integer).collect(), y.iter().map(integer).collect());
    assert_numbers(&numbers(&invert(&u)), |i| inverse(&m[i]));
    // Zeros, in any lane of any group, spoil no one's inverse.
    let mut all = [u, v, pack(&edges()), Field::splat(&[0; 5]), u];
    invert_all(&mut all);
    for (inverses, of) in all.iter().zip([&m, &n, &edges().iter().map(integer).collect(), &vec![BigUint::ZERO; 8], &m])
    {
        assert_numbers(&numbers(inverses), |i| inverse(&of[i]));
    }
    for ((was_square, roots), (over, under)) in sqrt_ratio(&[u, v], &[v, u]).iter().zip([(&m, &n), (&n, &m)]) {
        for (lane, root) in numbers(roots).iter().enumerate() {
            check_root(was_square.bits() >> lane & 1 == 1, root, &(&over[lane] % p()), &(&under[lane] % p()));
        }
    }
}

/// RFC 9496, section 4.2, by the four cases of its text.
fn check_root(was_square: bool, root: &BigUint, u: &BigUint, v: &BigUint) {
    let square_times_v = root * root * v % p();
    assert!(!root.bit(0), "negative");
    if *u == BigUint::ZERO {
        assert_eq!((was_square, root), (true, u));
    } else if *v == BigUint::ZERO {
        assert_eq!((was_square, root), (false, v));
    } else if is_square(&(u * v)) {
        assert_eq!((was_square, &square_times_v), (true, u));
    } else {
        assert_eq!((was_square, square_times_v), (false, u * integer(&SQRT_M1) % p()));
    }
}

/// The formulas as papers have them, on coordinates that need not be a point's: what matters here are the limbs.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn check_points(x: &Limbs, y: &Limbs) {
    let (a, b) = (pack(x), pack(y));
    let (m, n): (Vec<_>, Vec<_>) = (x.iter().map(integer).collect(), y.iter().map(integer).collect());
    let Completed { e, f, g, h } = Projective { x: a, y: b, z: a }.double();
    for field in [&e, &f, &g, &h] {
        assert_reduced(field);
    }
    assert_numbers(&numbers(&e), |i| 2u8 * &m[i] * &n[i]);
    assert_numbers(&numbers(&g), |i| minus(&(&n[i] * &n[i]), &(&m[i] * &m[i])));
    assert_numbers(&numbers(&h), |i| &n[i] * &n[i] + &m[i] * &m[i]);
    assert_numbers(&numbers(&f), |i| minus(&(3u8 * &m[i] * &m[i]), &(&n[i] * &n[i])));

    let point = Extended { x: a, y: b, z: b, t: a };
    let addend = point.addend();
    let d = d();
    for (negative, sign) in [(Mask::none(), true), (Mask::none().not(), false)] {
        let Completed { e, f, g, h } = point.add(&addend, negative);
        let signed = |number: BigUint| if sign { number } else { minus(&BigUint::ZERO, &number) };
        let product = |i: usize, plus: bool| {
            // (Y ± X)·(Y' ± X') with X' = ±X
            let other = signed(m[i].clone());
            let factor = |x: &BigUint| if plus { &n[i] + x } else { minus(&n[i], x) };
            factor(&m[i]) * factor(&other) % p()
        };
        let c = |i: usize| signed(2u8 * &d * &m[i] * &m[i] % p());
        let dd = |i: usize| 2u8 * &n[i] * &n[i] % p();
        assert_numbers(&numbers(&e), |i| minus(&product(i, true), &product(i, false)));
        assert_numbers(&numbers(&h), |i| product(i, true) + product(i, false));
        assert_numbers(&numbers(&f), |i| minus(&dd(i), &c(i)));
        assert_numbers(&numbers(&g), |i| dd(i) + c(i));
    }
    let Addend { y_plus_x, y_minus_x, twice_z, twice_dt } = addend;
    assert_numbers(&numbers(&y_plus_x), |i| &n[i] + &m[i]);
    assert_numbers(&numbers(&y_minus_x), |i| minus(&n[i], &m[i]));
    assert_numbers(&numbers(&twice_z), |i| 2u8 * &n[i]);
    assert_numbers(&numbers(&twice_dt), |i| 2u8 * &d * &m[i]);
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn arithmetic_is_that_of_integers_modulo_p(x in any_limbs(), y in any_limbs()) {
        if kernel().is_some() {
            // SAFETY: `kernel` gave one, so the processor has the instructions.
            unsafe { check_arithmetic(&x, &y) };
        }
    }

    #[test]
    fn point_formulas_are_those_of_the_paper_on_any_limbs(x in any_limbs(), y in any_limbs()) {
        if kernel().is_some() {
            // SAFETY: as above.
            unsafe { check_points(&x, &y) };
        }
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn inverses_and_roots_are_those_of_integers_modulo_p(x in any_limbs(), y in any_limbs()) {
        if kernel().is_some() {
            // SAFETY: as above.
            unsafe { check_chains(&x, &y) };
        }
    }
}

#[test]
fn values_at_the_edge_meet_each_other_in_every_lane() {
    if kernel().is_none() {
        return;
    }
    for shift in 0..LANES {
        let mut shifted = edges();
        shifted.rotate_left(shift);
        // SAFETY: `kernel` gave one, so the processor has the instructions.
        unsafe {
            check_arithmetic(&edges(), &shifted);
            check_points(&edges(), &shifted);
            check_chains(&edges(), &shifted);
        }
    }
}

#[test]
fn masks_are_of_whole_lanes() {
    if kernel().is_none() {
        return;
    }
    // SAFETY: `kernel` gave one, so the processor has the instructions.
    unsafe { check_masks() }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn check_masks() {
    let integers = Lanes([0, 1, 2, u64::MAX, 1 << 63, (1 << 63) - 1, (1 << 63) + 1, 0]).load();
    assert_eq!(Mask::of_zero(integers).bits(), 0b1000_0001);
    assert_eq!(Mask::of_negative(integers).bits(), 0b0101_1000);
    let (ones, x) = (Field::splat(&[u64::MAX; 5]), pack(&edges()));
    for bits in 0..=255 {
        let mask = lanes_of(bits);
        assert_eq!((mask.bits(), mask.not().bits(), mask.or(lanes_of(0x0f)).bits()), (bits, !bits, bits | 0x0f));
        let (chosen, kept) = (unpack(&ones.or_where(mask, &x)), unpack(&Field::splat(&[0; 5]).and_where(mask, &x)));
        for lane in 0..LANES {
            let here = bits >> lane & 1 == 1;
            assert_eq!(chosen[lane], if here { edges()[lane] } else { [u64::MAX; 5] });
            assert_eq!(kept[lane], if here { edges()[lane] } else { [0; 5] });
        }
    }
}

#[test]
fn a_products_factors_must_be_reduced_and_debug_builds_hold_them_to_it() {
    if kernel().is_none() || !cfg!(debug_assertions) {
        return;
    }
    let product = || {
        // SAFETY: `kernel` gave one, so the processor has the instructions.
        unsafe {
            let one = Field::splat(&ONE);
            let mut limbs = unpack(&one);
            limbs[5][3] = REDUCED;
            _ = one.times(&pack(&limbs));
        }
    };
    assert!(std::panic::catch_unwind(product).is_err());
}

#[test]
fn constants_satisfy_their_equations() {
    let number = |limbs: [u64; 5]| integer(&limbs);
    let one = BigUint::from(1u8);
    assert_eq!(number(ONE), one);
    assert_eq!(number(D), d());
    assert_eq!(number(TWICE_D), 2u8 * d() % p());
    let i = number(SQRT_M1);
    assert_eq!(&i * &i % p(), p() - 1u8);
    assert!(!i.bit(0));
    // a·d − 1 = −d − 1 = a − d
    let a_minus_d = minus(&(p() - 1u8), &d());
    let (root_ad, inverse_root) = (number(SQRT_AD_MINUS_ONE), number(INVSQRT_A_MINUS_D));
    assert_eq!(&root_ad * &root_ad % p(), a_minus_d);
    assert_eq!(&inverse_root * &inverse_root % p() * &a_minus_d % p(), one);
    assert_eq!(number(ONE_MINUS_D_SQ), minus(&one, &(d() * d())));
    let d_minus_one = minus(&d(), &one);
    assert_eq!(number(D_MINUS_ONE_SQ), &d_minus_one * &d_minus_one % p());
    for limbs in [D, TWICE_D, SQRT_M1, SQRT_AD_MINUS_ONE, INVSQRT_A_MINUS_D, ONE_MINUS_D_SQ, D_MINUS_ONE_SQ] {
        assert_eq!(element(&number(limbs)), limbs, "below p");
    }
}

/// Where in one lane a point of order 8 or less is doubled and encoded: zero, and no harm to the lanes beside it.
#[test]
fn torsion_is_encoded_as_the_identity_and_changes_no_encoding() {
    if kernel().is_none() {
        return;
    }
    // SAFETY: `kernel` gave one, so the processor has the instructions.
    unsafe { check_torsion() }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn check_torsion() {
    use curve25519_dalek::constants::EIGHT_TORSION;

    let mut rng = rng(70);
    let mut elements = vec![[0; 32]; LANES];
    Dalek.map_mul_encode(&uniform(LANES, &mut rng), &SecretScalar::random(&mut rng), &mut elements);
    let points = decode(&elements).unwrap()[0];
    let mut expected = vec![[0; 32]; LANES];
    let two = SecretScalar::of(Scalar::from(2u8));
    Dalek.decode_mul_encode(&elements, &two, &mut expected).unwrap();

    for torsion in EIGHT_TORSION {
        let compressed = torsion.compress().to_bytes();
        let y = BigUint::from_bytes_le(&compressed) % (BigUint::from(1u8) << 255u8);
        // −x² + y² = 1 + d·x²·y²
        let xx = minus(&(&y * &y), &BigUint::from(1u8)) * inverse(&(&d() * &y * &y + 1u8)) % p();
        let mut x = root(&xx);
        if x.bit(0) != (compressed[31] >> 7 == 1) {
            x = minus(&BigUint::ZERO, &x);
        }
        let (x, y) = (everywhere(&x), everywhere(&y));
        let torsion = Extended { x, y, z: Field::splat(&ONE), t: x.times(&y).carry() };
        let as_projective = |point: &Extended| Projective { x: point.x, y: point.y, z: point.z };

        let moved = points.add(&torsion.addend(), Mask::none()).extended();
        let mut encodings = vec![[9; 32]; 3 * LANES];
        let halves = [as_projective(&moved), as_projective(&torsion), as_projective(&points)];
        ristretto::encode_doubled(&halves, &mut encodings);
        assert_eq!(encodings[..LANES], expected, "a point and one of its coset's are one element");
        assert_eq!(encodings[LANES..2 * LANES], [[0; 32]; LANES], "the identity");
        assert_eq!(encodings[2 * LANES..], expected, "beside the identity");
        // In some lanes of a group only.
        let mixed = Projective {
            x: points.x.or_where(lanes_of(0b0100_1001), &x),
            y: points.y.or_where(lanes_of(0b0100_1001), &y),
            z: points.z,
        };
        ristretto::encode_doubled(&[mixed], &mut encodings[..LANES]);
        for lane in 0..LANES {
            let identity = 0b0100_1001 >> lane & 1 == 1;
            assert_eq!(encodings[lane], if identity { [0; 32] } else { expected[lane] });
        }
    }
}
