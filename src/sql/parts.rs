//! The asker's own groups: which part each row, and so each person, is in.
//!
//! A part is one distinct tuple of the group columns' values. Parts are numbered in content order (column by column, ascending,
//! NULL last), so that the same relation gives the same parts in whatever order its rows arrive.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryArray, UInt32Array};
use datafusion::arrow::compute::{SortOptions, take};
use datafusion::arrow::row::{Row, RowConverter, SortField};

use super::config::GroupConflict;
use crate::psi::Error;
use crate::psi::prepare::{NO_PERSON, PreparedTable, ROWS_MAX};

/// The parts of a relation.
pub(super) struct Parts {
    /// Of each row, its part.
    of_row: Vec<u32>,
    /// Of each group column, the value of each part.
    pub(super) values: Vec<ArrayRef>,
}

/// A part for each person.
pub(super) struct Assigned {
    /// The persons by part, within a part in their own order.
    order: Vec<u32>,
    /// How many are in each part.
    pub(super) persons: Vec<usize>,
    /// The rows that are in their person's part, where not all are.
    pub(super) counting: Option<BooleanArray>,
}

/// No part yet.
const NONE: u32 = u32::MAX;

impl Parts {
    /// The parts of one or more columns of equal length. CPU-bound.
    ///
    /// # Errors
    /// [`Error::Internal`] for a type without an order, which planning refuses.
    pub(super) fn of(columns: &[ArrayRef]) -> Result<Self, Error> {
        let ascending = SortOptions { descending: false, nulls_first: false };
        let fields = columns.iter().map(|column| SortField::new_with_options(column.data_type().clone(), ascending));
        let converter = RowConverter::new(fields.collect()).map_err(Error::internal)?;
        let rows = converter.convert_columns(columns).map_err(Error::internal)?;
        if rows.num_rows() > ROWS_MAX {
            return Err(Error::Caller(format!("the local side has {} rows, more than {ROWS_MAX}", rows.num_rows())));
        }

        // First in the order in which they are met, then in content order.
        let mut met: HashMap<Row<'_>, u32> = HashMap::new();
        let mut first_row: Vec<usize> = Vec::new();
        let mut of_row = Vec::with_capacity(rows.num_rows());
        for (row, content) in rows.iter().enumerate() {
            let part = *met.entry(content).or_insert_with(|| {
                first_row.push(row);
                // No more than the rows, whose number was looked at.
                (first_row.len() - 1) as u32
            });
            of_row.push(part);
        }
        let mut ordered: Vec<u32> = (0..first_row.len() as u32).collect();
        ordered.sort_unstable_by_key(|part| rows.row(first_row[*part as usize]));
        let mut rank = vec![0; ordered.len()];
        for (place, part) in ordered.iter().enumerate() {
            rank[*part as usize] = place as u32;
        }
        of_row.iter_mut().for_each(|part| *part = rank[*part as usize]);
        let firsts: UInt32Array = ordered.iter().map(|part| Some(first_row[*part as usize] as u32)).collect();
        let values = columns.iter().map(|column| take(column, &firsts, None).map_err(Error::internal));
        Ok(Parts { of_row, values: values.collect::<Result<_, _>>()? })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.values.first().map_or(0, |values| values.len())
    }

    /// The part of each person. CPU-bound.
    ///
    /// # Errors
    /// [`Error::Caller`] where a person's rows are in several parts and the asker has not said what then.
    pub(super) fn assign(&self, table: &PreparedTable, conflict: GroupConflict) -> Result<Assigned, Error> {
        if table.rows() != self.of_row.len() {
            return Err(Error::internal("groups of another relation"));
        }
        let mut of_person = vec![NONE; table.persons()];
        let mut in_several = vec![false; table.persons()];
        for (person, part) in table.person_of_row().iter().zip(&self.of_row).filter(|(person, _)| **person != NO_PERSON)
        {
            let place = &mut of_person[*person as usize];
            in_several[*person as usize] |= *place != NONE && *place != *part;
            *place = (*place).min(*part);
        }
        let conflicts = in_several.iter().filter(|several| **several).count();
        if conflicts > 0 && conflict == GroupConflict::Fail {
            return Err(Error::Caller(format!(
                "{conflicts} of your persons have rows in several groups, and a person counts in one: aggregate first, so that each \
                 person has one row, as in FROM (SELECT email, min(campaign) AS campaign FROM impressions GROUP BY email) i; or \
                 SET psi.group_conflict = 'first', which puts each into the group that sorts first, by its rows there alone \
                 (nothing was sent and nothing charged)"
            )));
        }
        let counting = (conflicts > 0).then(|| {
            let rows = table.person_of_row().iter().zip(&self.of_row);
            rows.map(|(person, part)| Some(*person != NO_PERSON && of_person[*person as usize] == *part)).collect()
        });
        let mut persons = vec![0; self.count()];
        of_person.iter().for_each(|part| persons[*part as usize] += 1);
        let mut order: Vec<u32> = (0..table.persons() as u32).collect();
        order.sort_by_key(|person| of_person[*person as usize]);
        Ok(Assigned { order, persons, counting })
    }
}

impl Assigned {
    /// Columns by person, in the order of the parts.
    pub(super) fn in_order(&self, columns: &[LargeBinaryArray]) -> Result<Vec<LargeBinaryArray>, Error> {
        let order = UInt32Array::from(self.order.clone());
        let taken = columns.iter().map(|column| take(column, &order, None).map_err(Error::internal));
        taken.map(|column| column.map(|column| column.as_binary::<i64>().clone())).collect()
    }

    /// Values by person, in the order of the parts.
    pub(super) fn values_in_order(&self, values: &[i128]) -> Vec<i128> {
        self.order.iter().map(|person| values[*person as usize]).collect()
    }
}
