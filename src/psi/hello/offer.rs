//! The requester's half of the hello.

use arrow::array::RecordBatch;

use crate::psi::{Aggregate, AskedWord, COLUMNS_MAX, Error, Question, SessionId, SizesTerms, hex};

use super::chain::{ChainLink, read_chain};
use super::fields::{Fields, Pairs, one_spelling, to_batch};
use super::{AGGREGATES_MAX, PARTS_MAX, Receipts, VERSION, ot_width};

/// The requester's half of the hello.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The session's name.
    pub session: SessionId,
    /// The asking party.
    pub requester: String,
    /// The party that is asked, as the requester names it.
    pub responder: String,
    /// 32 random bytes, so that no two transcripts are equal.
    pub nonce: [u8; 32],
    /// The part of the query that concerns the responder.
    pub question: Question,
    /// The versioned normaliser of each match column.
    pub normalisers: Vec<String>,
    /// Entries of each part of the requester's table on the wire, in the parts' order, fillers included, dummies not: 1 to
    /// [`PARTS_MAX`] parts, and one where the requester does not group by values of its own.
    pub persons: Vec<u64>,
    /// The least number of dummies per column (half the common ones) that the requester's policy asks for.
    pub dummies: u64,
    /// The requester's own terms for sizes, from which its number of dummies follows.
    pub sizes: SizesTerms,
    /// The newest links of the requester's chain about the responder, newest first.
    pub chain: Vec<ChainLink>,
    /// Whether the release is signed.
    pub receipts: Receipts,
    /// k of the OT extension: 1, 2, 4 or 8.
    pub ot_width: u8,
}

impl Offer {
    /// The offer as its one batch.
    pub fn to_batch(&self) -> RecordBatch {
        to_batch(&self.pairs())
    }

    /// Reads an offer; strict: exactly the known fields, in their order, each in its one spelling.
    pub fn from_batch(batch: &RecordBatch) -> Result<Offer, Error> {
        Self::read(Fields::of_batch("offer", batch)?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Offer, Error> {
        fields.version()?;
        let session = fields.parse("session", SessionId::parse)?;
        let requester = fields.take("requester")?;
        let responder = fields.take("responder")?;
        let nonce = fields.parse("nonce", hex::decode::<32>)?;
        let table = fields.take("table")?;
        let identifiers = fields.take_all("identifier");
        let normalisers = fields.take_all("normaliser");
        if identifiers.is_empty() || identifiers.len() > COLUMNS_MAX {
            return Err(
                fields.wrong("identifier", format!("{} where 1 to {COLUMNS_MAX} are possible", identifiers.len()))
            );
        }
        if normalisers.len() != identifiers.len() {
            return Err(
                fields.wrong("normaliser", format!("{} for {} identifiers", normalisers.len(), identifiers.len()))
            );
        }
        let filter = at_most_one(&mut fields, "filter")?;
        let aggregates = read_words(&mut fields)?;
        let group_by = at_most_one(&mut fields, "group-by")?;
        let own_groups = fields.parse("own-groups", yes_or_no)?;
        let persons = read_persons(&mut fields, own_groups)?;
        let offer = Offer {
            session,
            requester,
            responder,
            nonce,
            question: Question { table, identifiers, filter, aggregates, group_by, own_groups },
            normalisers,
            persons,
            dummies: fields.parse("dummies", one_spelling)?,
            sizes: fields.parse("sizes", |text| text.parse().ok())?,
            chain: read_chain(&mut fields)?,
            receipts: fields.parse("receipts", Receipts::from_name)?,
            ot_width: fields.parse("ot-width", ot_width)?,
        };
        fields.finish()?;
        Ok(offer)
    }

    pub(crate) fn columns(&self) -> usize {
        self.question.identifiers.len()
    }

    /// Entries of the requester's whole table on the wire, dummies not.
    pub fn persons_total(&self) -> u64 {
        self.persons.iter().fold(0, |sum, persons| sum.saturating_add(*persons))
    }

    pub(crate) fn pairs(&self) -> Pairs {
        let mut pairs: Pairs = vec![
            ("version", VERSION.to_owned()),
            ("session", self.session.to_string()),
            ("requester", self.requester.clone()),
            ("responder", self.responder.clone()),
            ("nonce", hex::encode(&self.nonce)),
            ("table", self.question.table.clone()),
        ];
        pairs.extend(self.question.identifiers.iter().map(|name| ("identifier", name.clone())));
        pairs.extend(self.normalisers.iter().map(|name| ("normaliser", name.clone())));
        pairs.extend(self.question.filter.iter().map(|text| ("filter", text.clone())));
        let words = &self.question.aggregates;
        pairs.extend(words.iter().map(|word| ("aggregate", word.aggregate.to_string())));
        let filters = words.iter().enumerate().filter_map(|(index, word)| Some((index, word.when.as_deref()?)));
        pairs.extend(filters.map(|(index, text)| ("when", format!("{index} {text}"))));
        pairs.extend(self.question.group_by.iter().map(|column| ("group-by", column.clone())));
        pairs.push(("own-groups", if self.question.own_groups { "yes" } else { "no" }.to_owned()));
        pairs.extend(self.persons.iter().map(|persons| ("persons", persons.to_string())));
        pairs.push(("dummies", self.dummies.to_string()));
        pairs.push(("sizes", self.sizes.to_string()));
        pairs.extend(self.chain.iter().map(|link| ("chain", link.to_string())));
        pairs.push(("receipts", self.receipts.name().to_owned()));
        pairs.push(("ot-width", self.ot_width.to_string()));
        pairs
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn at_most_one(fields: &mut Fields, name: &'static str) -> Result<Option<String>, Error> {
    let mut found = fields.take_all(name).into_iter();
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        _ => Err(fields.wrong(name, "occurs twice")),
    }
}

/// The aggregates, then the filters of those that have one, `INDEX TEXT` each, by ascending index.
fn read_words(fields: &mut Fields) -> Result<Vec<AskedWord>, Error> {
    let mut words: Vec<AskedWord> = Vec::new();
    for text in fields.take_all("aggregate") {
        let aggregate: Aggregate =
            text.parse().map_err(|()| fields.wrong("aggregate", "is none that this version knows"))?;
        words.push(aggregate.into());
    }
    if words.is_empty() || words.len() > AGGREGATES_MAX {
        return Err(fields.wrong("aggregate", format!("{} where 1 to {AGGREGATES_MAX} are possible", words.len())));
    }
    let mut next = 0;
    for text in fields.take_all("when") {
        let read = text.split_once(' ').and_then(|(index, filter)| Some((one_spelling::<usize>(index)?, filter)));
        let Some((index, filter)) = read.filter(|(index, _)| *index < words.len()) else {
            return Err(fields.wrong("when", "is not 'INDEX TEXT' with the index of an aggregate"));
        };
        if index < next {
            return Err(fields.wrong("when", "is not in the order of the aggregates, or there twice"));
        }
        if words[index].is_own() {
            return Err(fields.wrong("when", "is about a value of the requester's own"));
        }
        words[index].when = Some(filter.to_owned());
        next = index + 1;
    }
    if (1..words.len()).any(|at| words[..at].contains(&words[at])) {
        return Err(fields.wrong("aggregate", "occurs twice"));
    }
    Ok(words)
}

/// One count per part.
fn read_persons(fields: &mut Fields, own_groups: bool) -> Result<Vec<u64>, Error> {
    let counts: Option<Vec<u64>> = fields.take_all("persons").iter().map(|text| one_spelling(text)).collect();
    let counts = counts.ok_or_else(|| fields.wrong("persons", "has an impossible value"))?;
    let most = if own_groups { PARTS_MAX } else { 1 };
    if counts.is_empty() || counts.len() > most {
        return Err(fields.wrong("persons", format!("{} parts where 1 to {most} are possible", counts.len())));
    }
    Ok(counts)
}
