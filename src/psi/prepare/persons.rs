//! The grouping rule on ranks; its words are in the room's doc.

use rayon::prelude::*;

use super::rank::{NO_RANK, RankedColumn};
use super::{ColumnReport, NO_PERSON};

/// The outcome of the rule.
pub(super) struct Grouped {
    /// How many persons there are.
    pub(super) persons: u32,
    /// Per row, its person or [`NO_PERSON`].
    pub(super) person_of_row: Vec<u32>,
    /// Per column and person, the rank of the identifier that the person holds, or [`NO_RANK`].
    pub(super) held: Vec<Vec<u32>>,
    /// Per column, what was held and lost.
    pub(super) columns: Vec<ColumnReport>,
}

/// Groups rows into persons, column by column.
///
/// Invariant: persons are numbered by founding column, then by founding rank, which is their
/// content order; so ascending numbers are "in content order" of the rule.
pub(super) fn group(rows: usize, columns: &[RankedColumn]) -> Grouped {
    let mut grouped = Grouped {
        persons: 0,
        person_of_row: vec![NO_PERSON; rows],
        held: Vec::with_capacity(columns.len()),
        columns: Vec::with_capacity(columns.len()),
    };
    for column in columns {
        let mut stage =
            Stage { holder: vec![NO_PERSON; column.identifiers()], held: vec![NO_RANK; grouped.persons as usize] };
        let claims = claims(&grouped.person_of_row, &column.ranks);
        stage.take_first_free(&claims);
        grouped.persons = stage.join_or_found(&mut grouped.person_of_row, &column.ranks);
        grouped.columns.push(stage.report(&claims));
        grouped.held.push(stage.held);
    }
    // Who was founded later has no identifier in an earlier column: its rows have none there.
    for held in &mut grouped.held {
        held.resize(grouped.persons as usize, NO_RANK);
    }
    grouped
}

/// A person so far and the rank of an identifier in its rows. Its order as an integer is that of
/// persons, then that of identifiers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Claim(u64);

impl Claim {
    fn person(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn rank(self) -> u32 {
        self.0 as u32
    }
}

/// The claims of all persons so far on one column's identifiers, ascending, each once.
fn claims(person_of_row: &[u32], ranks: &[u32]) -> Vec<Claim> {
    let mut claims: Vec<Claim> = person_of_row
        .iter()
        .zip(ranks)
        .filter(|(person, rank)| **person != NO_PERSON && **rank != NO_RANK)
        .map(|(person, rank)| Claim(u64::from(*person) << 32 | u64::from(*rank)))
        .collect();
    claims.par_sort_unstable_by_key(|claim| claim.0);
    claims.dedup();
    claims
}

/// One column's turn.
struct Stage {
    /// Per rank, the person that holds it.
    holder: Vec<u32>,
    /// Per person so far, the rank that it holds.
    held: Vec<u32>,
}

impl Stage {
    /// Step 1: each person so far, in content order, takes the first identifier of its rows that
    /// nobody holds yet.
    fn take_first_free(&mut self, claims: &[Claim]) {
        for claim in claims {
            let (person, rank) = (claim.person(), claim.rank());
            let held = &mut self.held[person as usize];
            let holder = &mut self.holder[rank as usize];
            if *held == NO_RANK && *holder == NO_PERSON {
                *held = rank;
                *holder = person;
            }
        }
    }

    /// Step 2: rows of nobody yet join their identifier's holder, or found a person on it, new
    /// persons in the order of their identifiers. Returns how many persons there are then.
    fn join_or_found(&mut self, person_of_row: &mut [u32], ranks: &[u32]) -> u32 {
        let mut founds = vec![false; self.holder.len()];
        let ours = |person: u32, rank: u32| person == NO_PERSON && rank != NO_RANK;
        for (person, rank) in person_of_row.iter().zip(ranks) {
            if ours(*person, *rank) && self.holder[*rank as usize] == NO_PERSON {
                founds[*rank as usize] = true;
            }
        }
        for (rank, _) in founds.iter().enumerate().filter(|(_, founds)| **founds) {
            self.holder[rank] = self.held.len() as u32;
            self.held.push(rank as u32);
        }
        for (person, rank) in person_of_row.iter_mut().zip(ranks) {
            if ours(*person, *rank) {
                *person = self.holder[*rank as usize];
            }
        }
        self.held.len() as u32
    }

    /// Counts what was lost. Rows of step 2 lose nothing here: their person holds their identifier.
    fn report(&self, claims: &[Claim]) -> ColumnReport {
        let identifiers = self.holder.len() as u64;
        let held = self.holder.iter().filter(|h| **h != NO_PERSON).count() as u64;
        let lost_to_another = claims
            .iter()
            .filter(|claim| {
                let holder = self.holder[claim.rank() as usize];
                holder != NO_PERSON && holder != claim.person()
            })
            .count() as u64;
        ColumnReport { identifiers, held, lost_second: identifiers - held, lost_to_another }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, LargeBinaryArray};
    use proptest::prelude::*;

    use super::super::reference::{self, Table};
    use super::super::{COLUMNS_MAX, NO_PERSON, PrepareError, PreparedTable, prepare};

    fn columns<const K: usize>(rows: &[[Option<&str>; K]]) -> Vec<LargeBinaryArray> {
        (0..K).map(|column| rows.iter().map(|row| row[column].map(str::as_bytes)).collect()).collect()
    }

    fn prepared<const K: usize>(rows: &[[Option<&str>; K]]) -> PreparedTable {
        prepare(columns(rows)).unwrap()
    }

    /// The persons' identifiers as text, `–` for none.
    fn entries(table: &PreparedTable) -> Vec<String> {
        (0..table.persons())
            .map(|person| {
                let parts: Vec<&str> = table
                    .identifiers()
                    .iter()
                    .map(|column| match column.is_valid(person) {
                        true => std::str::from_utf8(column.value(person)).unwrap(),
                        false => "–",
                    })
                    .collect();
                parts.join(" ")
            })
            .collect()
    }

    #[test]
    fn rows_that_share_an_identifier_are_one_person() {
        let table = prepared(&[[Some("e"), Some("p")], [Some("e"), None], [None, Some("p")]]);
        assert_eq!(entries(&table), ["e p"]);
        assert_eq!(table.person_of_row(), [0, 0, 0]);
        assert!(table.report().columns.iter().all(|c| c.lost_second == 0 && c.lost_to_another == 0));
    }

    #[test]
    fn a_row_without_identifiers_belongs_to_nobody() {
        let table = prepared(&[[None, None], [Some("e"), None], [None, None]]);
        assert_eq!(table.person_of_row(), [NO_PERSON, 0, NO_PERSON]);
        assert_eq!(table.report().dropped_rows, 2);
        assert_eq!((table.report().rows, table.report().persons), (3, 1));
    }

    #[test]
    fn a_second_identifier_of_a_person_is_lost_and_counted() {
        let table = prepared(&[[Some("e"), Some("p2")], [Some("e"), Some("p1")]]);
        assert_eq!(entries(&table), ["e p1"]);
        let phones = table.report().columns[1];
        assert_eq!((phones.identifiers, phones.held), (2, 1));
        assert_eq!((phones.lost_second, phones.lost_to_another), (1, 0));
    }

    #[test]
    fn a_second_identifier_founds_a_person_where_a_row_has_nothing_else() {
        let table = prepared(&[[Some("e"), Some("p1")], [Some("e"), Some("p2")], [None, Some("p2")]]);
        assert_eq!(entries(&table), ["e p1", "– p2"]);
        assert_eq!(table.person_of_row(), [0, 0, 1]);
        let phones = table.report().columns[1];
        assert_eq!((phones.lost_second, phones.lost_to_another), (0, 1));
    }

    #[test]
    fn an_identifier_of_two_persons_stays_with_the_first_by_content() {
        let table = prepared(&[[Some("e2"), Some("p")], [Some("e1"), Some("p")]]);
        assert_eq!(entries(&table), ["e1 p", "e2 –"]);
        assert_eq!(table.person_of_row(), [1, 0]);
        assert_eq!(table.report().columns[1].lost_to_another, 1);
    }

    #[test]
    fn who_comes_second_takes_another_of_its_identifiers() {
        let table = prepared(&[[Some("e1"), Some("p1")], [Some("e2"), Some("p1")], [Some("e2"), Some("p2")]]);
        assert_eq!(entries(&table), ["e1 p1", "e2 p2"]);
    }

    #[test]
    fn persons_founded_later_come_later_whatever_their_bytes() {
        let table = prepared(&[[Some("z"), None, Some("x")], [None, Some("a"), Some("x")]]);
        assert_eq!(entries(&table), ["z – x", "– a –"]);
    }

    #[test]
    fn a_later_column_alone_does_not_join_persons() {
        // A plain join would see one chain e1 – p – e2.
        let table = prepared(&[[Some("e1"), Some("p")], [Some("e2"), Some("p")], [None, Some("p")]]);
        assert_eq!(table.person_of_row(), [0, 1, 0]);
    }

    #[test]
    fn the_same_bytes_in_two_columns_are_two_identifiers() {
        let table = prepared(&[[Some("x"), None], [None, Some("x")]]);
        assert_eq!(entries(&table), ["x –", "– x"]);
    }

    #[test]
    fn shapes_that_are_no_table_are_refused() {
        assert!(matches!(prepare(vec![]), Err(PrepareError::ColumnCount { found: 0 })));
        let nine = vec![LargeBinaryArray::new_null(1); COLUMNS_MAX + 1];
        assert!(matches!(prepare(nine), Err(PrepareError::ColumnCount { found: 9 })));
        let unequal = vec![LargeBinaryArray::new_null(2), LargeBinaryArray::new_null(1)];
        let error = PrepareError::ColumnLength { column: 1, found: 1, expected: 2 };
        assert_eq!(prepare(unequal).unwrap_err(), error);
        let eight = vec![LargeBinaryArray::new_null(1); COLUMNS_MAX];
        assert_eq!(prepare(eight).unwrap().persons(), 0);
        assert_eq!(prepare(vec![LargeBinaryArray::new_null(0)]).unwrap().persons(), 0);
    }

    #[test]
    fn debug_shows_no_identifier() {
        let shown = format!("{:?}", prepared(&[[Some("secret")]]));
        assert!(!shown.contains("secret") && shown.contains("persons: 1"), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_rule_on_ranks_is_the_rule_as_written(table in reference::tables()) {
            let expected = reference::prepare(&table);
            let found = prepare(table.columns()).unwrap();
            prop_assert_eq!(reference::entries(&found), expected.entries);
            prop_assert_eq!(found.person_of_row(), expected.person_of_row);
            for (k, (held, lost)) in expected.held_and_lost.iter().enumerate() {
                let report = found.report().columns[k];
                prop_assert_eq!((report.held, report.lost_to_another), (*held, *lost));
                prop_assert_eq!(report.identifiers - report.held, report.lost_second);
            }
        }

        #[test]
        fn arrival_order_has_no_say((table, order) in reference::permuted_tables()) {
            let first = prepare(table.columns()).unwrap();
            let permuted = Table { rows: order.iter().map(|row| table.rows[*row].clone()).collect(), ..table };
            let second = prepare(permuted.columns()).unwrap();
            prop_assert_eq!(reference::entries(&first), reference::entries(&second));
            prop_assert_eq!(first.report(), second.report());
            for (to, from) in order.iter().enumerate() {
                prop_assert_eq!(second.person_of_row()[to], first.person_of_row()[*from]);
            }
        }

        #[test]
        fn no_identifier_is_held_twice_and_none_is_another_person_s(table in reference::tables()) {
            let found = prepare(table.columns()).unwrap();
            for (k, entry) in found.identifiers().iter().enumerate() {
                let mut seen = std::collections::BTreeSet::new();
                for person in (0..entry.len()).filter(|person| entry.is_valid(*person)) {
                    prop_assert!(seen.insert(entry.value(person)));
                    let own = (0..table.rows.len()).any(|row| {
                        found.person_of_row()[row] == person as u32
                            && table.rows[row][k].as_deref() == Some(entry.value(person))
                    });
                    prop_assert!(own);
                }
            }
        }
    }
}
