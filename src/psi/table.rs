//! One party's table as it goes on the wire: of each part its persons, fillers and dummies under a secret permutation.

use std::ops::Range;

use arrow::array::{Array, LargeBinaryArray};
use zeroize::Zeroizing;

use crate::crypto::{
    ChaCha20Rng, ElementColumn, HashDomain, SecretScalar, Source, choose_half, hash_and_blind, shuffle,
};

use super::ahead::{BlindedAhead, BlindedRows, Kinds};
use super::{COLUMNS_MAX, Error, PARTS_MAX};

/// What a party brings to a session: its prepared table, filter applied.
///
/// `Debug` is not derived: identifiers and values are what the protocol hides.
pub struct Entries {
    /// K columns of n normalised identifiers each, in match order; null: the entry has none in this column. A null that
    /// a filter made keeps its identifier's bytes behind it, as [`prepare`](super::prepare) leaves them. Within a column
    /// no identifier occurs twice, in whatever parts.
    pub identifiers: Vec<LargeBinaryArray>,
    /// Columns of n totals each, scaled and clipped. Of the requester: one for each aggregate that it owns, in the question's
    /// order. Of the responder: one for each aggregate that it owns *and label*, the column of label l of the w-th of
    /// these aggregates at w · labels + l (labels = 1 where the question has no `group_by`).
    pub values: Vec<Vec<i128>>,
    /// How the n entries, in their order, fall into parts: the requester's one after the other, 1 to [`PARTS_MAX`]; the
    /// responder always has one.
    pub parts: Vec<EntryPart>,
}

/// One part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPart {
    /// How many of the entries are its own.
    pub persons: usize,
    /// Entries without any identifier to add, so that the number of entries is not that of the persons.
    pub fillers: u64,
}

impl Entries {
    /// Entries of one part.
    pub fn whole(identifiers: Vec<LargeBinaryArray>, values: Vec<Vec<i128>>, fillers: u64) -> Self {
        let persons = identifiers.first().map_or(0, Array::len);
        Entries { identifiers, values, parts: vec![EntryPart { persons, fillers }] }
    }

    /// Checks the shape: 1..=8 columns of equal length, as many totals in each value column, and 1 to `parts_max` parts
    /// that the entries fall into.
    pub(crate) fn check(&self, columns: usize, values: usize, parts_max: usize) -> Result<(), Error> {
        let shape =
            |what: String| Err(Error::internal(format!("the prepared table does not fit the question: {what}")));
        if self.identifiers.len() != columns || !(1..=COLUMNS_MAX).contains(&columns) {
            return shape(format!("{} identifier columns for {columns}", self.identifiers.len()));
        }
        if self.values.len() != values {
            return shape(format!("{} value columns for {values} words", self.values.len()));
        }
        let rows = self.identifiers[0].len();
        if self.identifiers.iter().any(|column| column.len() != rows) || self.values.iter().any(|v| v.len() != rows) {
            return shape("columns of different lengths".to_owned());
        }
        if !(1..=parts_max.min(PARTS_MAX)).contains(&self.parts.len()) {
            return shape(format!("{} parts where 1 to {parts_max} are possible", self.parts.len()));
        }
        let fall = self.parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.persons));
        if fall != rows {
            return shape(format!("{fall} entries in its parts, {rows} in all"));
        }
        Ok(())
    }

    /// Persons and fillers of each part: what the hello announces.
    pub fn announced(&self) -> Vec<u64> {
        self.parts.iter().map(|part| (part.persons as u64).saturating_add(part.fillers)).collect()
    }

    /// Persons and fillers of all parts.
    pub fn announced_total(&self) -> u64 {
        self.announced().into_iter().fold(0, u64::saturating_add)
    }
}

/// How the rows of the *requester's* wire table fall into its parts, one after the other: what both sides know from the
/// hello. Parts are numbered from 1, as marks name them; 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartRows {
    /// Where each part's rows end.
    ends: Vec<usize>,
}

impl PartRows {
    /// Parts of so many rows, dummies included.
    pub(crate) fn new(rows: impl Iterator<Item = u64>) -> Self {
        let ends = rows.scan(0usize, |end, rows| {
            *end = end.saturating_add(usize::try_from(rows).unwrap_or(usize::MAX));
            Some(*end)
        });
        PartRows { ends: ends.collect() }
    }

    /// How many parts there are.
    pub(crate) fn parts(&self) -> usize {
        self.ends.len()
    }

    /// All rows.
    pub(crate) fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The number of the part that row `row` is in.
    pub(crate) fn part_of(&self, row: u32) -> u16 {
        // At most PARTS_MAX parts.
        self.ends.partition_point(|end| *end <= row as usize) as u16 + 1
    }

    /// The rows of each part, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }
}

/// The table on the wire: its parts one after the other, each under a secret permutation of its own.
///
/// Row i of the wire is entry `order[i]`: below `persons` a person, below `announced` a filler, then `dummies` dummies of
/// column 1, of column 2, … of part 1, then of part 2, …. The dummies of a part are in the requester's part of that
/// number; the responder's only part holds those of all.
pub(crate) struct WireTable {
    entries: Entries,
    persons: usize,
    announced: usize,
    dummies: usize,
    columns: usize,
    /// Per part and column, the numbers of the common dummies that this party chose.
    chosen: Zeroizing<Vec<Vec<u64>>>,
    order: Zeroizing<Vec<u32>>,
    domains: Vec<HashDomain>,
    /// Rows that were blinded ahead, and until the session asks for it the scalar that did.
    ahead: Option<(BlindedRows, Option<SecretScalar>)>,
}

impl WireTable {
    /// Draws the dummies (for each of the requester's `parts`, a uniformly random half of each column's 2τ) and the
    /// permutations.
    ///
    /// Entries are of `parts` parts (the requester's) or of one (the responder's). All rows must fit a u32, which the
    /// hello's limits see to.
    pub(crate) fn new(
        entries: Entries,
        parts: usize,
        dummies: u64,
        transcript: &[u8; 32],
        rng: &mut ChaCha20Rng,
    ) -> Self {
        let columns = entries.identifiers.len();
        let persons = entries.identifiers[0].len();
        let announced = entries.announced_total() as usize;
        let chosen = Zeroizing::new((0..parts * columns).map(|_| choose_half(dummies, rng)).collect());
        let dummies = dummies as usize;
        let rows = announced + parts * columns * dummies;
        let mut order = Zeroizing::new(Vec::with_capacity(rows));
        let (mut person, mut filler) = (0, persons);
        for (number, part) in entries.parts.iter().enumerate() {
            let with_dummies_of = if entries.parts.len() == parts { number..number + 1 } else { 0..parts };
            let dummy_rows = |part: usize| announced + part * columns * dummies;
            let fillers = part.fillers as usize;
            let own = (person..person + part.persons)
                .chain(filler..filler + fillers)
                .chain(dummy_rows(with_dummies_of.start)..dummy_rows(with_dummies_of.end));
            let start = order.len();
            order.extend(own.map(|entry| entry as u32));
            shuffle(&mut order[start..], rng);
            person += part.persons;
            filler += fillers;
        }
        let domains = (0..columns).map(|column| HashDomain::new(column as u8, transcript)).collect();
        WireTable { entries, persons, announced, dummies, columns, chosen, order, domains, ahead: None }
    }

    /// Takes up what was blinded ahead of this very table, and blinds the session's dummies by the same scalar, all together:
    /// their number is public.
    pub(crate) fn take_up(&mut self, ahead: BlindedAhead, rng: &mut ChaCha20Rng) -> Result<(), Error> {
        let kinds = Kinds {
            fillers: self.announced - self.persons,
            dummies: self.dummies,
            chosen: &self.chosen,
            domains: &self.domains,
        };
        let (rows, scalar) = ahead.complete(&self.entries.identifiers, &kinds, rng)?;
        self.ahead = Some((rows, Some(scalar)));
        Ok(())
    }

    /// The session's first scalar, of which there is one: that which has blinded the rows already, or a fresh one.
    pub(crate) fn first_scalar(&mut self, rng: &mut ChaCha20Rng) -> SecretScalar {
        let ahead = self.ahead.as_mut().and_then(|(_, scalar)| scalar.take());
        ahead.unwrap_or_else(|| SecretScalar::random(rng))
    }

    /// Rows on the wire.
    pub(crate) fn rows(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Column `column` (from 0) of the given wire rows, blinded by the session's first scalar.
    pub(crate) fn blind(
        &self,
        column: usize,
        rows: Range<usize>,
        scalar: &SecretScalar,
        rng: &mut ChaCha20Rng,
    ) -> ElementColumn {
        let order = &self.order[rows];
        if let Some((ahead, _)) = &self.ahead {
            return ahead.batch(column, order, rng);
        }
        let source = |i: usize| self.source(column, order[i] as usize);
        hash_and_blind(&self.domains[column], order.len(), source, scalar, rng)
    }

    fn source(&self, column: usize, entry: usize) -> Source<'_> {
        if entry < self.persons {
            let identifiers = &self.entries.identifiers[column];
            return match identifiers.value(entry) {
                // A filter empties an entry by its null bit alone: the bytes that are still behind it are hashed and
                // thrown away, so that the time of a batch does not tell which rows the filter took.
                emptied if identifiers.is_null(entry) && !emptied.is_empty() => Source::Emptied(emptied),
                _ => Source::of(identifiers, entry),
            };
        }
        if entry >= self.announced {
            let (kind, index) = ((entry - self.announced) / self.dummies, (entry - self.announced) % self.dummies);
            if kind % self.columns == column {
                return Source::Dummy { part: (kind / self.columns) as u32, index: self.chosen[kind][index] };
            }
        }
        Source::Null
    }

    /// What each row of the wire is in a column.
    #[cfg(test)]
    pub(crate) fn sources(&self, column: usize) -> Vec<Source<'_>> {
        self.order.iter().map(|&entry| self.source(column, entry as usize)).collect()
    }

    /// The totals of value column `value` for the given wire rows; 0 for fillers and dummies.
    pub(crate) fn values(&self, value: usize, rows: Range<usize>) -> impl Iterator<Item = i128> + '_ {
        let values = &self.entries.values[value];
        self.order[rows].iter().map(|&entry| values.get(entry as usize).copied().unwrap_or(0))
    }

    /// How many value columns this party has.
    pub(crate) fn value_columns(&self) -> usize {
        self.entries.values.len()
    }

    /// Frees the identifiers and what was blinded of them ahead, once all columns have been sent.
    pub(crate) fn forget_identifiers(&mut self) {
        self.entries.identifiers.clear();
        self.ahead = None;
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    fn entries(persons: usize, columns: usize, fillers: u64) -> Entries {
        let column = || LargeBinaryArray::from_iter((0..persons).map(|i| Some(format!("person-{i}"))));
        let identifiers = (0..columns).map(|_| column()).collect();
        Entries::whole(identifiers, vec![(0..persons as i128).collect()], fillers)
    }

    /// What the wire rows of `rows` hold in a column: persons, and dummies by part and number.
    fn found(table: &WireTable, column: usize, rows: Range<usize>) -> (Vec<Vec<u8>>, Vec<(u32, u64)>) {
        let (mut persons, mut dummies) = (Vec::new(), Vec::new());
        for row in rows {
            match table.source(column, table.order[row] as usize) {
                Source::Identifier(bytes) => persons.push(bytes.to_vec()),
                Source::Dummy { part, index } => dummies.push((part, index)),
                _ => {}
            }
        }
        persons.sort_unstable();
        dummies.sort_unstable();
        (persons, dummies)
    }

    fn named(range: Range<usize>) -> Vec<Vec<u8>> {
        range.map(|i| format!("person-{i}").into_bytes()).collect()
    }

    #[test]
    fn the_wire_holds_every_person_once_and_each_columns_dummies_in_that_column_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let table = WireTable::new(entries(5, 3, 4), 1, 2, &[1; 32], &mut rng);
        assert_eq!(table.rows(), 5 + 4 + 3 * 2);
        for column in 0..3 {
            let chosen = table.chosen[column].iter().map(|&index| (0, index)).collect();
            assert_eq!(found(&table, column, 0..table.rows()), (named(0..5), chosen));
        }
    }

    #[test]
    fn a_requester_s_part_holds_its_own_persons_fillers_and_dummies_and_a_responder_s_those_of_all_parts() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let part = |persons, fillers| EntryPart { persons, fillers };
        let cut = Entries { parts: vec![part(3, 1), part(0, 0), part(2, 5)], ..entries(5, 2, 0) };
        let table = WireTable::new(cut, 3, 2, &[1; 32], &mut rng);
        let rows = PartRows::new([3 + 1 + 4, 4, 2 + 5 + 4].into_iter());
        assert_eq!((table.rows(), rows.rows(), rows.parts()), (23, 23, 3));
        let whole = WireTable::new(entries(5, 2, 6), 3, 2, &[1; 32], &mut rng);
        assert_eq!(whole.rows(), 5 + 6 + 3 * 4);
        for column in 0..2 {
            let dummies = |table: &WireTable, part: usize| -> Vec<(u32, u64)> {
                table.chosen[part * 2 + column].iter().map(|&index| (part as u32, index)).collect()
            };
            for (part, (range, persons)) in rows.ranges().zip([0..3, 3..3, 3..5]).enumerate() {
                assert_eq!(found(&table, column, range), (named(persons), dummies(&table, part)));
            }
            let all = (0..3).flat_map(|part| dummies(&whole, part)).collect();
            assert_eq!(found(&whole, column, 0..whole.rows()), (named(0..5), all));
        }
    }

    #[test]
    fn a_row_is_in_the_part_whose_rows_it_is_among() {
        let rows = PartRows::new([2, 0, 1, 3].into_iter());
        assert_eq!((0..6).map(|row| rows.part_of(row)).collect::<Vec<_>>(), [1, 1, 3, 4, 4, 4]);
        assert_eq!(rows.ranges().collect::<Vec<_>>(), [0..2, 2..2, 2..3, 3..6]);
    }

    #[test]
    fn values_follow_the_permutation_and_are_nothing_for_fillers_and_dummies() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let table = WireTable::new(entries(5, 1, 4), 1, 3, &[1; 32], &mut rng);
        let mut values: Vec<i128> = table.values(0, 0..table.rows()).collect();
        values.sort_unstable();
        assert_eq!(values, [vec![0; 8], (1..5).collect()].concat());
    }

    #[test]
    fn a_table_of_another_shape_than_the_question_is_refused() {
        assert!(entries(3, 2, 0).check(2, 1, 1).is_ok());
        assert!(entries(3, 2, 0).check(1, 1, 1).is_err());
        assert!(entries(3, 2, 0).check(2, 2, 1).is_err());
        let mut uneven = entries(3, 2, 0);
        uneven.values[0].pop();
        assert!(uneven.check(2, 1, 1).is_err());
        let parts = |persons: &[usize]| Entries {
            parts: persons.iter().map(|persons| EntryPart { persons: *persons, fillers: 1 }).collect(),
            ..entries(3, 2, 0)
        };
        assert!(parts(&[2, 0, 1]).check(2, 1, PARTS_MAX).is_ok());
        assert_eq!(parts(&[2, 0, 1]).announced(), [3, 1, 2]);
        assert!(parts(&[2, 0, 1]).check(2, 1, 1).is_err());
        assert!(parts(&[2, 0]).check(2, 1, PARTS_MAX).is_err());
        assert!(parts(&[2, usize::MAX]).check(2, 1, PARTS_MAX).is_err());
        assert!(parts(&[]).check(2, 1, PARTS_MAX).is_err());
        let most = [&[3][..], &[0; PARTS_MAX - 1]].concat();
        assert!(parts(&most).check(2, 1, PARTS_MAX).is_ok());
        assert!(parts(&[&most[..], &[0]].concat()).check(2, 1, PARTS_MAX + 1).is_err());
    }
}
