//! From rows to persons: what a party does to its own table before a session, and to the values
//! of its persons for each query. Nothing here leaves the party.
//!
//! **Row of the table of rooms** (part of `psi`): job: group rows into persons, empty the entries
//! that a filter selects nothing of, sum values per person. May import: arrow arrays, rayon. Must
//! not touch: tokio, tonic, datafusion, clock, files, randomness.
//!
//! ```text
//! identifier columns ── prepare ──> PreparedTable ──┬─ emptied, identifiers_after_filter ─> session
//! (normalised, whole table)   (once per version,    │
//!                              may be cached)       └─ person_totals, person_squares, ────> shares
//!                              passing rows, values ┘  person_row_counts, persons_passing
//!                                                      (once per query and word)
//! ```
//! Where a question is grouped by a column of the owner's, [`label_choice`] says once which labels each person counts in,
//! and each word has a function `…_by_label`.
//!
//! # The rule (protocol.md, "Preparing a table", step 2)
//! Rows without any identifier are dropped. For column k = 1 … K in match order:
//!
//! 1. each person so far, in content order, takes as its column-k identifier the first among its
//!    rows' that nobody holds yet;
//! 2. each row whose first non-null identifier is in column k joins the person that holds it, else
//!    starts a new person that holds it.
//!
//! *First* is by byte order of the column-k identifiers; *content order* of persons is by founding
//! column, then by byte order of the founding identifier. Arrival order has no say anywhere: a
//! permuted table prepares to the same persons in the same order.
//!
//! So (e, p), (e, –) and (–, p) are one person. What a plain join would have kept and this loses:
//! a person's second identifier in a column (unless rows without an earlier identifier found a
//! person on it), and an identifier that several persons' rows have, in all of them but the one
//! that holds it. [`PrepareReport`] counts both, for the owner alone.
//!
//! # Limits
//! 1 to [`COLUMNS_MAX`] columns, [`ROWS_MAX`] rows. Memory: [`PreparedTable::size_bytes`], and while it is
//! made [`prepare_bytes`].

mod entries;
mod fixed_point;
mod labels;
mod persons;
mod rank;
#[cfg(test)]
mod reference;
mod scale;
mod values;

use std::fmt;

use arrow::array::{Array, LargeBinaryArray};
use rayon::prelude::*;

pub use super::{COLUMNS_MAX, LABELS_MAX};
pub use entries::{emptied, identifiers_after_filter};
pub use fixed_point::{FLOAT_DECIMALS_MAX, fixed_point};
pub use labels::{
    LabelChoice, label_choice, person_row_counts_by_label, person_squares_by_label, person_totals_by_label,
    persons_by_label,
};
pub use scale::{ValueError, ValueScale, scale_of};
pub use values::{PersonTotals, person_row_counts, person_squares, person_totals, persons_passing};

use rank::RankedColumn;

/// Most rows of a table: row and person numbers are 32 bits wide, and [`NO_PERSON`] is none.
pub const ROWS_MAX: usize = u32::MAX as usize - 1;

/// The person of a row without any identifier, in [`PreparedTable::person_of_row`].
pub const NO_PERSON: u32 = u32::MAX;

/// A table's persons: their identifiers, and which rows are whose.
///
/// Persons are numbered in content order, so equal tables, in whatever order their rows arrive,
/// have equal persons. `Debug` shows counts only.
pub struct PreparedTable {
    identifiers: Vec<LargeBinaryArray>,
    person_of_row: Vec<u32>,
    report: PrepareReport,
}

/// What preparing a table found and lost. For the table's owner alone: it is exact, and about
/// people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareReport {
    /// Rows of the table.
    pub rows: u64,
    /// Rows without any identifier; they belong to nobody.
    pub dropped_rows: u64,
    /// Persons.
    pub persons: u64,
    /// Per identifier column, in match order.
    pub columns: Vec<ColumnReport>,
}

/// What became of one column's identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnReport {
    /// Distinct identifiers in the column.
    pub identifiers: u64,
    /// Those that a person holds; as many persons have one.
    pub held: u64,
    /// Those that nobody holds: a person's second address. `identifiers − held`.
    pub lost_second: u64,
    /// Times that a person's rows have an identifier that another person holds: each (person,
    /// identifier) pair once.
    pub lost_to_another: u64,
}

/// Why a table cannot be prepared: its shape, never its values. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// None or too many identifier columns.
    #[error("a table has 1 to {COLUMNS_MAX} identifier columns, and {found} were given")]
    ColumnCount {
        /// Columns given.
        found: usize,
    },
    /// The columns differ in length.
    #[error(
        "identifier column {column} has {found} rows and the first has {expected}: they have to come from one table"
    )]
    ColumnLength {
        /// The column's position, from 0.
        column: usize,
        /// Its rows.
        found: usize,
        /// Rows of column 0.
        expected: usize,
    },
    /// More rows than can be numbered.
    #[error("a table has at most {ROWS_MAX} rows, and this one has {found}: split it")]
    RowCount {
        /// Rows given.
        found: usize,
    },
    /// A predicate or value column is not the prepared table's.
    #[error(
        "the {what} has {found} rows and the prepared table {expected}: it belongs to another version of the table"
    )]
    RowsDiffer {
        /// Which column, in words.
        what: &'static str,
        /// Its rows.
        found: usize,
        /// Rows of the prepared table.
        expected: usize,
    },
}

/// Groups the rows of a table into persons.
///
/// `columns` are the normalised identifiers, one array per identifier column in match order, all
/// of the table's length; null is no identifier.
///
/// # How
/// Each column is ranked: its distinct identifiers sorted by bytes, every row carrying its
/// identifier's rank. From there on all is integer work, and a rank's order is the content order
/// that the rule speaks of. Persons are numbered as they are founded, column by column and by
/// rank within a column; that *is* their content order, so step 1 of the rule is one pass over the
/// pairs (person, rank) in ascending order, taking for each person the first rank without a
/// holder. O(K · n log n); for one column it is a sort and a numbering.
///
/// # Errors
/// [`PrepareError`], by shape alone.
pub fn prepare(columns: Vec<LargeBinaryArray>) -> Result<PreparedTable, PrepareError> {
    if columns.is_empty() || columns.len() > COLUMNS_MAX {
        return Err(PrepareError::ColumnCount { found: columns.len() });
    }
    let rows = columns[0].len();
    if let Some(column) = columns.iter().position(|column| column.len() != rows) {
        return Err(PrepareError::ColumnLength { column, found: columns[column].len(), expected: rows });
    }
    if rows > ROWS_MAX {
        return Err(PrepareError::RowCount { found: rows });
    }

    // One column after the other: each is parallel inside, and the sort's scratch exists once.
    let ranked: Vec<RankedColumn> = columns.iter().map(RankedColumn::new).collect();
    let grouped = persons::group(rows, &ranked);
    let identifiers = columns
        .par_iter()
        .zip(&ranked)
        .zip(&grouped.held)
        .map(|((column, ranked), held)| entries::gather(column, ranked, held))
        .collect();
    let dropped = grouped.person_of_row.iter().filter(|p| **p == NO_PERSON);
    let report = PrepareReport {
        rows: rows as u64,
        dropped_rows: dropped.count() as u64,
        persons: u64::from(grouped.persons),
        columns: grouped.columns,
    };
    Ok(PreparedTable { identifiers, person_of_row: grouped.person_of_row, report })
}

/// The most bytes that [`prepare`] holds beside the identifiers that it is given, what it makes included:
/// `identifier_bytes` again, 4 per row, 12 per row and column for ranks and holders, 24 per row of the column being
/// sorted.
pub fn prepare_bytes(rows: usize, columns: usize, identifier_bytes: usize) -> usize {
    identifier_bytes.saturating_add(rows.saturating_mul(28 + 12 * columns))
}

impl PreparedTable {
    /// Bytes in memory: the identifiers, and 4 per row.
    pub fn size_bytes(&self) -> usize {
        let identifiers: usize = self.identifiers.iter().map(Array::get_array_memory_size).sum();
        identifiers + 4 * self.person_of_row.capacity()
    }

    /// The number of persons: the length of every identifier column.
    pub fn persons(&self) -> usize {
        self.identifiers[0].len()
    }

    /// The number of rows of the table that was prepared.
    pub fn rows(&self) -> usize {
        self.person_of_row.len()
    }

    /// Per identifier column in match order, the identifier that each person holds, or null.
    /// Within a column no identifier occurs twice.
    pub fn identifiers(&self) -> &[LargeBinaryArray] {
        &self.identifiers
    }

    /// Each row's person, [`NO_PERSON`] for rows without any identifier.
    pub fn person_of_row(&self) -> &[u32] {
        &self.person_of_row
    }

    /// What was found and lost, for the owner alone.
    pub fn report(&self) -> &PrepareReport {
        &self.report
    }

    /// Refuses a column of another length than the table's.
    fn check_rows(&self, what: &'static str, found: usize) -> Result<(), PrepareError> {
        if found == self.rows() {
            return Ok(());
        }
        Err(PrepareError::RowsDiffer { what, found, expected: self.rows() })
    }
}

impl fmt::Debug for PreparedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTable")
            .field("rows", &self.rows())
            .field("persons", &self.persons())
            .field("columns", &self.identifiers.len())
            .finish_non_exhaustive()
    }
}
