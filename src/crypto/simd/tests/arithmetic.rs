//! Field, chains and point formulas against big integers, on any limbs that their bounds allow.

use num_bigint::BigUint;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::numbers::{
    Limbs, Open, d, element, everywhere, integer, inverse, is_square, lanes_of, limb_mask, limbs_of_p, minus, numbers,
    p, pack, root, unpack, word,
};
use super::*;
use crate::crypto::simd::chain::{inverse as invert, invert_all, sqrt_ratio};
use crate::crypto::simd::constants::*;
use crate::crypto::simd::field::{Field, Mask, Stored, Sum};
use crate::crypto::simd::point::{Addend, Completed, Extended, Projective};
use crate::crypto::tests::cases;

on_each_machine! {
    arithmetic_is_that_of_integers_modulo_p;
    point_formulas_are_those_of_the_paper_on_any_limbs;
    inverses_and_roots_are_those_of_integers_modulo_p;
    values_at_the_edge_meet_each_other_in_every_lane;
    what_is_carried_may_be_anything_below_its_bound;
    masks_are_of_whole_lanes;
    a_products_factors_must_be_reduced_and_debug_builds_hold_them_to_it;
    constants_satisfy_their_equations;
    torsion_is_encoded_as_the_identity_and_changes_no_encoding;
}

/// Limbs at which something ends: none, one, all of a limb's bits, the largest that a factor may have.
fn limb_edges<M: Open>(i: usize) -> Vec<u64> {
    let mask = limb_mask::<M>(i);
    vec![0, 1, 18, limbs_of_p::<M>()[i], mask, mask + 1, M::REDUCED.as_ref()[i] - 1]
}

/// Integers of limbs below `bounds`, one per lane.
fn any_below<M: Open>(bounds: &[u64]) -> impl Strategy<Value = Vec<Limbs>> + use<M> {
    let limb = |(i, bound): (usize, &u64)| prop_oneof![1 => prop::sample::select(limb_edges::<M>(i)), 2 => 0..*bound, 1 => Just(bound - 1)];
    let limbs: Vec<_> = bounds.iter().enumerate().map(limb).collect();
    let random = prop::collection::vec(limbs, M::LANES);
    // Now and then all lanes the same.
    (random, prop::bool::weighted(0.2))
        .prop_map(|(random, same)| if same { vec![random[0].clone(); M::LANES] } else { random })
}

pub(super) fn any_limbs<M: Open>() -> impl Strategy<Value = Vec<Limbs>> {
    any_below::<M>(M::REDUCED.as_ref())
}

/// Elements whose limbs or values are at an edge: 0 and 1, p − 1, p and p + 1 unreduced, the largest limbs of all.
fn edges<M: Open>() -> Vec<Limbs> {
    let largest: Limbs = M::REDUCED.as_ref().iter().map(|bound| bound - 1).collect();
    let zero = vec![0; largest.len()];
    let one = element::<M>(&1u8.into());
    let p = limbs_of_p::<M>();
    let (mut p_plus_1, mut p_minus_1, mut last) = (p.clone(), p.clone(), zero.clone());
    p_plus_1[0] += 1;
    p_minus_1[0] -= 1;
    last[largest.len() - 1] = largest[largest.len() - 1];
    let masks = (0..largest.len()).map(limb_mask::<M>).collect();
    vec![zero, one, p_minus_1, p, p_plus_1, masks, largest, last]
}

/// As many edges as there are lanes, from the `start`th on.
fn lanes_of_edges<M: Open>(start: usize) -> Vec<Limbs> {
    edges::<M>().into_iter().cycle().skip(start).take(M::LANES).collect()
}

fn integers<M: Open>(elements: &[Limbs]) -> Vec<BigUint> {
    elements.iter().map(|limbs| integer::<M>(limbs)).collect()
}

#[track_caller]
fn assert_numbers<M: Open>(field: &Field<M>, expected: impl Fn(usize) -> BigUint) {
    for (lane, number) in numbers(field).iter().enumerate() {
        assert_eq!(number, &(expected(lane) % p()), "lane {lane}");
    }
}

fn check_sum<M: Open>(sum: &Sum<M>, expected: impl Fn(usize) -> BigUint) {
    let field = sum.carry();
    assert!(field.is_reduced());
    assert_numbers(&field, expected);
}

/// What products promise: limbs below 2^59, and less than the multiple of p above which others begin.
fn assert_bounds_of_a_product<M: Open>(product: &Sum<M>) {
    for limbs in unpack::<M>(&product.0) {
        assert!(limbs.iter().zip(M::ABOVE_PRODUCT.as_ref()).all(|(limb, above)| limb < &(1 << 59) && limb < above));
    }
}

fn check_arithmetic<M: Open>(machine: M, x: &[Limbs], y: &[Limbs]) {
    let (a, b) = (pack(machine, x), pack(machine, y));
    let (m, n) = (integers::<M>(x), integers::<M>(y));
    check_sum(&a.times(&b), |i| &m[i] * &n[i]);
    check_sum(&a.times_above(&b), |i| &m[i] * &n[i]);
    check_sum(&a.squared(), |i| &m[i] * &m[i]);
    check_sum(&a.squared_above(), |i| &m[i] * &m[i]);
    check_sum(&a.sum_squared_above(&b), |i| (&m[i] + &n[i]) * (&m[i] + &n[i]));
    check_sum(&a.plus(&b), |i| &m[i] + &n[i]);
    check_sum(&a.minus(&b), |i| minus(&m[i], &n[i]));
    check_sum(&a.times(&b).plus(&b.squared()).negated(), |i| minus(&BigUint::ZERO, &((&m[i] + &n[i]) * &n[i])));
    check_sum(&a.times_above(&b).minus(&b.squared()), |i| minus(&(&m[i] * &n[i]), &(&n[i] * &n[i])));
    assert_bounds_of_a_product(&a.times(&b));
    assert_bounds_of_a_product(&a.squared());
    assert_numbers(&a.negated(), |i| minus(&BigUint::ZERO, &m[i]));
    assert_numbers(&a.or_where(lanes_of(machine, 0b1010_0110), &b), |i| {
        if 0b1010_0110 >> i & 1 == 1 { n[i].clone() } else { m[i].clone() }
    });
    assert_eq!(unpack::<M>(&a.stored().field().0), x, "as a table keeps it");
    let words: [M::Lanes; 4] = a.pack();
    assert_numbers(&Field::unpack(machine, &words), |i| m[i].clone());
    for lane in 0..M::LANES {
        let (canonical, other) = (&m[lane] % p(), &n[lane] % p());
        let bit = |mask: Mask<M::Word>| mask.bits() >> lane & 1 == 1;
        assert_eq!(bit(a.is_negative()), canonical.bit(0));
        assert_eq!(bit(a.is_zero()), canonical == BigUint::ZERO);
        assert_eq!(bit(a.is_equal(&b)), canonical == other);
        assert!(bit(a.packs_to(machine, &words)));
        assert_eq!(bit(b.packs_to(machine, &words)), canonical == other);
        let words: Vec<u64> = words.iter().map(|word| word.as_ref()[lane]).collect();
        let mut expected = canonical.to_u64_digits();
        expected.resize(4, 0);
        assert_eq!(words, expected, "the canonical form");
    }
    assert_numbers(&a.absolute(), |i| if (&m[i] % p()).bit(0) { minus(&BigUint::ZERO, &m[i]) } else { m[i].clone() });
    assert_eq!(a.absolute().is_negative().bits(), 0);
}

fn check_chains<M: Open>(machine: M, x: &[Limbs], y: &[Limbs]) {
    let (u, v) = (pack(machine, x), pack(machine, y));
    let (m, n) = (integers::<M>(x), integers::<M>(y));
    assert_numbers(&invert(machine, &u), |i| inverse(&m[i]));
    // Zeros, in any lane of any group, spoil no one's inverse.
    let edges = lanes_of_edges::<M>(0);
    let mut all = [u, v, pack(machine, &edges), Field::splat(machine, &ZERO), u];
    invert_all(machine, &mut all);
    let of = [&m, &n, &integers::<M>(&edges), &vec![BigUint::ZERO; M::LANES], &m];
    for (inverses, of) in all.iter().zip(of) {
        assert_numbers(inverses, |i| inverse(&of[i]));
    }
    for ((was_square, roots), (over, under)) in sqrt_ratio(machine, &[u, v], &[v, u]).iter().zip([(&m, &n), (&n, &m)]) {
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
        let i = root_of_minus_one();
        assert_eq!((was_square, square_times_v), (false, u * i % p()));
    }
}

/// Of the two the one that is not negative.
fn root_of_minus_one() -> BigUint {
    let i = root(&(p() - 1u8));
    if i.bit(0) { p() - i } else { i }
}

/// The formulas as papers have them, on coordinates that need not be a point's: what matters here are the limbs.
fn check_points<M: Open>(machine: M, x: &[Limbs], y: &[Limbs]) {
    let (a, b) = (pack(machine, x), pack(machine, y));
    let (m, n) = (integers::<M>(x), integers::<M>(y));
    let Completed { e, f, g, h } = Projective { x: a, y: b, z: a }.double();
    for field in [&e, &f, &g, &h] {
        assert!(field.is_reduced());
    }
    assert_numbers(&e, |i| 2u8 * &m[i] * &n[i]);
    assert_numbers(&g, |i| minus(&(&n[i] * &n[i]), &(&m[i] * &m[i])));
    assert_numbers(&h, |i| &n[i] * &n[i] + &m[i] * &m[i]);
    assert_numbers(&f, |i| minus(&(3u8 * &m[i] * &m[i]), &(&n[i] * &n[i])));

    let point = Extended { x: a, y: b, z: b, t: a };
    let addend = point.addend(machine);
    let d = d();
    for (negative, sign) in [(Mask::none(machine), true), (Mask::none(machine).not(), false)] {
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
        assert_numbers(&e, |i| minus(&product(i, true), &product(i, false)));
        assert_numbers(&h, |i| product(i, true) + product(i, false));
        assert_numbers(&f, |i| minus(&dd(i), &c(i)));
        assert_numbers(&g, |i| dd(i) + c(i));
    }
    let Addend { y_plus_x, y_minus_x, twice_z, twice_dt } = addend;
    assert_numbers(&y_plus_x, |i| &n[i] + &m[i]);
    assert_numbers(&y_minus_x, |i| minus(&n[i], &m[i]));
    assert_numbers(&twice_z, |i| 2u8 * &n[i]);
    assert_numbers(&twice_dt, |i| 2u8 * &d * &m[i]);
}

/// `check` on as many values of `strategy` as `PROPTEST_CASES` says; on `few` where it is not set.
pub(super) fn fuzzed<S: Strategy>(few: u32, strategy: S, check: impl Fn(S::Value)) {
    let mut runner = TestRunner::new(ProptestConfig { source_file: Some(file!()), ..cases(few) });
    let passed = runner.run(&strategy, |value| {
        check(value);
        Ok(())
    });
    passed.unwrap();
}

/// `check` on pairs of any factors.
fn any_factors<M: Open>(machine: M, few: u32, check: fn(M, &[Limbs], &[Limbs])) {
    fuzzed(few, (any_limbs::<M>(), any_limbs::<M>()), |(x, y)| check(machine, &x, &y));
}

fn arithmetic_is_that_of_integers_modulo_p<M: Open>(machine: M) {
    any_factors(machine, 128, check_arithmetic);
}

fn point_formulas_are_those_of_the_paper_on_any_limbs<M: Open>(machine: M) {
    any_factors(machine, 128, check_points);
}

fn inverses_and_roots_are_those_of_integers_modulo_p<M: Open>(machine: M) {
    any_factors(machine, 8, check_chains);
}

fn values_at_the_edge_meet_each_other_in_every_lane<M: Open>(machine: M) {
    let count = edges::<M>().len();
    for start in (0..count).step_by(M::LANES) {
        for shift in 0..count {
            let (edges, shifted) = (lanes_of_edges::<M>(start), lanes_of_edges::<M>(start + shift));
            check_arithmetic(machine, &edges, &shifted);
            check_points(machine, &edges, &shifted);
            check_chains(machine, &edges, &shifted);
        }
    }
}

fn what_is_carried_may_be_anything_below_its_bound<M: Open>(machine: M) {
    let check = |limbs: &[Limbs]| {
        check_sum(&Sum::<M>(pack(machine, limbs).0), |lane| integer::<M>(&limbs[lane]));
    };
    check(&vec![vec![(1 << 63) - 1; M::BITS.len()]; M::LANES]);
    fuzzed(256, any_below::<M>(&vec![1 << 63; M::BITS.len()]), |limbs| check(&limbs));
}

fn masks_are_of_whole_lanes<M: Open>(machine: M) {
    let integers = [0, 1, 2, u64::MAX, 1 << 63, (1 << 63) - 1, (1 << 63) + 1, 0];
    for start in (0..8).step_by(M::LANES) {
        let word = word(machine, integers.into_iter().skip(start));
        let all = ((1u16 << M::LANES) - 1) as u8;
        assert_eq!(Mask::of_zero(word).bits(), 0b1000_0001 >> start & all);
        assert_eq!(Mask::of_negative(word).bits(), 0b0101_1000 >> start & all);
    }
    let ones = pack(machine, &vec![vec![u64::MAX; M::BITS.len()]; M::LANES]);
    let edges = lanes_of_edges::<M>(1);
    let x = pack(machine, &edges);
    for bits in 0..(1u16 << M::LANES) {
        let (bits, all) = (bits as u8, ((1u16 << M::LANES) - 1) as u8);
        let mask = lanes_of(machine, bits);
        let with_low = mask.or(lanes_of(machine, 0x0f));
        assert_eq!((mask.bits(), mask.not().bits(), with_low.bits()), (bits, !bits & all, (bits | 0x0f) & all));
        let chosen = unpack::<M>(&ones.or_where(mask, &x).0);
        let kept = unpack::<M>(&Stored::zero(machine).and_where(mask, &x.stored()).field().0);
        for lane in 0..M::LANES {
            let here = bits >> lane & 1 == 1;
            assert_eq!(chosen[lane], if here { edges[lane].clone() } else { vec![u64::MAX; M::BITS.len()] });
            assert_eq!(kept[lane], if here { edges[lane].clone() } else { vec![0; M::BITS.len()] });
        }
    }
}

fn a_products_factors_must_be_reduced_and_debug_builds_hold_them_to_it<M: Open>(machine: M) {
    if !cfg!(debug_assertions) {
        return;
    }
    for limb in 0..M::BITS.len() {
        let product = std::panic::AssertUnwindSafe(|| {
            let one = Field::splat(machine, &ONE);
            let mut limbs = unpack::<M>(&one.0);
            limbs[2][limb] = M::REDUCED.as_ref()[limb];
            _ = one.times(&pack(machine, &limbs));
        });
        assert!(std::panic::catch_unwind(product).is_err());
    }
}

fn constants_satisfy_their_equations<M: Open>(_machine: M) {
    let number = |constant: &Constant| integer::<M>(M::constant(constant).as_ref());
    let one = BigUint::from(1u8);
    assert_eq!(number(&ZERO), BigUint::ZERO);
    assert_eq!(number(&ONE), one);
    assert_eq!(number(&TWO), BigUint::from(2u8));
    assert_eq!(number(&D), d());
    assert_eq!(number(&TWICE_D), 2u8 * d() % p());
    assert_eq!(number(&SQRT_M1), root_of_minus_one());
    // a·d − 1 = −d − 1 = a − d
    let a_minus_d = minus(&(p() - 1u8), &d());
    let (root_ad, inverse_root) = (number(&SQRT_AD_MINUS_ONE), number(&INVSQRT_A_MINUS_D));
    assert_eq!(&root_ad * &root_ad % p(), a_minus_d);
    assert_eq!(&inverse_root * &inverse_root % p() * &a_minus_d % p(), one);
    assert_eq!(number(&ONE_MINUS_D_SQ), minus(&one, &(d() * d())));
    let d_minus_one = minus(&d(), &one);
    assert_eq!(number(&D_MINUS_ONE_SQ), &d_minus_one * &d_minus_one % p());
    for constant in [D, TWICE_D, SQRT_M1, SQRT_AD_MINUS_ONE, INVSQRT_A_MINUS_D, ONE_MINUS_D_SQ, D_MINUS_ONE_SQ] {
        assert_eq!(element::<M>(&number(&constant)), M::constant(&constant).as_ref(), "below p");
    }
    for (multiple, least) in [(M::ABOVE_FACTOR, M::REDUCED), (M::ABOVE_PRODUCT, M::REDUCED)] {
        assert_eq!(integer::<M>(multiple.as_ref()) % p(), BigUint::ZERO);
        assert!(multiple.as_ref().iter().zip(least.as_ref()).all(|(multiple, least)| multiple >= least));
    }
}

/// Where in one lane a point of order 8 or less is doubled and encoded: zero, and no harm to the lanes beside it.
fn torsion_is_encoded_as_the_identity_and_changes_no_encoding<M: Open>(machine: M) {
    use curve25519_dalek::constants::EIGHT_TORSION;

    let lanes = M::LANES;
    let mut rng = rng(70);
    let mut elements = vec![[0; 32]; lanes];
    Dalek.map_mul_encode(&uniform(lanes, &mut rng), &SecretScalar::random(&mut rng), &mut elements);
    let points = decode(machine, &elements).unwrap()[0];
    let mut expected = vec![[0; 32]; lanes];
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
        let (x, y) = (everywhere(machine, &x), everywhere(machine, &y));
        let torsion = Extended { x, y, z: Field::splat(machine, &ONE), t: x.times(&y).carry() };
        let as_projective = |point: &Extended<Field<M>>| Projective { x: point.x, y: point.y, z: point.z };

        let moved = points.add(&torsion.addend(machine), Mask::none(machine)).extended();
        let mut encodings = vec![[9; 32]; 3 * lanes];
        let halves = [as_projective(&moved), as_projective(&torsion), as_projective(&points)];
        machine.run(EncodeDoubled { halves: &halves, encodings: &mut encodings });
        assert_eq!(encodings[..lanes], expected, "a point and one of its coset's are one element");
        assert_eq!(encodings[lanes..2 * lanes], vec![[0; 32]; lanes], "the identity");
        assert_eq!(encodings[2 * lanes..], expected, "beside the identity");
        // In some lanes of a group only.
        let some = lanes_of(machine, 0b0100_1001);
        let mixed = Projective { x: points.x.or_where(some, &x), y: points.y.or_where(some, &y), z: points.z };
        machine.run(EncodeDoubled { halves: &[mixed], encodings: &mut encodings[..lanes] });
        for lane in 0..lanes {
            let identity = 0b0100_1001 >> lane & 1 == 1;
            assert_eq!(encodings[lane], if identity { [0; 32] } else { expected[lane] });
        }
    }
}
