//! One party's table as it goes on the wire: persons, fillers and dummies under one secret permutation.

use arrow::array::{Array, LargeBinaryArray};
use rand_chacha::ChaCha20Rng;

use crate::crypto::{ElementColumn, HashDomain, Permutation, SecretScalar, Source, choose_half, hash_and_blind};

use super::{COLUMNS_MAX, Error};

/// What a party brings to a session: its prepared table, filter applied.
///
/// `Debug` is not derived: identifiers and values are what the protocol hides.
pub struct Entries {
    /// K columns of n normalised identifiers each, in match order; null: the entry has none in this column. A null that
    /// a filter made keeps its identifier's bytes behind it, as [`prepare`](super::prepare) leaves them.
    pub identifiers: Vec<LargeBinaryArray>,
    /// For each aggregate that this party owns, in the question's order, n totals: scaled and clipped.
    pub values: Vec<Vec<i128>>,
    /// Entries without any identifier to add, so that the number of entries is not that of the persons.
    pub fillers: u64,
}

impl Entries {
    /// Checks the shape: 1..=8 columns of equal length, as many totals in each value column.
    pub(crate) fn check(&self, columns: usize, values: usize) -> Result<(), Error> {
        let shape =
            |what: String| Err(Error::internal(format!("the prepared table does not fit the question: {what}")));
        if self.identifiers.len() != columns || !(1..=COLUMNS_MAX).contains(&columns) {
            return shape(format!("{} identifier columns for {columns}", self.identifiers.len()));
        }
        if self.values.len() != values {
            return shape(format!("{} value columns for {values} aggregates", self.values.len()));
        }
        let rows = self.identifiers[0].len();
        if self.identifiers.iter().any(|column| column.len() != rows) || self.values.iter().any(|v| v.len() != rows) {
            return shape("columns of different lengths".to_owned());
        }
        Ok(())
    }

    /// Persons and fillers: what the hello announces.
    pub(crate) fn announced(&self) -> u64 {
        self.identifiers.first().map_or(0, |column| column.len() as u64) + self.fillers
    }
}

/// The table on the wire. Row i of the wire is entry `order[i]`: below `persons` a person, below
/// `announced` a filler, then `dummies` dummies of column 1, of column 2, ….
pub(crate) struct WireTable {
    entries: Entries,
    persons: usize,
    announced: usize,
    dummies: usize,
    /// Per column, the numbers of the common dummies that this party chose.
    chosen: Vec<Vec<u64>>,
    order: Permutation,
    domains: Vec<HashDomain>,
}

impl WireTable {
    /// Draws the dummies (a uniformly random half of each column's 2τ) and the permutation.
    ///
    /// `announced + columns · dummies` must fit a u32, which the hello's limits see to.
    pub(crate) fn new(entries: Entries, dummies: u64, transcript: &[u8; 32], rng: &mut ChaCha20Rng) -> Self {
        let columns = entries.identifiers.len();
        let persons = entries.identifiers[0].len();
        let announced = entries.announced() as usize;
        let chosen = (0..columns).map(|_| choose_half(dummies, rng)).collect();
        let rows = announced + columns * dummies as usize;
        WireTable {
            entries,
            persons,
            announced,
            dummies: dummies as usize,
            chosen,
            order: Permutation::random(rows as u32, rng),
            domains: (0..columns).map(|column| HashDomain::new(column as u8, transcript)).collect(),
        }
    }

    /// Rows on the wire.
    pub(crate) fn rows(&self) -> usize {
        self.announced + self.chosen.len() * self.dummies
    }

    pub(crate) fn columns(&self) -> usize {
        self.chosen.len()
    }

    /// Column `column` (from 0) of the given wire rows, blinded.
    pub(crate) fn blind(
        &self,
        column: usize,
        rows: std::ops::Range<usize>,
        scalar: &SecretScalar,
        rng: &mut ChaCha20Rng,
    ) -> ElementColumn {
        let order = &self.order.rows()[rows];
        let source = |i: usize| self.source(column, order[i] as usize);
        hash_and_blind(&self.domains[column], order.len(), source, scalar, rng)
    }

    fn source(&self, column: usize, entry: usize) -> Source<'_> {
        if entry < self.persons {
            let identifiers = &self.entries.identifiers[column];
            match identifiers.value(entry) {
                // A filter empties an entry by its null bit alone: the bytes that are still behind it are hashed and
                // thrown away, so that the time of a batch does not tell which rows the filter took.
                emptied if identifiers.is_null(entry) && !emptied.is_empty() => Source::Emptied(emptied),
                _ => Source::of(identifiers, entry),
            }
        } else if entry >= self.announced && (entry - self.announced) / self.dummies == column {
            let index = self.chosen[column][(entry - self.announced) % self.dummies];
            Source::Dummy { part: 0, index }
        } else {
            Source::Null
        }
    }

    /// The totals of owned aggregate `value` for the given wire rows; 0 for fillers and dummies.
    pub(crate) fn values(&self, value: usize, rows: std::ops::Range<usize>) -> impl Iterator<Item = i128> + '_ {
        self.order.rows()[rows]
            .iter()
            .map(move |&entry| self.entries.values[value].get(entry as usize).copied().unwrap_or(0))
    }

    /// How many aggregates this party owns.
    pub(crate) fn value_columns(&self) -> usize {
        self.entries.values.len()
    }

    /// Frees the identifiers, once all columns have been blinded.
    pub(crate) fn forget_identifiers(&mut self) {
        self.entries.identifiers.clear();
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    fn entries(persons: usize, columns: usize, fillers: u64) -> Entries {
        let column = || LargeBinaryArray::from_iter((0..persons).map(|i| Some(format!("person-{i}"))));
        Entries {
            identifiers: (0..columns).map(|_| column()).collect(),
            values: vec![(0..persons as i128).collect()],
            fillers,
        }
    }

    #[test]
    fn the_wire_holds_every_person_once_and_each_columns_dummies_in_that_column_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let table = WireTable::new(entries(5, 3, 4), 2, &[1; 32], &mut rng);
        assert_eq!(table.rows(), 5 + 4 + 3 * 2);
        for column in 0..3 {
            let mut persons = 0;
            let mut dummies = Vec::new();
            for row in 0..table.rows() {
                match table.source(column, table.order.rows()[row] as usize) {
                    Source::Identifier(_) => persons += 1,
                    Source::Dummy { part, index } => dummies.push((part, index)),
                    _ => {}
                }
            }
            dummies.sort_unstable();
            let mut chosen: Vec<_> = table.chosen[column].iter().map(|&index| (0, index)).collect();
            chosen.sort_unstable();
            assert_eq!((persons, dummies), (5, chosen));
        }
    }

    #[test]
    fn values_follow_the_permutation_and_are_nothing_for_fillers_and_dummies() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let table = WireTable::new(entries(5, 1, 4), 3, &[1; 32], &mut rng);
        let mut values: Vec<i128> = table.values(0, 0..table.rows()).collect();
        values.sort_unstable();
        assert_eq!(values, [vec![0; 8], (1..5).collect()].concat());
    }

    #[test]
    fn a_table_of_another_shape_than_the_question_is_refused() {
        assert!(entries(3, 2, 0).check(2, 1).is_ok());
        assert!(entries(3, 2, 0).check(1, 1).is_err());
        assert!(entries(3, 2, 0).check(2, 2).is_err());
        let mut uneven = entries(3, 2, 0);
        uneven.values[0].pop();
        assert!(uneven.check(2, 1).is_err());
    }
}
