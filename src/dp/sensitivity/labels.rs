//! Sums by label (GROUP BY): how far all labels together move, by absolute values, when one entry is emptied.
//!
//! A pair counts in cells (part, label): the part from the entry of the side that partitions its table, the labels, at most
//! `max_labels` of them, from the entry that owns the values, a value for each. Groups by a requester's column have the parts
//! only, groups by a responder's column the labels only; both at once have both. A is the requester's table, B the
//! responder's, which owns the values and whose entries the noise protects.

use super::{COLUMNS, ROWS_MAX, Seen, Shape, Table, check_all, waterfall};
use crate::dp::{COUNT_SENSITIVITY, Clip};
use chacha20::ChaCha20Rng;
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

/// The most that all cells move when an entry of side `emptied` is, over every way in which pairs changed, `parts` parts and
/// the values of B's entries.
fn most_moved(seen: &Seen, emptied: usize, rows: [usize; 2], parts: usize, values: &[Values]) -> u128 {
    let mut most = 0;
    let changes = &seen.changes[emptied];
    for change in (0..changes.len()).filter(|i| changes[*i]) {
        let lost = listed(change >> super::PAIRS_NOTED);
        let gained = listed(change & ((1 << super::PAIRS_NOTED) - 1));
        every_choice(rows[0], parts, |parts| {
            every_choice(rows[1], values.len(), |chosen| {
                let values: Vec<Values> = chosen.iter().map(|i| values[*i]).collect();
                most = most.max(moved(&lost, &gained, parts, &values));
            });
        });
    }
    most
}

/// Shapes in which paths of all lengths up to K occur, from either side.
fn all_seen() -> Vec<(usize, [usize; 2], Seen)> {
    let shapes = [(1, [2, 2], 2), (2, [2, 2], 3), (3, [2, 2], 3), (3, [3, 2], 3)];
    shapes.into_iter().map(|(columns, rows, alphabet)| (columns, rows, check_all(columns, rows, alphabet))).collect()
}

const CLIPS: [(i128, i128, usize); 4] = [(0, 1, 1), (-3, 5, 1), (2, 7, 2), (-4, 0, 1)];

/// One label for all, in which a value may also be 0 or in the middle.
fn unlabelled(clip: Clip) -> Vec<Values> {
    let mut values = vec![0, clip.min(), clip.max(), (clip.min() + clip.max()) / 2];
    values.sort_unstable();
    values.dedup();
    values.into_iter().map(|value| [&[value][..], &[0; LABELS - 1]].concat().try_into().unwrap()).collect()
}

#[test]
fn all_small_tables_by_label_stay_within_the_bound_and_reach_it() {
    for (columns, rows, seen) in all_seen() {
        for (min, max, max_labels) in CLIPS {
            let clip = Clip::new(min, max).unwrap();
            let bound = clip.sensitivity_labels(columns as u32, max_labels as u32);
            // Labels enough for two entries to share none: the cells of x₁ and x₃ need not cancel.
            let values = extremes(clip, max_labels, 2 * max_labels);
            for emptied in 0..2 {
                let most = most_moved(&seen, emptied, rows, rows[0], &values);
                assert_eq!(most, bound, "{clip:?}, K = {columns}, side {emptied}");
            }
        }
    }
}

#[test]
fn labels_alone_move_by_two_of_the_owner_s_entries_at_most_and_by_one_of_the_other_s() {
    for (columns, rows, seen) in all_seen() {
        for (min, max, max_labels) in CLIPS {
            let clip = Clip::new(min, max).unwrap();
            let values = extremes(clip, max_labels, 2 * max_labels);
            let most = |emptied| most_moved(&seen, emptied, rows, 1, &values);
            let bound = |entries| clip.sensitivity_labels(entries, max_labels as u32);
            assert_eq!(most(1), bound(columns.min(2) as u32), "{clip:?}, K = {columns}");
            assert_eq!(most(0), bound(1), "{clip:?}, K = {columns}");
        }
    }
}

#[test]
fn parts_alone_move_by_the_partners_that_change_and_the_one_that_is_lost() {
    for (columns, rows, seen) in all_seen() {
        for (min, max, _) in CLIPS {
            let clip = Clip::new(min, max).unwrap();
            let most = most_moved(&seen, 1, rows, rows[0], &unlabelled(clip));
            assert_eq!(most, clip.sensitivity_parts(columns as u32), "{clip:?}, K = {columns}");
        }
        // Where every entry counts 1, parts move as the number of matches does.
        let one = [[1, 0, 0, 0, 0, 0, 0, 0]];
        assert_eq!(most_moved(&seen, 1, rows, rows[0], &one), COUNT_SENSITIVITY, "K = {columns}");
    }
}

#[test]
fn values_of_the_side_that_has_the_parts_move_as_without_parts() {
    // The word's owner is A here, and its part goes with its value: a value of A's row, in the part of A's row.
    for (columns, rows, seen) in all_seen() {
        for (min, max, _) in CLIPS {
            let clip = Clip::new(min, max).unwrap();
            let values = unlabelled(clip);
            let mut most = 0;
            let changes = &seen.changes[1];
            for change in (0..changes.len()).filter(|i| changes[*i]) {
                let lost = listed(change >> super::PAIRS_NOTED);
                let gained = listed(change & ((1 << super::PAIRS_NOTED) - 1));
                every_choice(rows[0], rows[0], |parts| {
                    every_choice(rows[0], values.len(), |chosen| {
                        let mut cells = [0i128; ROWS_MAX];
                        for (pairs, sign) in [(&lost, -1), (&gained, 1)] {
                            pairs.iter().for_each(|(a, _)| cells[parts[*a]] += sign * values[chosen[*a]][0]);
                        }
                        most = most.max(cells.iter().map(|cell| cell.unsigned_abs()).sum());
                    });
                });
            }
            assert_eq!(most, clip.sensitivity_other(), "{clip:?}, K = {columns}");
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
fn a_chain_from_the_owner_s_side_reaches_the_bound_of_parts_for_every_number_of_columns() {
    for (min, max) in [(-2, 9), (0, 9), (-9, 2)] {
        let clip = Clip::new(min, max).unwrap();
        for columns in 1..=COLUMNS {
            let shape = Shape { columns, rows: [columns.div_ceil(2), columns / 2 + 1] };
            // The chain begins in B: x₀, x₂, … are B's.
            let [b, a] = chain(columns);
            let mut emptied = b;
            for column in &mut emptied {
                column[0] = 0;
            }
            let (before, after) = (waterfall(shape, &a, &b), waterfall(shape, &a, &emptied));
            let lost: Vec<_> = before.pairs_beyond(&after).collect();
            let gained: Vec<_> = after.pairs_beyond(&before).collect();
            let parts: Vec<usize> = (0..ROWS_MAX).collect();
            // Neighbours on the chain differ as far as totals can; the last partner has the largest in absolute value.
            let moved_by = |first_is_max: bool| {
                let (low, high) = (clip.min().min(0), clip.max().max(0));
                let value = |b: usize| if b.is_multiple_of(2) == first_is_max { high } else { low };
                let values: [Values; ROWS_MAX] =
                    std::array::from_fn(|b| [&[value(b)][..], &[0; LABELS - 1]].concat().try_into().unwrap());
                moved(&lost, &gained, &parts, &values)
            };
            assert_eq!(moved_by(true).max(moved_by(false)), clip.sensitivity_parts(columns as u32), "K = {columns}");
        }
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
        // Without labels, by parts, where an entry of B's is emptied.
        let unlabelled = values.map(|value| [&[value[0]][..], &[0; LABELS - 1]].concat().try_into().unwrap());
        if side == 1 {
            let bound = clip.sensitivity_parts(shape.columns as u32);
            assert!(moved(&lost, &gained, &parts, &unlabelled) <= bound);
        }
    }
}
