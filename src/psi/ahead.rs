//! A responder's table, blinded before anybody asks.
//!
//! Hashing and blinding its own rows is most of what a responder with a large table does for a small question, and none of it
//! depends on the question: identifiers are hashed without a session's salt (`crypto::HashDomain`). So it can be done
//! before, once for each session, in the prepared table's order ([`BlindingAhead`]), and a session takes the result along
//! ([`Responder::with_ahead`](super::Responder::with_ahead)).
//!
//! # Why the peer sees nothing else than without it
//! *Its messages have the same distribution.* The scalar is uniformly random and not zero, as the session's own would be; the
//! type is taken by value and cannot be copied, so that no two sessions share it, whether the first ended well or not. Rows
//! that hold an identifier after the filter are sent as β·H(identifier), all others (entries emptied by the filter or null from
//! the beginning, fillers, the rows of other columns' dummies) as a random element that is drawn when the batch is cut, never as
//! what was kept for them; this session's dummies are hashed with its transcript and blinded by the same β. The permutation
//! is the session's own, over all of these. A peer cannot have had any say in the scalar: it was drawn before the offer came.
//!
//! *Its clock says no more.* Each row of a batch, of whatever kind, makes a random element, reads what is kept in its place and
//! its bit, and selects one of the two in constant time (`crypto::kept_or_random`). There is no branch by kind at all: what is
//! kept of persons, fillers and dummies is one sequence. The dummies are blinded all together before the first batch, at a time that
//! follows from their public number. That a table was blinded ahead shows, to the peer, by how fast its batches come.
//!
//! # What is kept, and what it is worth to a thief
//! One scalar, and 32 bytes per row and column. Together they turn guessed identifiers into a test for who is in the table: no
//! more than the prepared table says, which lies beside them in the clear. After the session its messages and these elements *in
//! the table's order* would tell its permutation: both are wiped once the last batch is cut, and whenever they are dropped.

use arrow::array::{Array, BooleanBufferBuilder, LargeBinaryArray};
use arrow::buffer::BooleanBuffer;
use subtle::Choice;
use zeroize::Zeroizing;

use crate::crypto::{
    ChaCha20Rng, ELEMENT_BYTES, ElementColumn, HashDomain, SecretScalar, Source, hash_and_blind_into, kept_or_random,
};

use super::{Error, FRAME_ROWS};

type Element = [u8; ELEMENT_BYTES];

/// Rows in a piece of memory, and of each column in a step: those of a message.
const PIECE_ROWS: usize = FRAME_ROWS as usize;

/// Bytes for dummies that a session may take without having set them aside: of the megabytes that a footprint leaves out.
const DUMMY_BYTES_MAX: u64 = 4 << 20;

/// A prepared table's identifiers blinded under a fresh scalar, for one session.
///
/// There is no way to copy it, and a session takes it by value.
pub struct BlindedAhead {
    scalar: SecretScalar,
    /// What was blinded: the prepared table's own memory, by which a session's entries are known again.
    identifiers: Vec<LargeBinaryArray>,
    columns: Vec<Elements>,
    held: Option<Held>,
}

/// Whatever has to be dropped when the rows are, and not before.
type Held = Box<dyn Send + Sync>;

/// A table that is being blinded ahead, step by step: between two steps its maker may stop, for as long as it likes.
///
/// ```text
/// let mut making = BlindingAhead::new(table.identifiers(), rng);
/// while !making.step() {}
/// let ahead = making.finish()?;
/// ```
pub struct BlindingAhead {
    made: BlindedAhead,
    domains: Vec<HashDomain>,
    rng: ChaCha20Rng,
}

impl BlindingAhead {
    /// Begins with the identifiers of a prepared table, which it shares and does not copy. Nothing is blinded yet. `rng` must
    /// be seeded from the system's randomness, anew for each.
    pub fn new(identifiers: &[LargeBinaryArray], mut rng: ChaCha20Rng) -> Self {
        let scalar = SecretScalar::random(&mut rng);
        let columns = identifiers.iter().map(|_| Elements::default()).collect();
        // The transcript moves dummies only, and there are none here.
        let domains = (0..identifiers.len()).map(|column| HashDomain::new(column as u8, &[])).collect();
        BlindingAhead {
            made: BlindedAhead { scalar, identifiers: identifiers.to_vec(), columns, held: None },
            domains,
            rng,
        }
    }

    /// Blinds a message's rows more of each column, on all of rayon's threads: some 12 ms of one core per column, or a tenth of
    /// a second where there is no AVX-512 IFMA. True once all rows are blinded.
    pub fn step(&mut self) -> bool {
        let BlindedAhead { scalar, identifiers, columns, .. } = &mut self.made;
        for ((column, identifiers), domain) in columns.iter_mut().zip(identifiers.iter()).zip(&self.domains) {
            let start = column.len();
            let place = column.add((identifiers.len() - start).min(PIECE_ROWS));
            // A null costs as much as an identifier here too; no session ever sends what is kept of it.
            let source = |row: usize| Source::of(identifiers, start + row);
            hash_and_blind_into(domain, place, source, scalar, &mut self.rng);
        }
        self.is_done()
    }

    fn is_done(&self) -> bool {
        let BlindedAhead { identifiers, columns, .. } = &self.made;
        columns.iter().zip(identifiers).all(|(column, identifiers)| column.len() == identifiers.len())
    }

    /// The whole, once all rows are blinded.
    ///
    /// # Errors
    /// [`Error::Internal`] before that.
    pub fn finish(self) -> Result<BlindedAhead, Error> {
        if self.is_done() { Ok(self.made) } else { Err(Error::internal("a table is not yet blinded ahead to its end")) }
    }
}

impl BlindedAhead {
    /// The bytes that a table of so many rows and identifier columns takes, and does from its first step on.
    pub fn bytes(rows: u64, columns: u64) -> u64 {
        let pieces = rows.div_ceil(PIECE_ROWS as u64);
        pieces.saturating_mul((PIECE_ROWS * ELEMENT_BYTES) as u64).saturating_mul(columns)
    }

    /// The same, and something that is dropped once its rows are wiped: the memory that was set aside for them. A session
    /// wipes them when it has sent its columns, or fails.
    pub fn holding(self, held: impl Send + Sync + 'static) -> Self {
        BlindedAhead { held: Some(Box::new(held)), ..self }
    }

    /// Whether a session whose table has so many `others` beside its persons, dummies and fillers, has room for what is kept in
    /// their places. It sets nothing aside for that; but while columns are sent, the 40 bytes per own row that later stages
    /// take are free ([`Footprint`](super::Footprint)). All of it is public.
    pub(crate) fn has_room_for(&self, others: u64) -> bool {
        let persons = self.identifiers.first().map_or(0, Array::len) as u64;
        let bytes = others.saturating_mul((ELEMENT_BYTES * self.columns.len()) as u64);
        bytes <= persons.saturating_mul(40).max(DUMMY_BYTES_MAX)
    }

    /// Refuses entries that are not those that were blinded, row by row and column by column: told by the memory of their
    /// identifiers, which a filter that empties entries leaves as it is.
    pub(crate) fn check(&self, identifiers: &[LargeBinaryArray]) -> Result<(), Error> {
        let same = |(ours, theirs): (&LargeBinaryArray, &LargeBinaryArray)| {
            ours.offsets().ptr_eq(theirs.offsets()) && ours.values().ptr_eq(theirs.values())
        };
        if self.identifiers.len() == identifiers.len() && self.identifiers.iter().zip(identifiers).all(same) {
            return Ok(());
        }
        Err(Error::internal("what was blinded ahead is of another table than the session's"))
    }

    /// The rows of a session's wire table, and the scalar that blinds them all. `kinds` are its rows beyond the prepared table's
    /// persons; `rng` is the session's.
    pub(crate) fn complete(
        self,
        identifiers: &[LargeBinaryArray],
        kinds: &Kinds<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Result<(BlindedRows, SecretScalar), Error> {
        self.check(identifiers)?;
        let BlindedAhead { scalar, columns, held, .. } = self;
        let columns = columns.into_iter().zip(identifiers).enumerate().map(|(column, (mut elements, identifiers))| {
            elements.extend(kinds.fillers, &Element::default());
            let mut kept = BooleanBufferBuilder::new(elements.len());
            match identifiers.nulls() {
                Some(nulls) => kept.append_buffer(nulls.inner()),
                None => kept.append_n(identifiers.len(), true),
            }
            kept.append_n(kinds.fillers, false);
            let own = kinds.own_dummies(column);
            let mut blinded = Zeroizing::new(vec![Element::default(); own.len()]);
            hash_and_blind_into(&kinds.domains[column], &mut blinded, |i| own[i], &scalar, rng);
            let mut blinded = blinded.iter();
            for kind in 0..kinds.chosen.len() {
                let is_own = kind % kinds.domains.len() == column;
                for _ in 0..kinds.dummies {
                    // Nobody is ever shown a zero: its bit says that it gives way to a random element.
                    let element = if is_own { blinded.next() } else { None };
                    elements.extend(1, element.unwrap_or(&Element::default()));
                }
                kept.append_n(kinds.dummies, is_own);
            }
            (elements, kept.finish())
        });
        Ok((BlindedRows { columns: columns.collect(), _held: held }, scalar))
    }
}

/// The rows of a wire table that are nobody's: fillers, then τ dummies of each kind, column by column of part 1, of part 2, ….
pub(crate) struct Kinds<'a> {
    pub(crate) fillers: usize,
    /// τ.
    pub(crate) dummies: usize,
    /// Per part and column, the numbers of the dummies chosen.
    pub(crate) chosen: &'a [Vec<u64>],
    /// Of each column, in this session.
    pub(crate) domains: &'a [HashDomain],
}

impl Kinds<'_> {
    /// The dummies of a column, in the order of the rows.
    fn own_dummies(&self, column: usize) -> Vec<Source<'static>> {
        let parts = self.chosen.iter().skip(column).step_by(self.domains.len()).zip(0..);
        parts.flat_map(|(chosen, part)| chosen.iter().map(move |&index| Source::Dummy { part, index })).collect()
    }
}

/// What is kept for every row of a wire table, by entry.
pub(crate) struct BlindedRows {
    /// Of each column its elements, and which of them stand.
    columns: Vec<(Elements, BooleanBuffer)>,
    /// After them: fields are dropped in their order.
    _held: Option<Held>,
}

impl BlindedRows {
    /// What the entries of `order` send in a column.
    pub(crate) fn batch(&self, column: usize, order: &[u32], rng: &mut ChaCha20Rng) -> ElementColumn {
        let (elements, kept) = &self.columns[column];
        let bits = kept.values();
        let row = |i: usize| {
            let entry = order[i] as usize;
            // A bit, and never a branch.
            (elements.element(entry), Choice::from((bits[entry / 8] >> (entry % 8)) & 1))
        };
        kept_or_random(order.len(), row, rng)
    }
}

/// Elements of one column, in pieces that never move: a vector that grows leaves its old contents behind.
#[derive(Default)]
struct Elements {
    pieces: Vec<Zeroizing<Vec<Element>>>,
}

impl Elements {
    fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE_ROWS + last.len())
    }

    fn element(&self, row: usize) -> &Element {
        &self.pieces[row / PIECE_ROWS][row % PIECE_ROWS]
    }

    /// The last piece, with room for a row at least.
    fn open(&mut self) -> &mut Vec<Element> {
        if self.pieces.last().is_none_or(|last| last.len() == PIECE_ROWS) {
            self.pieces.push(Zeroizing::new(Vec::with_capacity(PIECE_ROWS)));
        }
        let last = self.pieces.len() - 1;
        &mut self.pieces[last]
    }

    /// Zeros for so many rows more, as far as the last piece has room: where they lie.
    fn add(&mut self, rows: usize) -> &mut [Element] {
        let piece = self.open();
        let start = piece.len();
        piece.resize((start + rows).min(PIECE_ROWS), Element::default());
        &mut piece[start..]
    }

    /// The same element so many times.
    fn extend(&mut self, rows: usize, element: &Element) {
        for _ in 0..rows {
            self.open().push(*element);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use crate::crypto::hash_and_blind;

    use super::super::Entries;
    use super::super::table::WireTable;
    use super::*;

    const TRANSCRIPT: [u8; 32] = [9; 32];

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    /// Columns in which every seventh person has no identifier.
    fn identifiers(columns: usize, rows: usize) -> Vec<LargeBinaryArray> {
        let name = |column: usize, row: usize| (row % 7 != column).then(|| format!("person-{row}"));
        (0..columns).map(|column| (0..rows).map(|row| name(column, row)).collect()).collect()
    }

    fn made(identifiers: &[LargeBinaryArray], seed: u64) -> BlindedAhead {
        let mut making = BlindingAhead::new(identifiers, rng(seed));
        while !making.step() {}
        making.finish().unwrap()
    }

    fn filtered(identifiers: &[LargeBinaryArray], empties: impl Fn(usize) -> bool) -> Vec<LargeBinaryArray> {
        let columns = identifiers.iter().map(|column| {
            let stays = (0..column.len()).map(|row| column.is_valid(row) && !empties(row)).collect::<BooleanBuffer>();
            let (offsets, values, _) = column.clone().into_parts();
            LargeBinaryArray::new(offsets, values, Some(stays.into()))
        });
        columns.collect()
    }

    /// A responder's wire table of these entries with two dummies of each of two parts, and its columns as they are sent.
    fn sent(entries: Vec<LargeBinaryArray>, ahead: BlindedAhead, seed: u64) -> (WireTable, Vec<ElementColumn>) {
        let columns = entries.len();
        let mut rng = rng(seed);
        let mut table = WireTable::new(Entries::whole(entries, Vec::new(), 3), 2, 2, &TRANSCRIPT, &mut rng);
        table.take_up(ahead, &mut rng).unwrap();
        let scalar = table.first_scalar(&mut rng);
        let sent = (0..columns).map(|column| table.blind(column, 0..table.rows(), &scalar, &mut rng)).collect();
        (table, sent)
    }

    #[test]
    fn a_row_is_its_identifier_or_own_dummy_under_the_one_scalar_and_any_other_a_fresh_element() {
        for rows in [0, 1, PIECE_ROWS - 1, PIECE_ROWS + 5] {
            let all = identifiers(2, rows);
            let entries = filtered(&all, |row| row % 3 == 1);
            let (table, sent) = sent(entries.clone(), made(&all, 1), 2);
            let scalar = SecretScalar::random(&mut rng(1));
            for column in 0..2 {
                // What it has to be, by the session's own way of blinding: for everything that is no null, the same bytes.
                let domain = HashDomain::new(column as u8, &TRANSCRIPT);
                let kinds = table.sources(column);
                let expected = hash_and_blind(&domain, kinds.len(), |i| kinds[i], &scalar, &mut rng(3));
                assert_eq!(sent[column].len(), rows + 3 + 2 * 2 * 2);
                let mut stand = 0;
                for (row, kind) in kinds.iter().enumerate() {
                    let is_element = matches!(kind, Source::Identifier(_) | Source::Dummy { .. });
                    assert_eq!(sent[column].element(row) == expected.element(row), is_element, "row {row} of {rows}");
                    stand += usize::from(is_element);
                }
                assert_eq!(stand, rows - entries[column].null_count() + 2 * 2);
            }
        }
    }

    #[test]
    fn nulls_and_emptied_rows_are_others_every_time_and_never_what_was_kept() {
        let all = identifiers(1, 70);
        let entries = filtered(&all, |row| row % 3 == 1);
        // The same scalar and permutation twice, which only a test can have.
        let [(table, one), (_, other)] = [2, 2].map(|seed| sent(entries.clone(), made(&all, 1), seed));
        assert!(one == other);
        let mut again = rng(4);
        let third = table.blind(0, 0..table.rows(), &SecretScalar::random(&mut again), &mut again);
        let kept = made(&all, 1);
        let is_kept = |element: &Element| (0..70).any(|row| kept.columns[0].element(row) == element);
        let mut fresh = 0;
        for (row, kind) in table.sources(0).iter().enumerate() {
            let random = matches!(kind, Source::Null | Source::Emptied(_));
            assert_eq!(one[0].element(row) != third.element(row), random);
            assert!(!random || !is_kept(one[0].element(row)));
            fresh += usize::from(random);
        }
        assert_eq!(fresh, entries[0].null_count() + 3);
    }

    #[test]
    fn what_it_holds_is_dropped_with_its_rows_and_not_before() {
        let all = identifiers(2, 9);
        let held = std::sync::Arc::new(());
        let ahead = made(&all, 1).holding(std::sync::Arc::clone(&held));
        let (mut table, _) = sent(all.clone(), ahead, 2);
        assert_eq!(std::sync::Arc::strong_count(&held), 2);
        table.forget_identifiers();
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
        drop(made(&all, 1).holding(std::sync::Arc::clone(&held)));
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_session_with_far_more_dummies_than_persons_does_without() {
        let small = made(&identifiers(2, 1), 1);
        assert!(small.has_room_for(DUMMY_BYTES_MAX / 64) && !small.has_room_for(DUMMY_BYTES_MAX / 64 + 1));
        let large = BlindingAhead::new(&identifiers(2, 120_000), rng(1)).made;
        assert!(large.has_room_for(75_000) && !large.has_room_for(75_001) && !large.has_room_for(u64::MAX));
    }

    #[test]
    fn its_maker_may_stop_between_any_two_steps_and_takes_what_it_said_it_would() {
        for (rows, steps) in [(0, 1), (1, 1), (PIECE_ROWS, 1), (PIECE_ROWS + 1, 2), (3 * PIECE_ROWS, 3)] {
            let all = identifiers(2, rows);
            let mut making = BlindingAhead::new(&all, rng(5));
            for step in 1..=steps {
                assert_eq!(making.step(), step == steps, "step {step} of {rows} rows");
            }
            let made = making.finish().unwrap();
            let pieces = made.columns.iter().flat_map(|column| &column.pieces);
            let bytes: usize = pieces.map(|piece| piece.capacity() * ELEMENT_BYTES).sum();
            assert!(rows == 0 || bytes as u64 == BlindedAhead::bytes(rows as u64, 2), "{bytes} for {rows} rows");
        }
        assert!(matches!(BlindingAhead::new(&identifiers(1, 1), rng(6)).finish(), Err(Error::Internal(_))));
        assert_eq!(BlindedAhead::bytes(u64::MAX, 8), u64::MAX);
    }
}
