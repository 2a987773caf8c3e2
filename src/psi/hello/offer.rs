//! The requester's half of the hello.

use arrow::array::RecordBatch;

use crate::psi::{Aggregate, COLUMNS_MAX, Error, Question, SessionId, SizesTerms, hex};

use super::chain::{ChainLink, read_chain};
use super::fields::{Fields, Pairs, one_spelling, to_batch};
use super::{AGGREGATES_MAX, Receipts, VERSION, ot_width};

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
    /// Entries of the requester's table on the wire, fillers included, dummies not.
    pub persons: u64,
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
        let filter = fields.take_all("filter");
        if filter.len() > 1 {
            return Err(fields.wrong("filter", "occurs twice"));
        }
        let mut aggregates = Vec::new();
        for text in fields.take_all("aggregate") {
            let aggregate: Aggregate =
                text.parse().map_err(|()| fields.wrong("aggregate", "is none that this version knows"))?;
            if aggregates.contains(&aggregate) {
                return Err(fields.wrong("aggregate", "occurs twice"));
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
            persons: fields.parse("persons", one_spelling)?,
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
        pairs.extend(self.question.aggregates.iter().map(|aggregate| ("aggregate", aggregate.to_string())));
        pairs.push(("persons", self.persons.to_string()));
        pairs.push(("dummies", self.dummies.to_string()));
        pairs.push(("sizes", self.sizes.to_string()));
        pairs.extend(self.chain.iter().map(|link| ("chain", link.to_string())));
        pairs.push(("receipts", self.receipts.name().to_owned()));
        pairs.push(("ot-width", self.ot_width.to_string()));
        pairs
    }
}
