//! The requester's own values, bit by bit, so that no choice of bits leaves the range that the share allows.
//!
//! # Why not the other way round
//! The obvious instance has the requester, which owns the values, as OT Sender: it would pay v_i for row i, the
//! responder's choice bit being "row i matched". But nobody can look into a payload. A requester that pays 2^i for its
//! i-th row, whatever the bounds say, reads from the opened sum, bit by bit, which of its rows matched: 64 or 128
//! persons' membership per word, as many words as a question has. Noise that is scaled to the bounds covers the lowest
//! bits alone, and bounds that the requester checks itself bound nothing.
//!
//! # What runs instead
//! A Gilboa product with the roles turned. Let base = min(min, 0) and R = max(max, 0) − base: every honest total is in
//! [base, base + R], 0 among them, which is what persons without a value, fillers and dummies contribute. With
//! ℓ = bitlen(R), the *weights* of the ℓ bits are 1, 2, 4, …, 2^(ℓ−2), and R − (2^(ℓ−1) − 1) for the last one. Sums of
//! some weights are exactly the numbers 0, 1, …, R: without the last one they are 0 … 2^(ℓ−1) − 1, with it
//! R − 2^(ℓ−1) + 1 … R, and the two meet as R ≤ 2^ℓ − 1. (Plain powers of two would reach up to 2^ℓ − 1, nearly 2R.)
//!
//! There is one OT per row i of the *requester's* wire table and bit j. The responder is the Sender and pays m_i·g_j
//! (m_i: row i matched, which is what it learned by matching; g_j: the weight), the requester chooses with bit b_ij of
//! w_i = v_i − base. Their shares add up to Σ_i m_i·w_i; the responder adds base·Σ_i m_i to its own, so together they
//! hold Σ_i m_i·v_i. All of it modulo 2^64 or 2^128, of which the sum over rows does not care. ℓ = 0 (min = max = 0)
//! needs no OT: the sum is 0.
//!
//! # A requester that deviates
//! The extension's consistency check leaves it one vector of choice bits. Whatever these are, row i contributes
//! m_i·(base + some number of 0 … R): *a* value of the range. So it can have other values than its table's, at dummies
//! and fillers too (which again are values of its own choosing for rows of its own choosing), and nothing else: the
//! sum stays in [n·base, n·(base + R)], n its matched rows, and one row of either side moves it by at most
//! max(|base|, base + R), which is the sensitivity that the output noise is made for. Where a share's results are
//! exact, values 1, 2, 4, … within the range still spell ℓ rows' membership per word, as an honest query over such a
//! column does: bounds do not replace noise.
//!
//! # A responder that deviates
//! It can pay anything at any OT, which widens or shifts the requester's answer, and drop rows from it. The
//! requester's bits stay hidden from it (OT receiver security). Nor is there a selective failure: until the session
//! has ended, the requester checks nothing whose outcome depends on its bits (encodings and counts, of which the
//! Sender knows beforehand how they will be found), and whether the opened sum is within its bounds is asked after
//! the last message. Somebody who then says aloud that it was not has told the responder a bit of his own accord.
//!
//! # Shape
//! Each word has instances of its own, so that a payload row is one word: n·ℓ·(16/k + 8) bytes for a word of 64 bits.
//! One instance for all words would carry every word at every OT, zeros for all but one: for a sum of 40 bits and a
//! count of 7, 940 bytes per row where this takes 564 (k = 4).
//! Rows are cut into slices of at most [`OTS_MAX`] OTs, an instance each, none across two of the table's parts, and
//! consecutive instances of one word width up to the same number of OTs make a *round*, which runs through six phases by
//! itself, its instances one after the other in each. The cut follows from announced counts and bounds alone. Memory is 16
//! bytes per OT of the open round on either side, thus 64 MiB however large the tables and the bounds.

use std::ops::Range;

use subtle::{ConditionallySelectable, ConstantTimeGreater};

use crate::mpc::{FieldBits, Misuse, Parameters, WordWidth};

use super::super::table::PartRows;

/// OTs of a round: 64 MiB of rows on either side.
pub(super) const OTS_MAX: usize = 1 << 22;

/// The totals that a word of the requester's own can hold per row.
pub(super) struct OwnRange {
    pub(super) base: i128,
    /// g_j of each bit; none where 0 is the only total.
    pub(super) weights: Vec<u128>,
}

impl OwnRange {
    /// The range of totals clipped to `min` … `max`, and of rows without any, which add 0.
    pub(super) fn new(min: i128, max: i128) -> Self {
        let base = min.min(0);
        let reach = base.unsigned_abs() + max.max(0).unsigned_abs();
        let bits = u128::BITS - reach.leading_zeros();
        let weights = (0..bits)
            .map(|bit| {
                let power = 1u128 << bit;
                if bit + 1 < bits { power } else { reach - (power - 1) }
            })
            .collect();
        OwnRange { base, weights }
    }

    /// ℓ.
    pub(super) fn bits(&self) -> usize {
        self.weights.len()
    }

    /// Whether an honest row can have this total.
    pub(super) fn holds(&self, value: i128) -> bool {
        let reach: u128 = self.weights.iter().sum();
        value >= self.base && (value as u128).wrapping_sub(self.base as u128) <= reach
    }

    /// The choice bits of a total that the range [holds](Self::holds), bit j for weight j.
    pub(super) fn choices(&self, value: i128) -> u128 {
        let Some(last) = self.weights.last() else { return 0 };
        let high = 1u128 << (self.weights.len() - 1);
        let above_base = (value as u128).wrapping_sub(self.base as u128);
        let with_last = above_base.wrapping_sub(*last) | high;
        u128::conditional_select(&above_base, &with_last, above_base.ct_gt(&(high - 1)))
    }

    /// Of each of a slice's `ots`: the row of the slice that it is for, and the weight that it pays.
    pub(super) fn rows_and_weights(&self, ots: Range<usize>) -> impl Iterator<Item = (usize, u128)> + Clone {
        // Counted rather than divided, which would take as long as the pad that hides the weight.
        let bits = self.weights.len();
        let (mut row, mut bit) = (ots.start / bits, ots.start % bits);
        ots.map(move |_| {
            let paid = (row, self.weights[bit]);
            bit += 1;
            if bit == bits {
                (row, bit) = (row + 1, 0);
            }
            paid
        })
    }
}

/// One instance: some rows of one part and word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    /// The number of the own word.
    pub(super) word: usize,
    /// The part of the requester's table, from 0.
    pub(super) part: usize,
    /// Rows of the requester's wire table.
    pub(super) rows: Range<usize>,
    /// The instance's number among those of the session.
    pub(super) instance: u32,
    pub(super) parameters: Parameters,
}

/// Cuts the rows of the words, part by part, into rounds of at most `ots_max` OTs (more only where one row has more).
///
/// # Errors
/// [`Misuse::RowsMax`]: more rounds than phases have numbers for.
pub(super) fn rounds(
    words: &[(&OwnRange, WordWidth)],
    part_rows: &PartRows,
    field_bits: FieldBits,
    ots_max: usize,
) -> Result<Vec<Vec<Slice>>, Misuse> {
    let mut rounds: Vec<Vec<Slice>> = Vec::new();
    let (mut instance, mut ots) = (0, 0);
    for (word, (range, width)) in words.iter().enumerate().filter(|(_, (range, _))| range.bits() > 0) {
        let most = (ots_max / range.bits()).max(1);
        let slices = part_rows.ranges().enumerate().flat_map(|(part, rows)| {
            rows.clone().step_by(most).map(move |start| (part, start..rows.end.min(start + most)))
        });
        for (part, rows) in slices {
            let count = rows.len() * range.bits();
            let parameters = Parameters::new(field_bits, count, vec![*width])?;
            let alike = rounds
                .last()
                .and_then(|round| round.last())
                .is_some_and(|last| last.parameters.words() == parameters.words() && ots + count <= ots_max);
            if !alike {
                rounds.push(Vec::new());
                ots = 0;
            }
            ots += count;
            if let Some(round) = rounds.last_mut() {
                round.push(Slice { word, part, rows, instance, parameters });
            }
            instance += 1;
        }
    }
    if rounds.len() > usize::from(u16::MAX) {
        let rows = part_rows.rows();
        let ots = words.iter().map(|(range, _)| range.bits().saturating_mul(rows)).fold(0, usize::saturating_add);
        return Err(Misuse::RowsMax { found: ots, max: usize::from(u16::MAX) * ots_max });
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(range: &OwnRange, bits: u128) -> i128 {
        let weights = range.weights.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
        weights.fold(range.base, |sum, (_, weight)| sum.wrapping_add(*weight as i128))
    }

    #[test]
    fn the_sums_of_weights_are_the_range_and_nothing_more() {
        for min in -9i128..9 {
            for max in min..9 {
                let range = OwnRange::new(min, max);
                let mut reached: Vec<i128> = (0..1u128 << range.bits()).map(|bits| total(&range, bits)).collect();
                reached.sort_unstable();
                reached.dedup();
                let expected: Vec<i128> = (min.min(0)..=max.max(0)).collect();
                assert_eq!(reached, expected, "bounds {min}, {max}");
                for value in -20..20 {
                    assert_eq!(range.holds(value), expected.contains(&value), "{value} in {min}, {max}");
                }
            }
        }
    }

    #[test]
    fn a_range_of_nothing_but_zero_has_no_bits() {
        assert_eq!(OwnRange::new(0, 0).bits(), 0);
        assert_eq!(OwnRange::new(0, 0).choices(0), 0);
        assert!(OwnRange::new(0, 0).holds(0) && !OwnRange::new(0, 0).holds(1));
        // As many as the whole ring has, at the widest.
        assert_eq!(OwnRange::new(i128::MIN, i128::MAX).bits(), 128);
        assert_eq!(OwnRange::new(0, 1).weights, vec![1]);
        assert_eq!(OwnRange::new(0, 500).bits(), 9);
    }

    #[test]
    fn each_row_has_its_weights_in_order_wherever_the_ots_begin() {
        let range = OwnRange::new(-3, 20);
        let all: Vec<_> = (0..4).flat_map(|row| range.weights.iter().map(move |weight| (row, *weight))).collect();
        for start in 0..=all.len() {
            for end in start..=all.len() {
                assert_eq!(range.rows_and_weights(start..end).collect::<Vec<_>>(), all[start..end], "{start}..{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn choices_stand_for_the_value_they_were_made_from(
            min in prop_oneof![any::<i128>(), -1000i128..1000, Just(i128::MIN), Just(0)],
            span in prop_oneof![any::<u128>(), 0u128..2000],
            at in any::<u128>(),
        ) {
            let max = min.saturating_add_unsigned(span);
            let range = OwnRange::new(min, max);
            let reach = range.base.unsigned_abs() + max.max(0).unsigned_abs();
            let offset = if reach == u128::MAX { at } else { at % (reach + 1) };
            for value in [range.base.wrapping_add(offset as i128), range.base, max.max(0), 0] {
                prop_assert!(range.holds(value));
                let bits = range.choices(value);
                prop_assert!(range.bits() == 128 || bits >> range.bits() == 0);
                prop_assert_eq!(total(&range, bits), value);
            }
        }

        #[test]
        fn rounds_hold_every_row_of_every_word_once_within_its_part_and_few_enough_transfers(
            maxima in prop::collection::vec((0i128..300, any::<bool>()), 0..6),
            part_rows in prop::collection::vec(0u64..90, 1..5),
            ots_max in 16usize..600,
        ) {
            let ranges: Vec<OwnRange> = maxima.iter().map(|(max, _)| OwnRange::new(0, *max)).collect();
            let width = |wide| if wide { WordWidth::Bits128 } else { WordWidth::Bits64 };
            let words: Vec<_> = ranges.iter().zip(&maxima).map(|(range, (_, wide))| (range, width(*wide))).collect();
            let part_rows = PartRows::new(part_rows.into_iter());
            let (parts, rows): (Vec<Range<usize>>, usize) = (part_rows.ranges().collect(), part_rows.rows());
            let rounds = rounds(&words, &part_rows, FieldBits::Four, ots_max).unwrap();
            let mut due: Vec<usize> = ranges.iter().map(|range| if range.bits() == 0 { rows } else { 0 }).collect();
            for round in &rounds {
                prop_assert!(!round.is_empty());
                prop_assert!(round.iter().map(|slice| slice.parameters.rows()).sum::<usize>() <= ots_max);
                prop_assert!(round.iter().all(|slice| slice.parameters.words() == round[0].parameters.words()));
                for slice in round {
                    prop_assert_eq!(slice.rows.start, due[slice.word]);
                    prop_assert!(slice.rows.start >= parts[slice.part].start && slice.rows.end <= parts[slice.part].end);
                    prop_assert_eq!(slice.parameters.rows(), slice.rows.len() * ranges[slice.word].bits());
                    due[slice.word] = slice.rows.end;
                }
            }
            prop_assert!(due.iter().all(|end| *end == rows));
            let numbers: Vec<u32> = rounds.iter().flatten().map(|slice| slice.instance).collect();
            prop_assert_eq!(&numbers, &(0..numbers.len() as u32).collect::<Vec<_>>());
        }
    }
}
