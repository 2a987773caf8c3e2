//! Sums by label (GROUP BY): how far all labels together move, by absolute values, when one entry is emptied.
//!
//! A pair counts in cells (part, label): the part from the entry of the side that partitions its table, the labels, at most
//! `max_labels` of them, from the entry that owns the values, a value for each. Groups by a requester's column have the parts
//! only, groups by a responder's column the labels only; both at once have both.

use super::{COLUMNS, ROWS_MAX, Seen, Shape, Table, check_all, waterfall};
use crate::dp::Clip;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const LABELS: usize = 8;

/// One owner's entry: its value by label, at most `max_labels` of them not 0.
type Values = [i128; LABELS];

/// All values of an entry over the first `labels` labels, exactly `max_labels` of them not 0 but at one of the bounds.
fn extremes(clip: Clip, max_labels: usize, labels: usize) -> Vec<Values> {
    let choices = [0, clip.min(), clip.max()];
    let mut all = Vec::new();
    every_choice(labels, choices.len(), |chosen| {
        if chosen.iter().filter(|c| **c != 0).count() == max_labels {
            let mut values = [0; LABELS];
            values.iter_mut().zip(chosen).for_each(|(v, c)| *v = choices[*c]);
            all.push(values);
        }
    });
    all
}

/// Σ over cells of |change|, for pairs (A's row, B's row) lost and gained; A's rows have parts, B's rows values.
fn moved(lost: &[(usize, usize)], gained: &[(usize, usize)], parts: &[usize], values: &[Values]) -> u128 {
    let mut cells = [[0_i128; LABELS]; ROWS_MAX];
    for (pairs, sign) in [(lost, -1), (gained, 1)] {
        for (a, b) in pairs {
            for (cell, value) in cells[parts[*a]].iter_mut().zip(&values[*b]) {
                *cell += sign * value;
            }
        }
    }
    cells.iter().flatten().map(|c| c.unsigned_abs()).sum()
}

/// A set of noted pairs as a list.
fn listed(bits: usize) -> Vec<(usize, usize)> {
    (0..super::PAIRS_NOTED)
        .filter(|i| bits >> i & 1 == 1)
        .map(|i| (i / super::ROWS_NOTED, i % super::ROWS_NOTED))
        .collect()
}

/// Calls with every way to choose one of `options` for each of `rows`.
fn every_choice(rows: usize, options: usize, mut call: impl FnMut(&[usize])) {
    for code in 0..options.pow(rows as u32) {
        let choice: Vec<usize> = (0..rows).map(|r| code / options.pow(r as u32) % options).collect();
        call(&choice);
    }
}

/// The most that all labels move, over every way in which pairs changed, parts, labels and extreme values.
fn most_moved(seen: &Seen, rows: [usize; 2], clip: Clip, max_labels: usize) -> u128 {
    // Labels enough for two entries to share none: the cells of x₁ and x₃ need not cancel.
    let values = extremes(clip, max_labels, 2 * max_labels);
    let mut most = 0;
    for change in (0..seen.changes.len()).filter(|i| seen.changes[*i]) {
        let lost = listed(change >> super::PAIRS_NOTED);
        let gained = listed(change & ((1 << super::PAIRS_NOTED) - 1));
        every_choice(rows[0], rows[0], |parts| {
            every_choice(rows[1], values.len(), |chosen| {
                let values: Vec<Values> = chosen.iter().map(|i| values[*i]).collect();
                most = most.max(moved(&lost, &gained, parts, &values));
            });
        });
    }
    most
}

#[test]
fn all_small_tables_by_label_stay_within_the_bound_and_reach_it() {
    for (columns, rows, alphabet) in [(1, [2, 2], 2), (2, [2, 2], 3), (3, [2, 2], 3), (3, [3, 2], 3)] {
        let seen = check_all(columns, rows, alphabet);
        for (min, max, max_labels) in [(0, 1, 1), (-3, 5, 1), (2, 7, 2), (-4, 0, 1)] {
            let clip = Clip::new(min, max).unwrap();
            let bound = clip.sensitivity_labels(columns as u32, max_labels as u32);
            assert_eq!(most_moved(&seen, rows, clip, max_labels), bound, "{clip:?}, K = {columns}");
        }
    }
}

/// x₀, x₁, …, x_K alternately of A and B, x_(k−1) and x_k with the same identifier in column k alone: a path of K steps.
fn chain(columns: usize) -> [Table; 2] {
    let mut tables = [Table::default(); 2];
    for x in 0..columns {
        let next = x + 1;
        tables[x % 2][x][x / 2] = 1;
        tables[next % 2][x][next / 2] = 1;
    }
    tables
}

#[test]
fn a_chain_of_displaced_matches_reaches_the_bound_for_every_number_of_columns() {
    let clip = Clip::new(-2, 9).unwrap();
    for columns in 1..=COLUMNS {
        let shape = Shape { columns, rows: [columns / 2 + 1, columns.div_ceil(2)] };
        let [a, b] = chain(columns);
        let mut emptied = a;
        for column in &mut emptied {
            column[0] = 0;
        }
        let (before, after) = (waterfall(shape, &a, &b), waterfall(shape, &emptied, &b));
        let lost: Vec<_> = before.pairs_beyond(&after).collect();
        let gained: Vec<_> = after.pairs_beyond(&before).collect();
        assert_eq!((lost.len(), gained.len()), (columns.div_ceil(2), columns / 2));
        // Every A has a part of its own, every B two labels of its own with the largest value.
        let parts: Vec<usize> = (0..ROWS_MAX).collect();
        let values: [Values; ROWS_MAX] =
            std::array::from_fn(|b| std::array::from_fn(|label| if label / 2 == b { 9 } else { 0 }));
        assert_eq!(moved(&lost, &gained, &parts, &values), clip.sensitivity_labels(columns as u32, 2));
    }
}

#[test]
fn random_tables_by_label_stay_within_the_bound() {
    let mut rng = ChaCha20Rng::seed_from_u64(0x1A_BE15);
    for _ in 0..20_000 {
        let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
        let rows = [1 + below(ROWS_MAX), 1 + below(ROWS_MAX)];
        let shape = Shape { columns: 1 + below(COLUMNS), rows };
        let max_labels = 1 + below(LABELS);
        let (min, max) = (-(below(10) as i128), below(10) as i128);
        let clip = Clip::new(min, max).unwrap();
        // Identifiers 1 ..= rows in one order, shifted and thinned out: never two equal in a column.
        let tables: [Table; 2] = std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                let shift = below(ROWS_MAX);
                std::array::from_fn(|row| if below(3) == 0 { 0 } else { ((row + shift) % ROWS_MAX) as u8 + 1 })
            })
        });
        let parts: [usize; ROWS_MAX] = std::array::from_fn(|_| below(3));
        let values: [Values; ROWS_MAX] = std::array::from_fn(|_| {
            let mut value = [0; LABELS];
            for _ in 0..max_labels {
                value[below(LABELS)] = [min, max, clip.clip(below(7) as i128 - 3)][below(3)];
            }
            value
        });
        let (side, row) = (below(2), below(ROWS_MAX));
        let mut emptied = tables;
        for column in &mut emptied[side] {
            column[row] = 0;
        }
        let (before, after) = (waterfall(shape, &tables[0], &tables[1]), waterfall(shape, &emptied[0], &emptied[1]));
        let lost: Vec<_> = before.pairs_beyond(&after).collect();
        let gained: Vec<_> = after.pairs_beyond(&before).collect();
        let bound = clip.sensitivity_labels(shape.columns as u32, max_labels as u32);
        assert!(moved(&lost, &gained, &parts, &values) <= bound);
        // Without parts, only the owner's entries count that leave and come in: B's own and at most one other; and of B one,
        // if an entry of A is emptied.
        let most = if side == 1 { shape.columns.min(2) } else { 1 };
        assert!(
            moved(&lost, &gained, &[0; ROWS_MAX], &values) <= most as u128 * max_labels as u128 * clip.magnitude_max()
        );
    }
}
