//! The hello: *offer* (requester), *answer* (responder), and the transcript hash over both.
//!
//! Each is one batch of rows (name: Utf8, value: Utf8), names in a fixed order, lists by repetition, so
//! that any Arrow implementation in any language can write and read one, and so that *every* parameter
//! of a session is bound: the transcript hash covers all pairs, length-prefixed, of both messages.
//! The requester's `confirm` carries the hash, the responder's echoes it, both compare; from it follow
//! the common dummies and the OT tweaks, and it is compared again at the release. A field that a
//! network changes on the way therefore ends the session before the first element leaves.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use sha2::{Digest, Sha512};

use crate::crypto::Domain;

use super::frame::check_schema;
use super::{Aggregate, COLUMNS_MAX, Error, FilteredRows, PeerMisbehaved, Phase, Question, SessionId, hex};

/// The version of the protocol that this crate speaks. Another version is refused, never guessed at.
pub const VERSION: &str = "datafusion-psi/1";

/// The most rows of a hello, and the most bytes of one value: far above what a query of eight
/// identifiers and dozens of aggregates needs, far below what could hurt.
const HELLO_ROWS_MAX: usize = 512;
const HELLO_VALUE_BYTES_MAX: usize = 64 * 1024;

/// The most distinct aggregates of one query: eight bytes a row each.
pub const AGGREGATES_MAX: usize = 64;

/// The schema of both hello messages.
pub fn hello_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)]))
}

/// The clip bounds of one aggregate, scaled to integers: a total of one person is in `min..=max`
/// units of 10^-`decimals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordTerms {
    /// The least total of one person.
    pub min: i128,
    /// The greatest total of one person.
    pub max: i128,
    /// Decimals of the fixed point; 0 for counts and integers.
    pub decimals: u8,
}

/// The requester's half of the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Entries of the requester's table on the wire, fillers included, dummies not.
    pub persons: u64,
    /// The least number of dummies per column (half the common ones) that the requester's policy asks for.
    pub dummies: u64,
    /// k of the OT extension: 1, 2, 4 or 8.
    pub ot_width: u8,
}

/// The responder's half of the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) session: SessionId,
    pub(crate) nonce: [u8; 32],
    pub(crate) persons: u64,
    /// The session's dummies per column and party: the larger of both parties' numbers.
    pub(crate) dummies: u64,
    pub(crate) tag_bytes: u8,
    pub(crate) normalisers: Vec<String>,
    /// Clip bounds and word width in bits, one per aggregate.
    pub(crate) words: Vec<(WordTerms, u8)>,
    pub(crate) minimum_matched: u64,
    pub(crate) filtered_rows: FilteredRows,
    pub(crate) ot_width: u8,
}

type Pairs = Vec<(&'static str, String)>;

impl Offer {
    /// The offer as its one batch.
    pub fn to_batch(&self) -> RecordBatch {
        to_batch(&self.pairs())
    }

    /// Reads an offer; strict: exactly the known fields, in their order, each in its one spelling.
    pub fn from_batch(batch: &RecordBatch) -> Result<Offer, Error> {
        let mut fields = Fields::read("offer", batch)?;
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
        let filter = fields.take_all("filter");
        if filter.len() > 1 {
            return Err(fields.wrong("filter", "occurs twice".to_owned()));
        }
        let mut aggregates = Vec::new();
        for text in fields.take_all("aggregate") {
            let aggregate: Aggregate =
                text.parse().map_err(|()| fields.wrong("aggregate", "is none that this version knows".to_owned()))?;
            if aggregates.contains(&aggregate) {
                return Err(fields.wrong("aggregate", "occurs twice".to_owned()));
            }
            aggregates.push(aggregate);
        }
        if aggregates.is_empty() || aggregates.len() > AGGREGATES_MAX {
            return Err(
                fields.wrong("aggregate", format!("{} where 1 to {AGGREGATES_MAX} are possible", aggregates.len()))
            );
        }
        let offer = Offer {
            session,
            requester,
            responder,
            nonce,
            question: Question { table, identifiers, filter: filter.into_iter().next(), aggregates },
            normalisers,
            persons: fields.parse("persons", number)?,
            dummies: fields.parse("dummies", number)?,
            ot_width: fields.parse("ot-width", ot_width)?,
        };
        fields.finish()?;
        Ok(offer)
    }

    pub(crate) fn columns(&self) -> usize {
        self.question.identifiers.len()
    }

    fn pairs(&self) -> Pairs {
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
        pairs.extend(self.question.aggregates.iter().map(|aggregate| ("aggregate", aggregate.to_string())));
        pairs.push(("persons", self.persons.to_string()));
        pairs.push(("dummies", self.dummies.to_string()));
        pairs.push(("ot-width", self.ot_width.to_string()));
        pairs
    }
}

impl Answer {
    pub(crate) fn to_batch(&self) -> RecordBatch {
        to_batch(&self.pairs())
    }

    pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Answer, Error> {
        let mut fields = Fields::read("answer", batch)?;
        fields.version()?;
        let session = fields.parse("session", SessionId::parse)?;
        let nonce = fields.parse("nonce", hex::decode::<32>)?;
        let persons = fields.parse("persons", number)?;
        let dummies = fields.parse("dummies", number)?;
        let tag_bytes = fields.parse("tag-bytes", number)?;
        let normalisers = fields.take_all("normaliser");
        let mut words = Vec::new();
        for text in fields.take_all("word") {
            words.push(word(&text).ok_or_else(|| fields.wrong("word", "is not 'BITS MIN MAX DECIMALS'".to_owned()))?);
        }
        let answer = Answer {
            session,
            nonce,
            persons,
            dummies,
            tag_bytes,
            normalisers,
            words,
            minimum_matched: fields.parse("minimum-matched", number)?,
            filtered_rows: fields.parse("filtered-rows", |text| {
                [FilteredRows::Hide, FilteredRows::Pad, FilteredRows::Reveal]
                    .into_iter()
                    .find(|rows| rows.name() == text)
            })?,
            ot_width: fields.parse("ot-width", ot_width)?,
        };
        let noise = fields.take("noise")?;
        if noise != "none" {
            return Err(fields.wrong("noise", "only 'none' is known to this version".to_owned()));
        }
        fields.finish()?;
        Ok(answer)
    }

    fn pairs(&self) -> Pairs {
        let mut pairs: Pairs = vec![
            ("version", VERSION.to_owned()),
            ("session", self.session.to_string()),
            ("nonce", hex::encode(&self.nonce)),
            ("persons", self.persons.to_string()),
            ("dummies", self.dummies.to_string()),
            ("tag-bytes", self.tag_bytes.to_string()),
        ];
        pairs.extend(self.normalisers.iter().map(|name| ("normaliser", name.clone())));
        pairs.extend(
            self.words
                .iter()
                .map(|(terms, bits)| ("word", format!("{bits} {} {} {}", terms.min, terms.max, terms.decimals))),
        );
        pairs.push(("minimum-matched", self.minimum_matched.to_string()));
        pairs.push(("filtered-rows", self.filtered_rows.name().to_owned()));
        pairs.push(("ot-width", self.ot_width.to_string()));
        pairs.push(("noise", "none".to_owned()));
        pairs
    }
}

/// The 32 bytes that both sides derive from the whole hello: SHA-512 over a domain and every pair of
/// the offer, then of the answer, each text preceded by its length and each message by its number of
/// pairs (so that no two hellos have the same input), cut to 256 bits.
pub(crate) fn transcript_hash(offer: &Offer, answer: &Answer) -> [u8; 32] {
    let mut hash = Sha512::new();
    hash.update(Domain::Transcript.bytes());
    for pairs in [offer.pairs(), answer.pairs()] {
        hash.update((pairs.len() as u64).to_le_bytes());
        for (name, value) in pairs {
            for text in [name, value.as_str()] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&hash.finalize()[..32]);
    digest
}

fn number<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|n| n.to_string() == text)
}

fn ot_width(text: &str) -> Option<u8> {
    number(text).filter(|width| matches!(width, 1 | 2 | 4 | 8))
}

fn word(text: &str) -> Option<(WordTerms, u8)> {
    let mut parts = text.split(' ');
    let bits = number::<u8>(parts.next()?).filter(|bits| matches!(bits, 64 | 128))?;
    let terms =
        WordTerms { min: number(parts.next()?)?, max: number(parts.next()?)?, decimals: number(parts.next()?)? };
    parts.next().is_none().then_some((terms, bits))
}

fn to_batch(pairs: &Pairs) -> RecordBatch {
    let names: StringArray = pairs.iter().map(|(name, _)| Some(*name)).collect();
    let values: StringArray = pairs.iter().map(|(_, value)| Some(value.as_str())).collect();
    RecordBatch::try_new(hello_schema(), vec![Arc::new(names), Arc::new(values)])
        .expect("two string columns of equal length fit the schema that names them")
}

/// A hello message that is being read, field by field, in order.
struct Fields {
    message: &'static str,
    pairs: std::iter::Peekable<std::vec::IntoIter<(String, String)>>,
}

impl Fields {
    fn read(message: &'static str, batch: &RecordBatch) -> Result<Self, Error> {
        check_schema(Phase::Hello, &hello_schema(), batch)?;
        let wrong = |reason: String| PeerMisbehaved::Hello { message, field: "(all)".to_owned(), reason };
        if batch.num_rows() > HELLO_ROWS_MAX {
            return Err(wrong(format!("{} rows, {HELLO_ROWS_MAX} are allowed", batch.num_rows())).into());
        }
        let column = |index: usize| {
            batch
                .column(index)
                .as_any()
                .downcast_ref::<StringArray>()
                .ok_or_else(|| Error::internal("a checked hello has a column of another type"))
        };
        let (names, values) = (column(0)?, column(1)?);
        let mut pairs = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            if names.value(row).len() > 32 || values.value(row).len() > HELLO_VALUE_BYTES_MAX {
                return Err(wrong(format!("a value of more than {HELLO_VALUE_BYTES_MAX} bytes")).into());
            }
            pairs.push((names.value(row).to_owned(), values.value(row).to_owned()));
        }
        Ok(Fields { message, pairs: pairs.into_iter().peekable() })
    }

    fn version(&mut self) -> Result<(), Error> {
        let version = self.take("version")?;
        if version != VERSION {
            let theirs: String = version.chars().take(40).filter(|c| !c.is_control()).collect();
            return Err(Error::Incompatible(format!(
                "the peer speaks protocol '{theirs}', this side '{VERSION}': install the same version of datafusion-psi on both sides"
            )));
        }
        Ok(())
    }

    fn take(&mut self, name: &'static str) -> Result<String, Error> {
        match self.pairs.next_if(|(found, _)| found == name) {
            Some((_, value)) => Ok(value),
            None => Err(self.wrong(name, "is missing where it was due".to_owned())),
        }
    }

    fn take_all(&mut self, name: &'static str) -> Vec<String> {
        let mut values = Vec::new();
        while let Some((_, value)) = self.pairs.next_if(|(found, _)| found == name) {
            values.push(value);
        }
        values
    }

    fn parse<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        let value = self.take(name)?;
        read(&value).ok_or_else(|| self.wrong(name, "has an impossible value".to_owned()))
    }

    fn finish(mut self) -> Result<(), Error> {
        match self.pairs.next() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().filter(|c| c.is_ascii_graphic()).collect();
                Err(PeerMisbehaved::Hello {
                    message: self.message,
                    field: name,
                    reason: "is unknown, repeated or out of order".to_owned(),
                }
                .into())
            }
        }
    }

    fn wrong(&self, field: &str, reason: String) -> Error {
        PeerMisbehaved::Hello { message: self.message, field: field.to_owned(), reason }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            session: SessionId([7; 16]),
            requester: "publisher".to_owned(),
            responder: "advertiser".to_owned(),
            nonce: [3; 32],
            question: Question {
                table: "purchases".to_owned(),
                identifiers: vec!["email".to_owned(), "phone".to_owned()],
                filter: Some("category = 'toys'".to_owned()),
                aggregates: vec![
                    Aggregate::Persons,
                    Aggregate::Sum { column: "amount (net)".to_owned() },
                    Aggregate::OwnSum { value: 0, decimals: 2 },
                ],
            },
            normalisers: vec!["email/1".to_owned(), "phone/1:US".to_owned()],
            persons: 1000,
            dummies: 25,
            ot_width: 2,
        }
    }

    fn answer() -> Answer {
        Answer {
            session: SessionId([7; 16]),
            nonce: [4; 32],
            persons: 900,
            dummies: 30,
            tag_bytes: 10,
            normalisers: vec!["email/1".to_owned(), "phone/1:US".to_owned()],
            words: vec![
                (WordTerms { min: 0, max: 1, decimals: 0 }, 64),
                (WordTerms { min: -5, max: i128::from(u64::MAX), decimals: 2 }, 128),
                (WordTerms { min: 0, max: 100, decimals: 2 }, 64),
            ],
            minimum_matched: 50,
            filtered_rows: FilteredRows::Hide,
            ot_width: 2,
        }
    }

    #[test]
    fn both_messages_are_read_back_as_written() {
        assert_eq!(Offer::from_batch(&offer().to_batch()).unwrap(), offer());
        assert_eq!(Answer::from_batch(&answer().to_batch()).unwrap(), answer());
        let bare = Offer { question: Question { filter: None, ..offer().question }, ..offer() };
        assert_eq!(Offer::from_batch(&bare.to_batch()).unwrap(), bare);
    }

    #[test]
    fn a_missing_repeated_unknown_or_misspelt_field_is_refused_by_name() {
        let pairs = offer().pairs();
        for drop in 0..pairs.len() {
            let name = pairs[drop].0;
            let mut fewer = pairs.clone();
            fewer.remove(drop);
            if !matches!(name, "filter" | "aggregate") {
                assert!(Offer::from_batch(&to_batch(&fewer)).is_err(), "without {name}");
            }
            let mut twice = pairs.clone();
            twice.insert(drop, pairs[drop].clone());
            assert!(Offer::from_batch(&to_batch(&twice)).is_err(), "{name} twice");
        }
        let mut more = pairs.clone();
        more.push(("colour", "red".to_owned()));
        let error = Offer::from_batch(&to_batch(&more)).unwrap_err().to_string();
        assert!(error.contains("colour"), "{error}");
        for (name, value) in
            [("persons", "+1"), ("persons", "01"), ("ot-width", "3"), ("nonce", "xy"), ("aggregate", "max(x)")]
        {
            let mut changed = pairs.clone();
            let field = changed.iter_mut().find(|(found, _)| *found == name).unwrap();
            field.1 = value.to_owned();
            let error = Offer::from_batch(&to_batch(&changed)).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn another_version_is_incompatible_and_not_misbehaviour() {
        let mut pairs = offer().pairs();
        pairs[0].1 = "datafusion-psi/2".to_owned();
        assert!(matches!(Offer::from_batch(&to_batch(&pairs)), Err(Error::Incompatible(_))));
    }

    #[test]
    fn every_field_of_both_messages_moves_the_transcript_hash() {
        let plain = transcript_hash(&offer(), &answer());
        let offers = [
            Offer { session: SessionId([8; 16]), ..offer() },
            Offer { requester: "x".to_owned(), ..offer() },
            Offer { responder: "x".to_owned(), ..offer() },
            Offer { nonce: [9; 32], ..offer() },
            Offer { question: Question { table: "x".to_owned(), ..offer().question }, ..offer() },
            Offer {
                question: Question { identifiers: vec!["phone".to_owned(), "email".to_owned()], ..offer().question },
                ..offer()
            },
            Offer { question: Question { filter: None, ..offer().question }, ..offer() },
            Offer { question: Question { aggregates: vec![Aggregate::Persons], ..offer().question }, ..offer() },
            Offer { normalisers: vec!["email/2".to_owned(), "phone/1:US".to_owned()], ..offer() },
            Offer { persons: 1001, ..offer() },
            Offer { dummies: 26, ..offer() },
            Offer { ot_width: 4, ..offer() },
        ];
        let answers = [
            Answer { session: SessionId([8; 16]), ..answer() },
            Answer { nonce: [9; 32], ..answer() },
            Answer { persons: 901, ..answer() },
            Answer { dummies: 31, ..answer() },
            Answer { tag_bytes: 11, ..answer() },
            Answer { normalisers: Vec::new(), ..answer() },
            Answer { words: answer().words[..2].to_vec(), ..answer() },
            Answer { minimum_matched: 0, ..answer() },
            Answer { filtered_rows: FilteredRows::Reveal, ..answer() },
            Answer { ot_width: 4, ..answer() },
        ];
        for offer in offers {
            assert_ne!(transcript_hash(&offer, &answer()), plain, "{offer:?}");
        }
        for answer in answers {
            assert_ne!(transcript_hash(&offer(), &answer), plain, "{answer:?}");
        }
        assert_eq!(transcript_hash(&offer(), &answer()), plain);
    }
}
