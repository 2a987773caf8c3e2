//! The responder's half of the hello.

use arrow::array::RecordBatch;

use crate::dp::QueryOutputs;
use crate::psi::{Error, FilteredRows, SessionId, SizesTerms, hex};

use super::chain::{ChainLink, read_chain};
use super::fields::{Fields, Pairs, one_spelling, to_batch};
use super::{LABELS_MAX, Receipts, VERSION, WordTerms, ot_width};

/// The responder's half of the hello.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The session's name.
    pub session: SessionId,
    /// 32 random bytes, so that no two transcripts are equal.
    pub nonce: [u8; 32],
    /// Entries of the responder's table on the wire, fillers included, dummies not.
    pub persons: u64,
    /// The session's dummies per column and party: the larger of both parties' numbers.
    pub dummies: u64,
    /// Bytes of a tag, which follow from the counts.
    pub tag_bytes: u8,
    /// The versioned normaliser of each match column.
    pub normalisers: Vec<String>,
    /// Per aggregate: clip bounds, noise, and the word's width in bits, which follows from them and the counts.
    pub words: Vec<(WordTerms, u8)>,
    /// The labels of the question's `group_by` column, in the order of the cells: those of the policy, never of the data.
    /// None where the question has no such column.
    pub labels: Vec<String>,
    /// The least noisy number of matched persons; 0 switches the rule off.
    pub minimum_matched: u64,
    /// What the filter did to the announced length.
    pub filtered_rows: FilteredRows,
    /// The share's terms for sizes.
    pub sizes: SizesTerms,
    /// What the share's terms let one query use for its outputs.
    pub outputs: QueryOutputs,
    /// The newest links of the responder's chain about the requester, newest first.
    pub chain: Vec<ChainLink>,
    /// Whether the release is signed: as the offer says.
    pub receipts: Receipts,
    /// k of the OT extension: as the offer says.
    pub ot_width: u8,
}

impl Answer {
    pub(crate) fn to_batch(&self) -> RecordBatch {
        to_batch(&self.pairs())
    }

    pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Answer, Error> {
        Self::read(Fields::of_batch("answer", batch)?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Answer, Error> {
        fields.version()?;
        let session = fields.parse("session", SessionId::parse)?;
        let nonce = fields.parse("nonce", hex::decode::<32>)?;
        let persons = fields.parse("persons", one_spelling)?;
        let dummies = fields.parse("dummies", one_spelling)?;
        let tag_bytes = fields.parse("tag-bytes", one_spelling)?;
        let normalisers = fields.take_all("normaliser");
        let mut words = Vec::new();
        for text in fields.take_all("word") {
            words.push(word(&text).ok_or_else(|| fields.wrong("word", "is not 'BITS MIN MAX DECIMALS NOISE'"))?);
        }
        let labels = fields.take_all("label");
        if labels.len() > LABELS_MAX {
            return Err(fields.wrong("label", format!("{} where at most {LABELS_MAX} are possible", labels.len())));
        }
        let answer = Answer {
            session,
            nonce,
            persons,
            dummies,
            tag_bytes,
            normalisers,
            words,
            labels,
            minimum_matched: fields.parse("minimum-matched", one_spelling)?,
            filtered_rows: fields.parse("filtered-rows", FilteredRows::from_name)?,
            sizes: fields.parse("sizes", |text| text.parse().ok())?,
            outputs: fields.parse("outputs", one_spelling)?,
            chain: read_chain(&mut fields)?,
            receipts: fields.parse("receipts", Receipts::from_name)?,
            ot_width: fields.parse("ot-width", ot_width)?,
        };
        fields.finish()?;
        Ok(answer)
    }

    pub(crate) fn pairs(&self) -> Pairs {
        let mut pairs: Pairs = vec![
            ("version", VERSION.to_owned()),
            ("session", self.session.to_string()),
            ("nonce", hex::encode(&self.nonce)),
            ("persons", self.persons.to_string()),
            ("dummies", self.dummies.to_string()),
            ("tag-bytes", self.tag_bytes.to_string()),
        ];
        pairs.extend(self.normalisers.iter().map(|name| ("normaliser", name.clone())));
        pairs.extend(self.words.iter().map(|(terms, bits)| ("word", format!("{bits} {terms}"))));
        pairs.extend(self.labels.iter().map(|label| ("label", label.clone())));
        pairs.push(("minimum-matched", self.minimum_matched.to_string()));
        pairs.push(("filtered-rows", self.filtered_rows.name().to_owned()));
        pairs.push(("sizes", self.sizes.to_string()));
        pairs.push(("outputs", self.outputs.to_string()));
        pairs.extend(self.chain.iter().map(|link| ("chain", link.to_string())));
        pairs.push(("receipts", self.receipts.name().to_owned()));
        pairs.push(("ot-width", self.ot_width.to_string()));
        pairs
    }
}

fn word(text: &str) -> Option<(WordTerms, u8)> {
    let mut parts = text.splitn(5, ' ');
    let bits = one_spelling::<u8>(parts.next()?).filter(|bits| matches!(bits, 64 | 128))?;
    let terms = WordTerms {
        min: one_spelling(parts.next()?)?,
        max: one_spelling(parts.next()?)?,
        decimals: one_spelling(parts.next()?)?,
        noise: one_spelling(parts.next()?)?,
    };
    Some((terms, bits))
}
