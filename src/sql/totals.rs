//! At the owner: what a question reads of its table, and what each person contributes to each word.

use std::collections::HashMap;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt16Array};
use datafusion::arrow::compute::{and, cast};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::Expr;

use super::people::{Word, person_values, person_values_by_label};
use super::predicate::parse_filter;
use super::scan::Rows;
use crate::policy::{NotAllowed, Permit, Share};
use crate::psi::prepare::{LabelChoice, PreparedTable, label_choice};
use crate::psi::{Aggregate, Error, Question, WordTerms};

/// What a question reads of a table.
pub(super) struct Wanted {
    /// Its filter and those of its words; equal texts are one.
    pub(super) predicates: Vec<Expr>,
    /// The columns that words and groups read, each once.
    pub(super) columns: Vec<String>,
    /// The question's own filter, among the predicates.
    filter: Option<usize>,
    /// The words that this side owns, in the question's order.
    words: Vec<OwnedWord>,
    /// The column of the labels, if the question has one.
    group: Option<Group>,
}

struct OwnedWord {
    word: Word,
    /// Its column, among the columns.
    column: Option<usize>,
    /// Its own filter, among the predicates.
    when: Option<usize>,
    terms: WordTerms,
}

struct Group {
    /// Among the columns.
    column: usize,
    labels: Vec<String>,
    /// How many labels one person counts in.
    labels_max: u32,
}

/// The predicates of a question, each text once.
struct Parsed<'a> {
    shared: &'a Schema,
    filter_on: &'a [String],
    texts: Vec<&'a str>,
    predicates: Vec<Expr>,
}

impl<'a> Parsed<'a> {
    /// The index of a filter, parsed if it is a new one.
    fn index(&mut self, text: Option<&'a String>) -> Result<Option<usize>, NotAllowed> {
        let Some(text) = text else { return Ok(None) };
        if let Some(known) = self.texts.iter().position(|known| known == text) {
            return Ok(Some(known));
        }
        self.predicates.push(parse_filter(text, self.shared, self.filter_on)?);
        self.texts.push(text);
        Ok(Some(self.texts.len() - 1))
    }
}

impl Wanted {
    /// Parses every filter of a question and holds it against the policy's columns: before anything is read.
    /// `shared` are the columns that the question may know of.
    ///
    /// # Errors
    /// [`NotAllowed`] for a filter that is not allowed.
    pub(super) fn of(question: &Question, permit: &Permit, shared: &Schema) -> Result<Self, NotAllowed> {
        let mut parsed = Parsed { shared, filter_on: permit.filter_on(), texts: Vec::new(), predicates: Vec::new() };
        let filter = parsed.index(question.filter.as_ref())?;
        let mut columns = Vec::new();
        let mut words = Vec::new();
        for (asked, terms) in question.aggregates.iter().zip(&permit.words) {
            let word = match &asked.aggregate {
                Aggregate::Persons => Word::Persons,
                Aggregate::Rows { .. } => Word::Rows(0),
                Aggregate::Sum { .. } => Word::Sum(0),
                Aggregate::Squares { .. } => Word::Squares(0),
                Aggregate::OwnRows { .. } | Aggregate::OwnSum { .. } => continue,
            };
            let when = parsed.index(asked.when.as_ref())?;
            let column = asked.aggregate.column().map(|name| position(&mut columns, name));
            words.push(OwnedWord { word, column, when, terms: terms.clone() });
        }
        let group = question.group_by.as_ref().map(|name| Group {
            column: position(&mut columns, name),
            labels: permit.labels.clone(),
            labels_max: permit.share.max_labels,
        });
        Ok(Wanted { predicates: parsed.predicates, columns, filter, words, group })
    }

    /// Which rows pass the question's own filter; `None`: all.
    pub(super) fn passing<'r>(&self, rows: &'r Rows) -> Option<&'r BooleanArray> {
        self.filter.and_then(|filter| rows.passing.get(filter))
    }

    /// Each word's totals by person: word by word in the question's order, and of each word label by label. CPU-bound.
    ///
    /// # Errors
    /// By types and bounds alone.
    pub(super) fn totals(&self, table: &PreparedTable, rows: &Rows) -> Result<Vec<Vec<i128>>, Error> {
        let choice = self.group.as_ref().map(|group| self.choice(group, table, rows)).transpose()?;
        let mut totals = Vec::with_capacity(self.words.len());
        for word in &self.words {
            let column = word.column.and_then(|column| rows.values.get(column));
            match &choice {
                None => {
                    let passing = self.counting(word, rows)?;
                    totals.push(person_values(table, passing.as_ref(), column, word.word, &word.terms)?);
                }
                Some(choice) => {
                    // The question's own filter is in the choice.
                    let passing = word.when.and_then(|when| rows.passing.get(when));
                    let labels = person_values_by_label(table, choice, passing, column, word.word, &word.terms)?;
                    totals.extend(labels);
                }
            }
        }
        Ok(totals)
    }

    /// The labels that each person counts in.
    fn choice(&self, group: &Group, table: &PreparedTable, rows: &Rows) -> Result<LabelChoice, Error> {
        let column = rows.values.get(group.column).ok_or_else(|| Error::internal("no column of labels"))?;
        let labels = labels_of_rows(column, &group.labels)?;
        label_choice(table, self.passing(rows), &labels, group.labels.len(), group.labels_max as usize)
            .map_err(|error| Error::Caller(error.to_string()))
    }

    /// The rows that count for a word: those that pass both filters.
    fn counting(&self, word: &OwnedWord, rows: &Rows) -> Result<Option<BooleanArray>, Error> {
        let when = word.when.and_then(|when| rows.passing.get(when));
        match (self.passing(rows), when) {
            // NULL does not pass, on either side.
            (Some(filter), Some(when)) => and(filter, when).map(Some).map_err(Error::internal),
            (one, other) => Ok(one.or(other).cloned()),
        }
    }
}

/// Of each row, which label it has; NULL and values that are not listed have none. Labels are compared as SQL shows a
/// value: 5, 2026-03-01, true. CPU-bound.
///
/// # Errors
/// By the column's type alone: one that policy refuses as well.
fn labels_of_rows(column: &ArrayRef, labels: &[String]) -> Result<UInt16Array, Error> {
    let plain = match column.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        plain => plain,
    };
    // A value that cannot be cast, such as a day beyond the calendar, is NULL: it is no label either.
    let to = |values: &ArrayRef, kind: &DataType| cast(values, kind).map_err(Error::internal);
    // A count of milliseconds prints with its time, a day as its label does.
    let days = *plain == DataType::Date64;
    let values = if days { to(&to(column, plain)?, &DataType::Date32)? } else { ArrayRef::clone(column) };
    let texts = to(&values, &DataType::LargeUtf8)?;
    // Policies list each label once, and at most some thousand.
    let known: HashMap<&str, u16> =
        labels.iter().enumerate().map(|(index, label)| (label.as_str(), index as u16)).collect();
    Ok(texts.as_string::<i64>().iter().map(|text| known.get(text?).copied()).collect())
}

/// The position of `name` among `columns`, added where it is new.
pub(super) fn position(columns: &mut Vec<String>, name: &str) -> usize {
    match columns.iter().position(|known| known == name) {
        Some(index) => index,
        None => {
            columns.push(name.to_owned());
            columns.len() - 1
        }
    }
}

/// The columns that a share names, and no others: not even by name.
pub(super) fn shared_schema(share: &Share, table: &Schema) -> SchemaRef {
    let fields: Vec<_> =
        share.shared_columns().into_iter().filter_map(|name| table.field_with_name(name).ok().cloned()).collect();
    Arc::new(Schema::new(fields))
}
