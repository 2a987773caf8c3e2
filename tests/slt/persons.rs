//! Persons and their matching in the clear, as slowly and plainly as the documentation reads: the truth that the
//! private answers are held against. Nothing here is shared with the crate.
//!
//! - Rows without any identifier belong to nobody.
//! - For each column in match order: each person so far, in content order, takes as its identifier in that column the
//!   first of its rows' that nobody holds yet; each row whose first identifier is in that column then joins the person
//!   that holds it, else founds one.
//! - Content order of persons is by founding column, then by the founding identifier's bytes.
//! - For each column in match order: persons of both sides who hold the same identifier there are a pair, unless one of
//!   them is in a pair already.

/// An identifier in the spelling that both sides agree on.
pub(super) type Identifier = Vec<u8>;

/// One person of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Person {
    /// The numbers of its rows.
    pub(super) rows: Vec<usize>,
    /// What it holds, by column.
    pub(super) holds: Vec<Option<Identifier>>,
}

/// Groups rows of identifiers into persons, in content order.
pub(super) fn persons(rows: &[Vec<Option<Identifier>>], columns: usize) -> Vec<Person> {
    let mut persons: Vec<Person> = Vec::new();
    for column in 0..columns {
        for number in 0..persons.len() {
            let mut candidates: Vec<&Identifier> =
                persons[number].rows.iter().filter_map(|row| rows[*row][column].as_ref()).collect();
            candidates.sort();
            let free = candidates.into_iter().find(|candidate| holder(&persons, column, candidate).is_none()).cloned();
            persons[number].holds[column] = free;
        }
        let mut founding: Vec<(&Identifier, usize)> = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if let (true, Some(identifier)) = (row[..column].iter().all(Option::is_none), &row[column]) {
                founding.push((identifier, number));
            }
        }
        founding.sort();
        for (identifier, row) in founding {
            match holder(&persons, column, identifier) {
                Some(number) => persons[number].rows.push(row),
                None => {
                    let mut holds = vec![None; columns];
                    holds[column] = Some(identifier.clone());
                    persons.push(Person { rows: vec![row], holds });
                }
            }
        }
    }
    persons
}

fn holder(persons: &[Person], column: usize, identifier: &Identifier) -> Option<usize> {
    persons.iter().position(|person| person.holds[column].as_ref() == Some(identifier))
}

/// The pairs of persons who are the same, by their numbers in the two tables.
pub(super) fn pairs(ours: &[Person], theirs: &[Person], columns: usize) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for column in 0..columns {
        for (our, person) in ours.iter().enumerate() {
            let Some(identifier) = &person.holds[column] else { continue };
            let Some(their) = holder(theirs, column, identifier) else { continue };
            if pairs.iter().all(|(a, b)| *a != our && *b != their) {
                pairs.push((our, their));
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<const K: usize>(rows: &[[&str; K]]) -> Vec<Person> {
        let cell = |text: &&str| Some(text.as_bytes().to_vec()).filter(|bytes| !bytes.is_empty());
        persons(&rows.iter().map(|row| row.iter().map(cell).collect()).collect::<Vec<_>>(), K)
    }

    fn shown(persons: &[Person]) -> Vec<String> {
        let name = |held: &Option<Identifier>| {
            held.as_ref().map_or("-".to_owned(), |held| String::from_utf8(held.clone()).unwrap())
        };
        persons.iter().map(|person| person.holds.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
    }

    // The examples are those of the documentation of persons.
    #[test]
    fn the_naive_rule_gives_the_persons_of_the_documentation() {
        let one = table(&[["e", "p"], ["e", ""], ["", "p"], ["", ""]]);
        assert_eq!((shown(&one), &one[0].rows), (vec!["e p".to_owned()], &vec![0, 1, 2]));
        assert_eq!(shown(&table(&[["e", "p2"], ["e", "p1"], ["", "p2"]])), ["e p1", "- p2"]);
        assert_eq!(shown(&table(&[["e2", "p"], ["e1", "p"]])), ["e1 p", "e2 -"]);
        assert_eq!(shown(&table(&[["e1", "p1"], ["e2", "p1"], ["e2", "p2"]])), ["e1 p1", "e2 p2"]);
        assert_eq!(shown(&table(&[["z", "", "x"], ["", "a", "x"]])), ["z - x", "- a -"]);
    }

    #[test]
    fn each_person_is_in_one_pair_by_its_first_column_that_matches() {
        let ours = table(&[["e1", "p1"], ["e2", "p2"], ["", "p3"]]);
        let theirs = table(&[["e1", "p2"], ["", "p1"], ["e9", "p3"]]);
        // e1 and e1 match first, so that p1 and p2 have nobody left.
        let mut found = pairs(&ours, &theirs, 2);
        found.sort_unstable();
        assert_eq!(found, [(0, 0), (2, 1)]);
        assert_eq!(shown(&theirs), ["e1 p2", "e9 p3", "- p1"]);
    }
}
