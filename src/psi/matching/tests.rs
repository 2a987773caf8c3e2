//! Peers that deviate in the matching, each against an honest machine, and what it gains.
//!
//! The deviating side is written by hand with the verbs of the curve; its table has no secret order, so row i is row i.

use std::collections::HashSet;

use arrow::array::{FixedSizeBinaryArray, LargeBinaryArray};
use rand_core::{Rng, SeedableRng};

use crate::crypto::{ElementColumn, HashDomain, Source, evaluate_tags, hash_and_blind};

use super::super::Entries;
use super::*;

const TRANSCRIPT: [u8; 32] = [9; 32];

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// An honest side whose entry i is called `names(k, i)` in column k (from 0); null without a name.
fn honest(
    role: Role,
    columns: usize,
    rows: usize,
    names: impl Fn(usize, usize) -> Option<String>,
    peer_rows: usize,
    seed: u64,
) -> Matching {
    let identifiers = (0..columns).map(|k| (0..rows).map(|i| names(k, i)).collect::<LargeBinaryArray>()).collect();
    let entries = Entries::whole(identifiers, Vec::new(), 0);
    let mut rng = rng(seed);
    let table = WireTable::new(entries, 1, 0, &TRANSCRIPT, &mut rng);
    let requester_rows = if role == Role::Requester { rows } else { peer_rows };
    let part_rows = PartRows::new(std::iter::once(requester_rows as u64));
    Matching::new(role, table, peer_rows as u64, part_rows, None, rng).unwrap()
}

/// All that the machine sends now, its columns one by one.
fn sent(machine: &mut Matching) -> Vec<Vec<Vec<u8>>> {
    let mut columns = vec![Vec::new(); machine.schemas().0.fields().len()];
    while let Some(Output::Batch(batch)) = machine.poll_outputs(1).unwrap().pop() {
        for (values, index) in columns.iter_mut().zip(0..) {
            values.extend(binary_column(&batch, index).unwrap().iter().map(|value| value.unwrap().to_vec()));
        }
    }
    columns
}

fn elements(values: &[Vec<u8>]) -> ElementColumn {
    ElementColumn::from_bytes(values.concat()).unwrap()
}

fn give(machine: &mut Matching, columns: &[Vec<u8>]) -> Result<(), Error> {
    let schema = machine.schemas().1;
    let arrays = columns.iter().zip(schema.fields()).map(|(bytes, field)| {
        let arrow::datatypes::DataType::FixedSizeBinary(width) = field.data_type() else { panic!("{field}") };
        Arc::new(FixedSizeBinaryArray::new(*width, bytes.clone().into(), None)) as ArrayRef
    });
    machine.receive_all(&[RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap()])?;
    machine.end_input()
}

fn tags(elements: &ElementColumn, bytes: usize) -> Vec<Vec<u8>> {
    TagColumn::from_elements(elements, bytes).tags().map(<[u8]>::to_vec).collect()
}

fn person(i: usize) -> Option<String> {
    Some(format!("person-{i}"))
}

/// People that the deviating side knows, each with a planted row: the person's element times a secret factor of its
/// own. In the last column; the columns before it are null, so that all rows are still unmatched there.
struct Planter {
    first: SecretScalar,
    last: SecretScalar,
    factors: Vec<SecretScalar>,
    /// Blinded columns, persons first, planted rows behind them.
    columns: Vec<ElementColumn>,
}

const PERSONS: usize = 10;
/// Of the honest side, half of them persons that the planter knows.
const ROWS: usize = 12;
const COMMON: usize = 5;

impl Planter {
    fn new(columns: usize, rng: &mut ChaCha20Rng) -> Self {
        let first = SecretScalar::random(rng);
        let last = if columns == 1 { None } else { Some(SecretScalar::random(rng)) };
        let factors: Vec<SecretScalar> = (0..PERSONS).map(|_| SecretScalar::random(rng)).collect();
        let mut blinded: Vec<ElementColumn> = (1..columns)
            .map(|k| {
                let domain = HashDomain::new(k as u8 - 1, &TRANSCRIPT);
                hash_and_blind(&domain, 2 * PERSONS, |_| Source::Null, &first, rng)
            })
            .collect();
        let names: Vec<String> = (0..PERSONS).filter_map(person).collect();
        let domain = HashDomain::new(columns as u8 - 1, &TRANSCRIPT);
        let real = hash_and_blind(&domain, PERSONS, |i| Source::Identifier(names[i].as_bytes()), &first, rng);
        let planted = factors.iter().zip(0..).map(|(r, i)| evaluate(&real.slice(i, 1), r).unwrap());
        let planted = ElementColumn::concat(planted.collect());
        blinded.push(ElementColumn::concat(vec![real, planted]));
        // The only column's scalar is the first one.
        let one = SecretScalar::random(rng);
        let last = last.unwrap_or_else(|| first.quotient(&one.quotient(&one)));
        Planter { first, last, factors, columns: blinded }
    }

    fn column(&self) -> &ElementColumn {
        self.columns.last().unwrap()
    }

    /// Persons that show by a planted row among `tags`: for each position of the peer's, whose element this side holds
    /// as `held`, the person whose factor turns it into one of these tags.
    fn linked(&self, held: &ElementColumn, tags_seen: &HashSet<Vec<u8>>, tag_bytes: usize) -> Vec<(usize, usize)> {
        let mut links = Vec::new();
        for (person, factor) in self.factors.iter().enumerate() {
            let turned = evaluate(held, factor).unwrap();
            for (position, tag) in tags(&turned, tag_bytes).into_iter().enumerate() {
                if tags_seen.contains(&tag) {
                    links.push((person, position));
                }
            }
        }
        links
    }
}

/// A deviating requester in the last of `columns`, against a responder that has persons `has` and others.
struct AgainstResponder {
    planter: Planter,
    responder: Matching,
    /// The responder's last column, evaluated: what this side holds of each unmatched position.
    held: ElementColumn,
    /// Padded elements of this side's rows (from the second column on).
    padded: ElementColumn,
    tag_bytes: usize,
}

impl AgainstResponder {
    fn new(columns: usize, has: std::ops::Range<usize>, seed: u64) -> Self {
        let mut rng = rng(!seed);
        let planter = Planter::new(columns, &mut rng);
        let name = |k: usize, i: usize| {
            if k + 1 < columns { None } else { has.clone().nth(i).map_or(Some(format!("other-{i}")), person) }
        };
        let mut responder = honest(Role::Responder, columns, ROWS, name, 2 * PERSONS, seed);
        let tag_bytes = responder.tag_bytes;
        let theirs = sent(&mut responder);
        let blinded: Vec<Vec<u8>> = planter.columns.iter().map(|column| column.as_bytes().to_vec()).collect();
        give(&mut responder, &blinded).unwrap();
        responder.advance().unwrap();
        let held = evaluate(&elements(theirs.last().unwrap()), &planter.last).unwrap();
        let mut padded = ElementColumn::concat(Vec::new());
        if columns > 1 {
            let tags = evaluate_tags(&elements(&theirs[0]), &planter.first, tag_bytes).unwrap();
            let mut asked: Vec<&[u8]> = tags.tags().collect();
            asked.sort();
            give(&mut responder, &[asked.concat()]).unwrap();
            assert_eq!(sent(&mut responder)[0].concat(), [0; ROWS], "nobody matches by the column of nulls");
            responder.advance().unwrap();
            padded = elements(&sent(&mut responder)[0]);
        }
        AgainstResponder { planter, responder, held, padded, tag_bytes }
    }

    /// Asks about `tags`, one per position, and answers `replies`; marks by position.
    fn marks(&mut self, tags: &[Vec<u8>], replies: &ElementColumn) -> Result<Vec<bool>, Error> {
        // Column 1 wants them sorted; so they may be in any column.
        let mut order: Vec<usize> = (0..tags.len()).collect();
        order.sort_by_key(|&position| &tags[position]);
        give(&mut self.responder, &[order.iter().flat_map(|&position| tags[position].clone()).collect()])?;
        if self.planter.columns.len() > 1 {
            self.responder.advance()?;
            give(&mut self.responder, &[replies.as_bytes().to_vec()])?;
        }
        let mut marks = vec![false; tags.len()];
        for (position, mark) in order.into_iter().zip(&sent(&mut self.responder)[0]) {
            marks[position] = mark == &[1];
        }
        Ok(marks)
    }

    fn honest_tags(&self) -> Vec<Vec<u8>> {
        tags(&self.held, self.tag_bytes)
    }

    fn honest_replies(&self) -> ElementColumn {
        evaluate(&self.padded, &self.planter.last.quotient(&self.planter.first)).unwrap()
    }

    /// What the protocol would send back if the requester were shown the tags of its own rows, in whatever order.
    fn tags_of_own_rows(&self) -> HashSet<Vec<u8>> {
        let last = self.planter.last.quotient(&self.planter.first);
        let evaluated = evaluate(&evaluate(self.planter.column(), &last).unwrap(), &self.responder.scalars[0]).unwrap();
        tags(&evaluated, self.tag_bytes).into_iter().collect()
    }
}

#[test]
fn a_requesters_related_elements_link_by_tags_of_its_own_rows_and_not_by_marks() {
    for columns in [1, 2] {
        let mut attack = AgainstResponder::new(columns, 0..COMMON, 11);
        // Before: the unordered set of its own tags is enough to link every person that matched, and no other.
        let links = attack.planter.linked(&attack.held, &attack.tags_of_own_rows(), attack.tag_bytes);
        let people: Vec<usize> = links.iter().map(|(person, _)| *person).collect();
        assert_eq!(people, [0, 1, 2, 3, 4], "{columns} columns");

        // Now: what it is shown are the marks of tags that it has computed itself.
        let (asked, replies) = (attack.honest_tags(), attack.honest_replies());
        let marks = attack.marks(&asked, &replies).unwrap();
        let marked: HashSet<Vec<u8>> =
            asked.into_iter().zip(&marks).filter(|(_, mark)| **mark).map(|(tag, _)| tag).collect();
        assert_eq!(marked.len(), COMMON);
        assert!(attack.planter.linked(&attack.held, &marked, attack.tag_bytes).is_empty());
        // They are the right ones: where the links were.
        let positions: HashSet<usize> = links.into_iter().map(|(_, position)| position).collect();
        assert!(marks.iter().enumerate().all(|(position, mark)| positions.contains(&position) == *mark));
    }
}

#[test]
fn a_requester_sees_as_much_whichever_of_its_persons_matched() {
    // Five of its persons, or five others: as many marks, and the same chance for every position.
    for columns in [1, 2] {
        let mut seen = [[0u32; ROWS]; 2];
        for seed in 0..120 {
            for (world, has) in [0..COMMON, COMMON..2 * COMMON].into_iter().enumerate() {
                let mut attack = AgainstResponder::new(columns, has, 1000 + seed);
                let (asked, replies) = (attack.honest_tags(), attack.honest_replies());
                let marks = attack.marks(&asked, &replies).unwrap();
                assert_eq!(marks.iter().filter(|mark| **mark).count(), COMMON);
                for (count, mark) in seen[world].iter_mut().zip(marks) {
                    *count += u32::from(mark);
                }
            }
        }
        // 120 draws of probability 5/12: a mean of 50, a deviation of 5.4; five of them, two-sided, over 24 counts
        // have a chance of 1e-5.
        assert!(seen.iter().flatten().all(|count| (23..=77).contains(count)), "{seen:?}");
    }
}

#[test]
fn padded_elements_show_no_relation_between_planted_rows() {
    let attack = AgainstResponder::new(2, 0..COMMON, 12);
    let padded: HashSet<&[u8; 32]> = attack.padded.elements().iter().collect();
    assert_eq!(padded.len(), 2 * PERSONS);
    for factor in &attack.planter.factors {
        let turned = evaluate(&attack.padded, factor).unwrap();
        assert!(turned.elements().iter().all(|element| !padded.contains(element)));
        let column = evaluate(attack.planter.column(), factor).unwrap();
        let planted: HashSet<&[u8; 32]> = attack.planter.column().elements().iter().collect();
        assert!(column.elements().iter().any(|element| planted.contains(element)), "the factors do relate its own");
    }
}

#[test]
fn asking_about_one_planted_row_is_asking_about_nobody_else() {
    for columns in [1, 2] {
        for (has, found) in [(0..COMMON, 1), (COMMON..2 * COMMON, 0)] {
            let mut attack = AgainstResponder::new(columns, has, 13);
            let about_first = tags(&evaluate(&attack.held, &attack.planter.factors[0]).unwrap(), attack.tag_bytes);
            let replies = attack.honest_replies();
            let marks = attack.marks(&about_first, &replies).unwrap();
            assert_eq!(marks.iter().filter(|mark| **mark).count(), found);
        }
    }
}

#[test]
fn asking_about_many_planted_rows_finds_no_more_than_one_in_the_mean() {
    // Every position asked about a planted row of its own: each guess is right with probability 1/12.
    let (runs, mut found) = (150, 0);
    for seed in 0..runs {
        let mut attack = AgainstResponder::new(1, 0..COMMON, 3000 + seed);
        let mut order = rng(seed);
        let turned: Vec<Vec<Vec<u8>>> = (attack.planter.factors.iter())
            .map(|factor| tags(&evaluate(&attack.held, factor).unwrap(), attack.tag_bytes))
            .collect();
        let asked: Vec<Vec<u8>> =
            (0..ROWS).map(|position| turned[order.next_u64() as usize % PERSONS][position].clone()).collect();
        let replies = attack.honest_replies();
        found += attack.marks(&asked, &replies).unwrap().iter().filter(|mark| **mark).count();
    }
    // 5 matched positions, asked about the right one of 10: 0.5 in the mean, 75 ± 8.2 in 150 runs.
    assert!((30..=120).contains(&found), "{found} found in {runs} runs");
}

#[test]
fn another_scalar_or_one_for_each_row_costs_the_requester_its_matches() {
    let replies = |attack: &AgainstResponder, wrong: &dyn Fn(usize) -> bool| {
        let mut rng = rng(14);
        let right = attack.honest_replies();
        let rows = (0..right.len()).map(|row| {
            let reply = right.slice(row, 1);
            if wrong(row) { evaluate(&reply, &SecretScalar::random(&mut rng)).unwrap() } else { reply }
        });
        ElementColumn::concat(rows.collect())
    };
    let found = |wrong: &dyn Fn(usize) -> bool| {
        let mut attack = AgainstResponder::new(2, 0..COMMON, 15);
        let (asked, replies) = (attack.honest_tags(), replies(&attack, wrong));
        attack.marks(&asked, &replies).unwrap().iter().filter(|mark| **mark).count()
    };
    assert_eq!(found(&|_| false), COMMON);
    assert_eq!(found(&|_| true), 0);
    assert!(found(&|row| row % 2 == 0) < COMMON);
}

#[test]
fn replies_that_make_two_rows_equal_end_the_session() {
    // Person 0's row times its factor is its planted row, wherever the two stand: a half of the rows times each factor
    // meets that sometimes. The order of the padded elements is the responder's secret.
    let mut ended = 0;
    for seed in 0..20 {
        let mut attack = AgainstResponder::new(2, 0..COMMON, 100 + seed);
        let right = attack.honest_replies();
        let bent = (0..right.len()).map(|row| {
            let reply = right.slice(row, 1);
            if row % 2 == 0 { evaluate(&reply, &attack.planter.factors[0]).unwrap() } else { reply }
        });
        let bent = ElementColumn::concat(bent.collect());
        let asked = attack.honest_tags();
        match attack.marks(&asked, &bent) {
            Ok(_) => {}
            Err(Error::Peer(PeerMisbehaved::RepeatedElement { phase: Phase::Replies(2), column: 2 })) => ended += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((1..20).contains(&ended), "{ended} of 20");
}

#[test]
fn a_responders_related_elements_still_link_by_the_tags_that_it_is_asked_for() {
    // What is not prevented (module doc): the one who sees tags of its own rows finds planted ones among them.
    let mut rng = rng(16);
    let planter = Planter::new(1, &mut rng);
    let name = |_: usize, i: usize| if i < COMMON { person(i) } else { Some(format!("other-{i}")) };
    let mut requester = honest(Role::Requester, 1, ROWS, name, 2 * PERSONS, 17);
    let tag_bytes = requester.tag_bytes;
    let theirs = sent(&mut requester);
    give(&mut requester, &[planter.column().as_bytes().to_vec()]).unwrap();
    requester.advance().unwrap();
    let asked: HashSet<Vec<u8>> = sent(&mut requester)[0].iter().cloned().collect();
    let held = evaluate(&elements(&theirs[0]), &planter.first).unwrap();
    let people: Vec<usize> = planter.linked(&held, &asked, tag_bytes).iter().map(|(person, _)| *person).collect();
    assert_eq!(people, [0, 1, 2, 3, 4]);
}

#[test]
fn no_mark_leaves_before_the_last_question() {
    for columns in [1, 2] {
        let mut attack = AgainstResponder::new(columns, 0..COMMON, 18);
        let mut asked = attack.honest_tags();
        asked.sort();
        if columns == 2 {
            give(&mut attack.responder, &[asked.concat()]).unwrap();
            attack.responder.advance().unwrap();
        }
        assert!(matches!(attack.responder.poll_outputs(4).unwrap()[..], [Output::Wait]));
        let rest = if columns == 2 { attack.honest_replies().as_bytes().to_vec() } else { asked.concat() };
        give(&mut attack.responder, &[rest]).unwrap();
        assert!(matches!(attack.responder.poll_outputs(4).unwrap()[..], [Output::Batch(_), Output::Done]));
    }
}
