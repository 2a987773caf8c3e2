//! Persons as entries: gathering what they hold, and emptying those that a filter leaves nothing of.

use arrow::array::{Array, BooleanArray, LargeBinaryArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};

use super::rank::{NO_RANK, RankedColumn};
use super::{NO_PERSON, PrepareError, PreparedTable};

/// The identifiers that persons hold in one column; `held` has each person's rank.
pub(super) fn gather(column: &LargeBinaryArray, ranked: &RankedColumn, held: &[u32]) -> LargeBinaryArray {
    let identifier = |rank: u32| -> &[u8] {
        match rank {
            NO_RANK => &[],
            rank => column.value(ranked.row_of_rank[rank as usize] as usize),
        }
    };
    let offsets = OffsetBuffer::from_lengths(held.iter().map(|rank| identifier(*rank).len()));
    let bytes = offsets.last().map_or(0, |end| *end as usize);
    let mut values = Vec::with_capacity(bytes);
    for rank in held {
        values.extend_from_slice(identifier(*rank));
    }
    let valid = BooleanBuffer::collect_bool(held.len(), |person| held[person] != NO_RANK);
    LargeBinaryArray::new(offsets, Buffer::from_vec(values), nulls_of(valid))
}

/// A validity bitmap as an array's nulls, none where all are valid.
fn nulls_of(valid: BooleanBuffer) -> Option<NullBuffer> {
    Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
}

/// The rows that pass, as bits: a null in the predicate does not. None where all do.
pub(super) fn passing_rows(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
) -> Result<Option<BooleanBuffer>, PrepareError> {
    let Some(passing) = passing else {
        return Ok(None);
    };
    table.check_rows("filter", passing.len())?;
    Ok(Some(match passing.nulls() {
        Some(nulls) => passing.values() & nulls.inner(),
        None => passing.values().clone(),
    }))
}

/// Per person, whether none of its rows passes: the entries that a filter empties.
///
/// `passing` is the predicate over the prepared table's rows, null not passing; without one, no
/// entry is emptied.
///
/// # Errors
/// [`PrepareError::RowsDiffer`].
pub fn emptied(table: &PreparedTable, passing: Option<&BooleanArray>) -> Result<BooleanBuffer, PrepareError> {
    let Some(passing) = passing_rows(table, passing)? else {
        return Ok(BooleanBuffer::new_unset(table.persons()));
    };
    let mut empty = vec![true; table.persons()];
    for (row, person) in table.person_of_row().iter().enumerate() {
        if *person != NO_PERSON && passing.value(row) {
            empty[*person as usize] = false;
        }
    }
    Ok(BooleanBuffer::from(empty))
}

/// The identifier columns with every emptied person null in all of them.
///
/// The filter selects rows, never identifiers: a person that keeps one row keeps all that it
/// holds. Lengths do not change, and no identifier is copied: the columns share the prepared
/// table's bytes under other null bitmaps, so a null slot may have bytes behind it that nobody is
/// to read.
///
/// # Errors
/// [`PrepareError::RowsDiffer`].
pub fn identifiers_after_filter(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
) -> Result<Vec<LargeBinaryArray>, PrepareError> {
    if passing.is_none() {
        return Ok(table.identifiers().to_vec());
    }
    let stays = NullBuffer::new(!&emptied(table, passing)?);
    let columns = table.identifiers().iter().map(|column| {
        let nulls = NullBuffer::union(column.nulls(), Some(&stays));
        let (offsets, values, _) = column.clone().into_parts();
        LargeBinaryArray::new(offsets, values, nulls)
    });
    Ok(columns.collect())
}

#[cfg(test)]
mod tests {
    use super::super::{prepare, reference};
    use super::*;
    use proptest::prelude::*;

    fn two_persons() -> PreparedTable {
        let emails = [Some("e1"), Some("e1"), Some("e2"), None];
        let phones = [Some("p1"), None, Some("p2"), None];
        let column =
            |rows: [Option<&str>; 4]| -> LargeBinaryArray { rows.iter().map(|row| row.map(str::as_bytes)).collect() };
        prepare(vec![column(emails), column(phones)]).unwrap()
    }

    #[test]
    fn a_person_with_one_passing_row_keeps_the_identifiers_of_all_its_rows() {
        let table = two_persons();
        // Of e1's rows only the one without a phone passes.
        let passing = BooleanArray::from(vec![Some(false), Some(true), Some(false), Some(true)]);
        let columns = identifiers_after_filter(&table, Some(&passing)).unwrap();
        for (column, kept) in columns.iter().zip([b"e1", b"p1"]) {
            assert_eq!(column.len(), 2);
            assert_eq!(column.value(0), kept);
            assert!(column.is_null(1));
        }
        assert_eq!(emptied(&table, Some(&passing)).unwrap(), BooleanBuffer::from(vec![false, true]));
    }

    #[test]
    fn null_does_not_pass() {
        let table = two_persons();
        let passing = BooleanArray::from(vec![None, Some(false), None, None]);
        let empty = emptied(&table, Some(&passing)).unwrap();
        assert_eq!(empty.count_set_bits(), 2);
        let columns = identifiers_after_filter(&table, Some(&passing)).unwrap();
        assert!(columns.iter().all(|column| column.null_count() == 2));
    }

    #[test]
    fn without_a_filter_nobody_is_emptied() {
        let table = two_persons();
        assert_eq!(emptied(&table, None).unwrap().count_set_bits(), 0);
        assert_eq!(identifiers_after_filter(&table, None).unwrap(), table.identifiers());
    }

    #[test]
    fn emptying_copies_no_identifier() {
        let table = two_persons();
        let passing = BooleanArray::from(vec![false; 4]);
        let columns = identifiers_after_filter(&table, Some(&passing)).unwrap();
        for (emptied, whole) in columns.iter().zip(table.identifiers()) {
            assert_eq!(emptied.value_data().as_ptr(), whole.value_data().as_ptr());
        }
    }

    #[test]
    fn a_filter_of_another_table_is_refused() {
        let passing = BooleanArray::from(vec![true; 3]);
        let error = emptied(&two_persons(), Some(&passing)).unwrap_err();
        let expected = PrepareError::RowsDiffer { what: "filter", found: 3, expected: 4 };
        assert_eq!(error, expected);
    }

    proptest! {
        #[test]
        fn a_filter_empties_exactly_the_persons_without_a_passing_row(
            (table, passing) in reference::tables().prop_flat_map(|table| {
                let rows = table.rows.len();
                let passing = proptest::collection::vec(any::<Option<bool>>(), rows);
                (Just(table), passing)
            }),
        ) {
            let prepared = prepare(table.columns()).unwrap();
            let filter = BooleanArray::from(passing.clone());
            let columns = identifiers_after_filter(&prepared, Some(&filter)).unwrap();
            for person in 0..prepared.persons() {
                let kept = (0..passing.len()).any(|row| {
                    prepared.person_of_row()[row] as usize == person && passing[row] == Some(true)
                });
                for (column, whole) in columns.iter().zip(prepared.identifiers()) {
                    prop_assert_eq!(column.len(), whole.len());
                    prop_assert_eq!(column.is_valid(person), kept && whole.is_valid(person));
                    if column.is_valid(person) {
                        prop_assert_eq!(column.value(person), whole.value(person));
                    }
                }
            }
        }
    }
}
