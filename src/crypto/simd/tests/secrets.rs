//! What touches the secret scalar: its digits, the look-up, and whether time tells them apart.

use std::time::Instant;

use num_bigint::BigInt;

use super::*;
use crate::crypto::simd::field::Mask;
use crate::crypto::simd::multiply::{Fill, recode};
use crate::crypto::simd::point::Addend;
use crate::crypto::simd::tests::numbers::{Open, numbers};
use crate::crypto::simd::vector::Step;

on_each_machine! {
    a_look_up_gives_each_lane_the_entry_of_its_own_digit;
    #[ignore = "prints times: cargo test --release time_does_not_tell -- --ignored --nocapture --test-threads=1"]
    time_does_not_tell_scalars_or_digits_apart;
}

/// A digit per lane.
fn lanes<M: Machine>(digits: &[i64]) -> M::Lanes {
    let mut lanes = M::Lanes::default();
    for (lane, digit) in lanes.as_mut().iter_mut().zip(digits) {
        *lane = digit.cast_unsigned();
    }
    lanes
}

#[test]
fn digits_are_small_and_add_up_to_their_scalar() {
    let mut rng = rng(80);
    let mut scalars = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(8u8), Scalar::from(u64::MAX)];
    scalars.extend((0..200).map(|_| Scalar::random(&mut rng)));
    scalars.extend((0..16u8).map(|digit| Scalar::from_bytes_mod_order([digit * 0x11; 32])));
    for scalar in scalars {
        let digits = recode(&scalar);
        assert!(digits.iter().all(|digit| (-8..=8).contains(digit)));
        let sum = digits.iter().rev().fold(BigInt::ZERO, |sum, digit| (sum << 4u8) + *digit);
        assert_eq!(sum, BigInt::from_bytes_le(num_bigint::Sign::Plus, scalar.as_bytes()));
    }
}

fn a_look_up_gives_each_lane_the_entry_of_its_own_digit<M: Open>(machine: M) {
    let mut rng = rng(81);
    let point = machine.run(MapUniform(&uniform(M::LANES, &mut rng)));
    let mut table = Table::new(machine);
    machine.run(Fill { table: &mut table, point: &point });
    // Multiples one by one.
    let mut multiples = vec![Extended::identity(machine)];
    for k in 0..8 {
        multiples.push(multiples[k].add(&point.addend(machine), Mask::none(machine)).extended());
    }
    for turn in 0..17i64 {
        let digits: Vec<i64> = (0..M::LANES).map(|lane| (turn + 2 * lane as i64) % 17 - 8).collect();
        let (addend, negative) = table.look_up(machine, &lanes::<M>(&digits));
        for (lane, digit) in digits.iter().enumerate() {
            assert_eq!(negative.bits() >> lane & 1 == 1, *digit < 0);
            // The same point, whatever its coordinates are scaled by: (Y + X)/(2Z) and so on.
            let expected = multiples[digit.unsigned_abs() as usize].addend(machine);
            let Addend { y_plus_x, y_minus_x, twice_z, twice_dt } = expected;
            for (ours, theirs) in
                [(&addend.y_plus_x, &y_plus_x), (&addend.y_minus_x, &y_minus_x), (&addend.twice_dt, &twice_dt)]
            {
                let left = &numbers(ours)[lane] * &numbers(&twice_z)[lane] % super::numbers::p();
                let right = &numbers(theirs)[lane] * &numbers(&addend.twice_z)[lane] % super::numbers::p();
                assert_eq!(left, right, "digit {digit} in lane {lane}");
            }
        }
    }
}

/// Welch's t of two classes of times, the slowest tenth of all cut off (Reparaz, Balasch, Verbauwhede, "Dude, is my
/// code constant time?", 2017). Above 4.5 is reason to look, and it grows with the number of runs where there is a
/// difference.
///
/// On a Zen 5 machine that others use as well, multiplications by one and by random scalars stay below 4.5 with 20,000 and
/// with 200,000 runs. Look-ups wander between −6 and 6 with 200,000 runs, in both directions; with 2,000,000, those of
/// digit 0 alone take 0.3 ns of 1,400 less than those of random digits, and those of 3 some 0.1 ns more. A loop of
/// nothing but `vpternlogq` over zeros, ones and random bits shows the same, so it is what the operands' bits do to the
/// clock, and no branch and no address. On AVX2, beside other work, 200,000 runs gave t from −15 to 0.1 for one digit against
/// random ones, up to 1.3 ns of 1,900 less, and −1.9 to 0.3 for random against random; the code of a look-up has no jump
/// but the loop's.
fn welch(times: &[Vec<f64>; 2]) -> f64 {
    let mut all = times.concat();
    all.sort_unstable_by(f64::total_cmp);
    let cut = all[all.len() * 9 / 10];
    let [first, second] = times.each_ref().map(|class| {
        let kept: Vec<f64> = class.iter().copied().filter(|time| *time <= cut).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    println!("means {:.1} and {:.1} ns", first.0, second.0);
    (first.0 - second.0) / (first.1 + second.1).sqrt()
}

/// A look-up for each of these digits.
struct LookUps<'a, M: Machine>(&'a Table<M>, &'a [M::Lanes]);

impl<M: Machine> Step<M> for LookUps<'_, M> {
    type Output = ();

    #[inline(always)]
    fn go(self, machine: M) {
        for digit in self.1 {
            std::hint::black_box(self.0.look_up(machine, std::hint::black_box(digit)));
        }
    }
}

fn time_does_not_tell_scalars_or_digits_apart<M: Open>(machine: M) {
    const RUNS: usize = 200_000;
    // Twice the most that was seen of code without a difference, on a machine that others use.
    const BOUND: f64 = 30.0;
    let mut found = Vec::new();
    let mut rng = rng(82);
    let point = machine.run(MapUniform(&uniform(M::LANES, &mut rng)));
    let mut table = Table::new(machine);
    machine.run(Fill { table: &mut table, point: &point });
    // One digit throughout against random ones, 64 of them as in a multiplication; and random against random, for what
    // the machine itself makes of nothing.
    for fixed in [None, Some(0), Some(3), Some(-8)] {
        let mut times = [Vec::new(), Vec::new()];
        let mut digits = [M::Lanes::default(); 64];
        for _ in 0..RUNS {
            let class = (rng.next_u32() & 1) as usize;
            for digit in &mut digits {
                let random = i64::from(rng.next_u32() % 16) - 8;
                *digit = lanes::<M>(&vec![[fixed.unwrap_or(random), random][class]; M::LANES]);
            }
            let start = Instant::now();
            machine.run(LookUps(&table, &digits));
            times[class].push(start.elapsed().as_nanos() as f64);
        }
        found.push((format!("64 look-ups, {fixed:?} against random digits"), welch(&times)));
    }

    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..RUNS / 10 {
        let class = (rng.next_u32() & 1) as usize;
        let random = Scalar::random(&mut rng);
        let digits = Digits::of(&if class == 0 { Scalar::ONE } else { random });
        let start = Instant::now();
        std::hint::black_box(multiply(machine, &point, &digits, &mut table));
        times[class].push(start.elapsed().as_nanos() as f64);
    }
    found.push(("a group's multiplications, by one against by random scalars".to_owned(), welch(&times)));
    found.iter().for_each(|(what, t)| println!("{what}: t = {t:.2}"));
    let different: Vec<_> = found.iter().filter(|(_, t)| t.abs() >= BOUND).collect();
    assert!(different.is_empty(), "time tells them apart: {different:?}");
}
