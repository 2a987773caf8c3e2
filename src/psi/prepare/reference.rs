//! The preparation rule transcribed from protocol.md as naively as it reads, for tests alone: maps
//! of identifiers and persons, no ranks, no order but that of the identifiers' bytes.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, LargeBinaryArray};
use proptest::prelude::*;

use super::{NO_PERSON, PreparedTable};

pub(super) type Identifier = Vec<u8>;

/// Rows of K identifiers each.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) width: usize,
    pub(super) rows: Vec<Vec<Option<Identifier>>>,
}

impl Table {
    pub(super) fn columns(&self) -> Vec<LargeBinaryArray> {
        (0..self.width).map(|k| self.rows.iter().map(|row| row[k].as_deref()).collect()).collect()
    }
}

pub(super) struct Expected {
    pub(super) entries: Vec<Vec<Option<Identifier>>>,
    pub(super) person_of_row: Vec<u32>,
    /// Per column: identifiers held; (person, identifier) pairs where another person holds it.
    pub(super) held_and_lost: Vec<(u64, u64)>,
}

/// A person's key is its founding column and identifier, whose order is the content order.
type Founding = (usize, Identifier);

#[derive(Default)]
struct Person {
    rows: BTreeSet<usize>,
    identifiers: BTreeMap<usize, Identifier>,
}

pub(super) fn prepare(table: &Table) -> Expected {
    let mut persons: BTreeMap<Founding, Person> = BTreeMap::new();
    let mut holders: Vec<BTreeMap<Identifier, Founding>> = Vec::new();
    for k in 0..table.width {
        let mut holder: BTreeMap<Identifier, Founding> = BTreeMap::new();
        // (i) Each person so far, in content order, takes the first among its rows' identifiers
        // that nobody holds yet.
        for (founding, person) in &mut persons {
            let candidates: BTreeSet<&Identifier> =
                person.rows.iter().filter_map(|row| table.rows[*row][k].as_ref()).collect();
            let free = candidates.into_iter().find(|id| !holder.contains_key(*id));
            if let Some(identifier) = free {
                holder.insert(identifier.clone(), founding.clone());
                person.identifiers.insert(k, identifier.clone());
            }
        }
        // (ii) Each row whose first identifier is in column k joins or founds.
        for (row, identifiers) in table.rows.iter().enumerate() {
            if identifiers.iter().position(Option::is_some) != Some(k) {
                continue;
            }
            let identifier = identifiers[k].clone().unwrap();
            let founding = holder.entry(identifier.clone()).or_insert_with(|| (k, identifier.clone())).clone();
            let person = persons.entry(founding).or_default();
            person.rows.insert(row);
            person.identifiers.entry(k).or_insert(identifier);
        }
        holders.push(holder);
    }

    let mut person_of_row = vec![NO_PERSON; table.rows.len()];
    for (number, person) in persons.values().enumerate() {
        for row in &person.rows {
            person_of_row[*row] = number as u32;
        }
    }
    let held_and_lost = (0..table.width)
        .map(|k| {
            let lost = persons.iter().map(|(founding, person)| {
                let own: BTreeSet<_> = person.rows.iter().filter_map(|row| table.rows[*row][k].as_ref()).collect();
                let elsewhere = |id: &&&Identifier| holders[k].get(**id).is_some_and(|holder| holder != founding);
                own.iter().filter(elsewhere).count() as u64
            });
            (holders[k].len() as u64, lost.sum())
        })
        .collect();
    Expected {
        entries: persons
            .values()
            .map(|person| (0..table.width).map(|k| person.identifiers.get(&k).cloned()).collect())
            .collect(),
        person_of_row,
        held_and_lost,
    }
}

/// A prepared table's persons in the form of [`Expected::entries`].
pub(super) fn entries(table: &PreparedTable) -> Vec<Vec<Option<Identifier>>> {
    (0..table.persons())
        .map(|person| {
            let columns = table.identifiers().iter();
            columns.map(|column| column.is_valid(person).then(|| column.value(person).to_vec())).collect()
        })
        .collect()
}

/// Small tables of one to four columns with many collisions, nulls, and identifiers that are each
/// other's beginnings.
pub(super) fn tables() -> impl Strategy<Value = Table> {
    let identifiers: Vec<Identifier> = [&b"a"[..], b"a\0", b"b", b"ab", b"c"]
        .into_iter()
        .map(<[u8]>::to_vec)
        .chain([vec![b'a'; 17], vec![b'a'; 18]])
        .collect();
    (1usize..=4, 1usize..=identifiers.len(), 0.2f64..0.95).prop_flat_map(move |(width, alphabet, present)| {
        let identifier = proptest::sample::select(identifiers[..alphabet].to_vec());
        let row = proptest::collection::vec(proptest::option::weighted(present, identifier), width);
        proptest::collection::vec(row, 0..14).prop_map(move |rows| Table { width, rows })
    })
}

/// A table and an order of its rows.
pub(super) fn permuted_tables() -> impl Strategy<Value = (Table, Vec<usize>)> {
    tables().prop_flat_map(|table| {
        let order: Vec<usize> = (0..table.rows.len()).collect();
        (Just(table), Just(order).prop_shuffle())
    })
}
