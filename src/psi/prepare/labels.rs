//! What a person contributes by label: which labels it counts in, and its totals and counts in each.
//!
//! Steps of one query with a `group_by` column:
//! 1. [`label_choice`], once for all words: from each row's label (its number in the policy's list) and the question's
//!    filter, the labels that each person counts in. Rows of a person's other labels are left out of every word.
//! 2. for each word a function `…_by_label`, with the word's own filter: a column per label, each of one number per
//!    person, as [`Entries::values`](super::super::Entries::values) wants them for that word.
//!
//! So the sum and the count that make an average are about the same labels, whatever filters the words have.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt16Array};
use arrow::buffer::BooleanBuffer;

use super::entries::passing_rows;
use super::values::{PersonTotals, countable, reader, square};
use super::{LABELS_MAX, NO_PERSON, PrepareError, PreparedTable, ValueError, ValueScale};
use crate::dp::Total;

/// The label of a row that counts in none.
const NO_LABEL: u16 = u16::MAX;

/// Which labels each person counts in.
///
/// `Debug` shows counts only.
#[derive(Clone, PartialEq, Eq)]
pub struct LabelChoice {
    labels: usize,
    persons: usize,
    /// Per row, the label that it counts in, or [`NO_LABEL`]: where it does not pass the question's filter, has no
    /// label, nobody, or one that its person does not count in.
    label_of_row: Vec<u16>,
}

impl LabelChoice {
    /// How many labels there are.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// The label that a row counts in, if it counts. Rows are those of the prepared table.
    pub fn label_of_row(&self, row: usize) -> Option<u16> {
        self.label_of_row.get(row).copied().filter(|label| *label != NO_LABEL)
    }

    /// Each row that counts and passes: its person, its label, and its number.
    fn counting<'a>(
        &'a self,
        table: &'a PreparedTable,
        passing: Option<BooleanBuffer>,
    ) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
        let rows = table.person_of_row().iter().zip(&self.label_of_row).enumerate();
        rows.filter(move |(row, (_, label))| {
            **label != NO_LABEL && passing.as_ref().is_none_or(|passing| passing.value(*row))
        })
        .map(|(row, (person, label))| (*person as usize, usize::from(*label), row))
    }

    /// A zero for each person, label by label.
    fn zeros<T: Clone>(&self, zero: T) -> Vec<Vec<T>> {
        vec![vec![zero; self.persons]; self.labels]
    }

    fn check(&self, table: &PreparedTable) -> Result<(), PrepareError> {
        table.check_rows("choice of labels", self.label_of_row.len())
    }
}

impl std::fmt::Debug for LabelChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LabelChoice").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Chooses the labels that each person counts in: of those of its rows that pass, the `max_labels` with the most rows;
/// among labels with as many rows the first of the policy's list. A person with fewer counts in all it has.
///
/// `labels` holds each row's label as its number in the policy's list, from 0; null for a label that is not listed and for
/// none. `passing` is the *question's* filter (null does not pass; `None`: all pass), not a word's. The choice does not
/// depend on the order of rows.
///
/// # Errors
/// [`ValueError::Prepare`] for columns of another table; [`ValueError::Label`] for a number that is none of
/// `labels_count`, or more than [`LABELS_MAX`] of them.
pub fn label_choice(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    labels: &UInt16Array,
    labels_count: usize,
    max_labels: usize,
) -> Result<LabelChoice, ValueError> {
    table.check_rows("label column", labels.len())?;
    let passing = passing_rows(table, passing)?;
    let listed = |label: u16| usize::from(label) < labels_count;
    if labels_count > LABELS_MAX || labels.iter().flatten().any(|label| !listed(label)) {
        return Err(ValueError::Label { labels: labels_count });
    }
    let mut label_of_row: Vec<u16> = (0..table.rows())
        .map(|row| {
            let counts = table.person_of_row()[row] != NO_PERSON
                && labels.is_valid(row)
                && passing.as_ref().is_none_or(|passing| passing.value(row));
            if counts { labels.value(row) } else { NO_LABEL }
        })
        .collect();

    // The labels of each person with its rows in each, persons one after the other: one sort, and memory by rows.
    let mut pairs: Vec<(u32, u16)> = (table.person_of_row().iter().copied().zip(label_of_row.iter().copied()))
        .filter(|(_, label)| *label != NO_LABEL)
        .collect();
    pairs.sort_unstable();
    let mut left_out: Vec<(u32, u16)> = Vec::new();
    for person in pairs.chunk_by(|a, b| a.0 == b.0) {
        let mut held: Vec<(usize, u16)> =
            person.chunk_by(|a, b| a.1 == b.1).map(|rows| (rows.len(), rows[0].1)).collect();
        if held.len() > max_labels {
            held.sort_unstable_by_key(|(rows, label)| (std::cmp::Reverse(*rows), *label));
            left_out.extend(held[max_labels..].iter().map(|(_, label)| (person[0].0, *label)));
        }
    }
    left_out.sort_unstable();
    if !left_out.is_empty() {
        for (person, label) in table.person_of_row().iter().zip(&mut label_of_row) {
            if left_out.binary_search(&(*person, *label)).is_ok() {
                *label = NO_LABEL;
            }
        }
    }
    Ok(LabelChoice { labels: labels_count, persons: table.persons(), label_of_row })
}

/// Who counts in which label: for each label a column with 1 for each person with a row in it that passes `passing` (the
/// word's own filter; `None`: all that the question's lets pass), and 0 for all others. What COUNT(*) sums.
///
/// # Errors
/// [`ValueError::Prepare`].
pub fn persons_by_label(
    table: &PreparedTable,
    choice: &LabelChoice,
    passing: Option<&BooleanArray>,
) -> Result<Vec<Vec<i128>>, ValueError> {
    choice.check(table)?;
    let mut columns = choice.zeros(0);
    for (person, label, _) in choice.counting(table, passing_rows(table, passing)?) {
        columns[label][person] = 1;
    }
    Ok(columns)
}

/// [`person_totals`](super::person_totals) by label: for each label every person's exact total over its rows in it that
/// pass the word's own filter.
///
/// # Errors
/// [`ValueError`], by types and shapes alone.
pub fn person_totals_by_label(
    table: &PreparedTable,
    choice: &LabelChoice,
    passing: Option<&BooleanArray>,
    values: &ArrayRef,
    scale: ValueScale,
) -> Result<Vec<PersonTotals>, ValueError> {
    totals(table, choice, passing, values, scale, |value| value)
}

/// [`person_squares`](super::person_squares) by label.
///
/// # Errors
/// [`ValueError`], by types and shapes alone.
pub fn person_squares_by_label(
    table: &PreparedTable,
    choice: &LabelChoice,
    passing: Option<&BooleanArray>,
    values: &ArrayRef,
    scale: ValueScale,
) -> Result<Vec<PersonTotals>, ValueError> {
    totals(table, choice, passing, values, scale, square)
}

fn totals(
    table: &PreparedTable,
    choice: &LabelChoice,
    passing: Option<&BooleanArray>,
    values: &ArrayRef,
    scale: ValueScale,
    of: impl Fn(i128) -> i128,
) -> Result<Vec<PersonTotals>, ValueError> {
    choice.check(table)?;
    table.check_rows("value column", values.len())?;
    let value = reader(values, scale)?;
    let mut sums = choice.zeros(Total::new());
    let mut contributes = choice.zeros(false);
    for (person, label, row) in choice.counting(table, passing_rows(table, passing)?) {
        if let Some(value) = value(row) {
            sums[label][person].add(of(value));
            contributes[label][person] = true;
        }
    }
    let columns = sums.into_iter().zip(contributes).map(|(sums, contributes)| PersonTotals {
        totals: sums.into_iter().map(Total::saturated).collect(),
        contributes: BooleanBuffer::from(contributes),
    });
    Ok(columns.collect())
}

/// [`person_row_counts`](super::person_row_counts) by label: in each label at most `max_rows` of a person's rows.
///
/// # Errors
/// [`ValueError::Prepare`].
pub fn person_row_counts_by_label(
    table: &PreparedTable,
    choice: &LabelChoice,
    passing: Option<&BooleanArray>,
    column: &ArrayRef,
    max_rows: u64,
) -> Result<Vec<Vec<i128>>, ValueError> {
    choice.check(table)?;
    table.check_rows("counted column", column.len())?;
    let valid = countable(column);
    let mut counts = choice.zeros(0u64);
    for (person, label, row) in choice.counting(table, passing_rows(table, passing)?) {
        counts[label][person] += u64::from(valid.as_ref().is_none_or(|valid| valid.is_valid(row)));
    }
    let clipped = |column: Vec<u64>| column.into_iter().map(|count| i128::from(count.min(max_rows))).collect();
    Ok(counts.into_iter().map(clipped).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, LargeBinaryArray};
    use proptest::prelude::*;

    use super::super::{person_row_counts, person_squares, person_totals, persons_passing, prepare};
    use super::*;

    /// One row: its person (`None`: nobody), its label, whether it passes the question's and the word's filter, its value.
    type Row = (Option<u8>, Option<u16>, Option<bool>, Option<bool>, Option<i64>);

    struct Rows {
        table: PreparedTable,
        labels: UInt16Array,
        question: BooleanArray,
        word: BooleanArray,
        values: ArrayRef,
    }

    fn rows(rows: &[Row]) -> Rows {
        let names: LargeBinaryArray = rows.iter().map(|row| row.0.map(|name| [name])).collect();
        Rows {
            table: prepare(vec![names]).unwrap(),
            labels: rows.iter().map(|row| row.1).collect(),
            question: rows.iter().map(|row| row.2).collect(),
            word: rows.iter().map(|row| row.3).collect(),
            values: Arc::new(rows.iter().map(|row| row.4).collect::<Int64Array>()),
        }
    }

    fn choice(rows: &Rows, labels: usize, max_labels: usize) -> LabelChoice {
        label_choice(&rows.table, Some(&rows.question), &rows.labels, labels, max_labels).unwrap()
    }

    fn chosen(labels: &[Option<u16>], passing: &[bool], count: usize, max_labels: usize) -> Vec<Option<u16>> {
        let one = |(label, passes): (&Option<u16>, &bool)| (Some(b'a'), *label, Some(*passes), None, Some(1));
        let rows = rows(&labels.iter().zip(passing).map(one).collect::<Vec<Row>>());
        let choice = choice(&rows, count, max_labels);
        (0..labels.len()).map(|row| choice.label_of_row(row)).collect()
    }

    #[test]
    fn a_person_counts_in_the_labels_with_most_passing_rows_and_ties_go_by_the_policy_s_order() {
        let labels = [Some(2), Some(2), Some(0), Some(0), Some(1), None];
        let all = [true; 6];
        assert_eq!(chosen(&labels, &all, 3, 1), [None, None, Some(0), Some(0), None, None]);
        assert_eq!(chosen(&labels, &all, 3, 2), [Some(2), Some(2), Some(0), Some(0), None, None]);
        assert_eq!(chosen(&labels, &all, 3, 9), labels);
        // Rows that the question's filter leaves out are no rows, and in no label.
        let first_filtered = [true, true, false, true, true, true];
        assert_eq!(chosen(&labels, &first_filtered, 3, 1), [Some(2), Some(2), None, None, None, None]);
    }

    #[test]
    fn a_word_s_own_filter_has_no_say_in_the_choice() {
        // Two toys that the word's filter leaves out, one book that it lets pass: the person is in toys alone.
        let rows = rows(&[
            (Some(b'a'), Some(0), Some(true), Some(false), Some(7)),
            (Some(b'a'), Some(0), Some(true), Some(false), Some(7)),
            (Some(b'a'), Some(1), Some(true), Some(true), Some(9)),
        ]);
        let choice = choice(&rows, 2, 1);
        let word = Some(&rows.word);
        assert_eq!(persons_by_label(&rows.table, &choice, word).unwrap(), [[0], [0]]);
        assert_eq!(persons_by_label(&rows.table, &choice, None).unwrap(), [[1], [0]]);
        let totals = person_totals_by_label(&rows.table, &choice, word, &rows.values, ValueScale::Integer).unwrap();
        assert_eq!(totals.into_iter().map(|label| label.clip(5, 9).unwrap()).collect::<Vec<_>>(), [[0], [0]]);
    }

    #[test]
    fn labels_that_are_none_columns_of_other_tables_and_too_many_labels_are_refused() {
        let rows = rows(&[(Some(b'a'), Some(1), Some(true), None, Some(7))]);
        let with = |labels: &UInt16Array, count| label_choice(&rows.table, None, labels, count, 1);
        assert_eq!(with(&rows.labels, 1), Err(ValueError::Label { labels: 1 }));
        assert!(with(&rows.labels, 2).is_ok() && with(&rows.labels, LABELS_MAX).is_ok());
        assert_eq!(with(&rows.labels, LABELS_MAX + 1), Err(ValueError::Label { labels: LABELS_MAX + 1 }));
        assert!(matches!(with(&UInt16Array::from(vec![0, 1]), 2), Err(ValueError::Prepare(_))));
        let other = prepare(vec![LargeBinaryArray::from(vec![Some(&b"a"[..]); 2])]).unwrap();
        let choice = with(&rows.labels, 2).unwrap();
        assert!(matches!(persons_by_label(&other, &choice, None), Err(ValueError::Prepare(_))));
        let short = BooleanArray::from(vec![true; 2]);
        assert!(matches!(persons_by_label(&rows.table, &choice, Some(&short)), Err(ValueError::Prepare(_))));
    }

    #[test]
    fn squares_are_those_of_the_rounded_values_and_stop_at_the_largest_number() {
        let one = prepare(vec![LargeBinaryArray::from(vec![Some(&b"a"[..]); 3])]).unwrap();
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.126), Some(-2.0), Some(f64::NAN)]));
        let scale = ValueScale::Float { decimals: 2 };
        assert_eq!(person_squares(&one, None, &floats, scale).unwrap().totals, [13 * 13 + 200 * 200]);
        let wide: ArrayRef = Arc::new(arrow::array::Decimal128Array::from(vec![i128::MIN, i128::MAX, 1]));
        let scale = super::super::scale_of(wide.data_type(), 0).unwrap();
        assert_eq!(person_squares(&one, None, &wide, scale).unwrap().totals, [i128::MAX]);
    }

    /// By definition: the rows of one person in one label.
    fn expected(rows: &[Row], labels: u16, max_labels: usize, name: u8) -> BTreeMap<u16, Vec<Row>> {
        let own = |label: u16| -> Vec<Row> {
            let rows = rows.iter().filter(|row| row.0 == Some(name) && row.1 == Some(label) && row.2 == Some(true));
            rows.copied().collect()
        };
        let mut ranked: Vec<u16> = (0..labels).filter(|label| !own(*label).is_empty()).collect();
        // A stable sort keeps the policy's order among equals.
        ranked.sort_by_key(|label| std::cmp::Reverse(own(*label).len()));
        ranked.into_iter().take(max_labels).map(|label| (label, own(label))).collect()
    }

    proptest! {
        #[test]
        fn every_word_by_label_is_the_naive_one_in_any_order_of_rows(
            (found, order) in proptest::collection::vec(
                (
                    proptest::option::weighted(0.9, 0u8..4),
                    proptest::option::weighted(0.8, 0u16..4),
                    proptest::option::weighted(0.9, any::<bool>()),
                    proptest::option::weighted(0.9, any::<bool>()),
                    proptest::option::of(-9i64..9),
                ),
                0..40,
            )
            .prop_flat_map(|rows| {
                let order: Vec<usize> = (0..rows.len()).collect();
                (Just(rows), Just(order).prop_shuffle())
            }),
            max_labels in 1usize..5,
            filtered in any::<bool>(),
        ) {
            let run = |order: &[usize]| {
                let rows = rows(&order.iter().map(|row| found[*row]).collect::<Vec<_>>());
                let (table, choice) = (&rows.table, choice(&rows, 4, max_labels));
                let word = filtered.then_some(&rows.word);
                let clipped = |columns: Vec<PersonTotals>| -> Vec<_> {
                    columns.into_iter().map(|totals| totals.clip(-5, 30).unwrap()).collect::<Vec<_>>()
                };
                (
                    persons_by_label(table, &choice, word).unwrap(),
                    person_row_counts_by_label(table, &choice, word, &rows.values, 2).unwrap(),
                    clipped(person_totals_by_label(table, &choice, word, &rows.values, ValueScale::Integer).unwrap()),
                    clipped(person_squares_by_label(table, &choice, word, &rows.values, ValueScale::Integer).unwrap()),
                )
            };
            let in_order: Vec<usize> = (0..found.len()).collect();
            let columns = run(&in_order);
            prop_assert_eq!(&columns, &run(&order));
            let mut names: Vec<u8> = found.iter().filter_map(|row| row.0).collect();
            names.sort_unstable();
            names.dedup();
            for (person, name) in names.iter().enumerate() {
                let labels = expected(&found, 4, max_labels, *name);
                for label in 0..4u16 {
                    let rows = labels.get(&label).cloned().unwrap_or_default();
                    let rows: Vec<Row> = rows.into_iter().filter(|row| !filtered || row.3 == Some(true)).collect();
                    let values: Vec<i128> = rows.iter().filter_map(|row| row.4).map(i128::from).collect();
                    let clip = |sum: i128| if values.is_empty() { 0 } else { sum.clamp(-5, 30) };
                    let at = usize::from(label);
                    prop_assert_eq!(columns.0[at][person], i128::from(!rows.is_empty()));
                    prop_assert_eq!(columns.1[at][person], values.len().min(2) as i128);
                    prop_assert_eq!(columns.2[at][person], clip(values.iter().sum()));
                    prop_assert_eq!(columns.3[at][person], clip(values.iter().map(|value| value * value).sum()));
                }
            }
        }

        #[test]
        fn one_label_that_all_rows_have_gives_what_a_query_without_labels_gives(
            found in proptest::collection::vec((0u8..4, any::<Option<bool>>(), proptest::option::of(-9i64..9)), 0..30),
        ) {
            let found: Vec<Row> =
                found.into_iter().map(|(name, passes, value)| (Some(name), Some(0), passes, passes, value)).collect();
            let rows = rows(&found);
            let (table, passing, values) = (&rows.table, Some(&rows.question), &rows.values);
            let choice = choice(&rows, 1, 1);
            prop_assert_eq!(persons_by_label(table, &choice, None).unwrap(), [persons_passing(table, passing).unwrap()]);
            prop_assert_eq!(
                person_row_counts_by_label(table, &choice, None, values, 2).unwrap(),
                [person_row_counts(table, passing, values, 2).unwrap()]
            );
            let scale = ValueScale::Integer;
            prop_assert_eq!(
                person_totals_by_label(table, &choice, None, values, scale).unwrap(),
                [person_totals(table, passing, values, scale).unwrap()]
            );
            prop_assert_eq!(
                person_squares_by_label(table, &choice, None, values, scale).unwrap(),
                [person_squares(table, passing, values, scale).unwrap()]
            );
        }
    }
}
