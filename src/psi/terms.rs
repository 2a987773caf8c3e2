//! What a session is about, in the words that both sides exchange: the question, the share's terms,
//! and the parameters that follow from both.

use serde::{Deserialize, Serialize};

use crate::dp::QueryOutputs;

use super::hello::one_spelling;
use super::{Error, one_line};

/// A sixteen-byte name of one session, chosen at random by the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// A fresh random name.
    pub fn random(rng: &mut impl rand_core::CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        SessionId(bytes)
    }

    /// Reads the 32 lower-case hexadecimal digits that [`Display`](std::fmt::Display) prints.
    pub fn parse(text: &str) -> Option<Self> {
        super::hex::decode::<16>(text).map(SessionId)
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::hex::encode(&self.0))
    }
}

/// What a share allows and costs, as its owner publishes it to the peers it is shared with.
/// Travels as JSON in the metadata of the shared table's Arrow schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareTerms {
    /// The table's name.
    pub table: String,
    /// Identifiers that may be matched by.
    pub identifiers: Vec<IdentifierTerms>,
    /// Columns that may be aggregated.
    pub aggregates: Vec<AggregateTerms>,
    /// Columns that filters may name.
    pub filter_on: Vec<String>,
    /// Whether, and within which bounds, the asker may sum values of its own over matches.
    pub requester_values: Option<OwnValueTerms>,
    /// The least noisy number of matched persons of an answered query; 0 switches the rule off.
    pub minimum_matched: u64,
    /// What a filter does to the announced number of entries.
    pub filtered_rows: FilteredRows,
    /// The privacy of sizes.
    pub sizes: SizesTerms,
    /// The privacy of outputs.
    pub outputs: OutputsTerms,
    /// Columns that may be grouped by, each with its public labels.
    pub group_by: Vec<GroupTerms>,
    /// The most labels that one person counts in.
    pub max_labels: u32,
    /// The most groups of its own that the asker may form.
    pub max_parts: u32,
    /// When the budget renews: `forever` (never), `day`, `week` or `month`.
    pub period: String,
    /// Whether the owner approves each new question before it is answered.
    pub approval: bool,
}

impl ShareTerms {
    /// The terms in one text, the same for equal terms: what an approval holds to, and an audit keeps.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("unprintable terms: {error}"))
    }
}

/// A column of a share that may be grouped by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupTerms {
    /// The column.
    pub column: String,
    /// Its labels: a list of the policy's, never of the data's.
    pub labels: Vec<String>,
}

/// One identifier of a share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifierTerms {
    /// The name by which a question refers to it.
    pub name: String,
    /// The columns it is made of: one, or several for a composite identifier.
    pub columns: Vec<String>,
    /// The versioned normaliser of each part, such as `email/1`.
    pub normaliser: String,
}

/// One column of a share that may be aggregated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateTerms {
    /// The column.
    pub column: String,
    /// The bounds of one person's total, in the column's unit; `None`: the column can only be counted.
    pub clip: Option<ClipTerms>,
    /// The most rows of one person that COUNT(column) counts.
    pub max_rows: u64,
    /// Decimals of the fixed point in which the column is summed.
    pub decimals: u8,
    /// The greatest sum of squares of one person, in the square of the column's unit; the least is 0. `None`: squares of
    /// the column cannot be summed.
    pub squares_max: Option<String>,
}

/// Clip bounds in the column's unit, as decimal text (`0`, `-12.50`), so that no float rounds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipTerms {
    /// The least total of one person.
    pub min: String,
    /// The greatest total of one person.
    pub max: String,
}

/// Bounds of values that the requester owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnValueTerms {
    /// Bounds of one person's total.
    pub clip: ClipTerms,
    /// The most rows of one person that COUNT counts.
    pub max_rows: u64,
}

/// What a filter does to the responder's announced length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilteredRows {
    /// The length is that of the prepared table, whatever the filter.
    Hide,
    /// The passing persons and a noisy number of fillers.
    Pad,
    /// The passing persons.
    Reveal,
}

impl FilteredRows {
    /// The policy's word for it.
    pub fn name(self) -> &'static str {
        match self {
            FilteredRows::Hide => "hide",
            FilteredRows::Pad => "pad",
            FilteredRows::Reveal => "reveal",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [FilteredRows::Hide, FilteredRows::Pad, FilteredRows::Reveal].into_iter().find(|rows| rows.name() == name)
    }
}

/// The privacy of the matched sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum SizesTerms {
    /// The policy says in words that sizes are revealed exactly: no dummies on this side's account.
    Exact {
        /// The number of queries that the budget allows.
        queries: u64,
    },
    /// (epsilon, delta)-differential privacy over `queries` queries of at most `columns` identifiers.
    Private {
        /// The budget's epsilon.
        epsilon: f64,
        /// The budget's delta; `None`: 1 / (10 N), N the larger table.
        delta: Option<f64>,
        /// T: the number of queries that the budget allows.
        queries: u64,
        /// K: the number of identifiers that the budget is computed for.
        columns: u8,
    },
}

impl std::fmt::Display for SizesTerms {
    /// The wire's form: `exact QUERIES`, or `private EPSILON DELTA QUERIES COLUMNS` with the word `default` for a delta
    /// that is not given; the numbers as decimals without an exponent, the shortest that are read back as the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SizesTerms::Exact { queries } => write!(f, "exact {queries}"),
            SizesTerms::Private { epsilon, delta, queries, columns } => {
                let delta = delta.map_or_else(|| "default".to_owned(), |delta| delta.to_string());
                write!(f, "private {epsilon} {delta} {queries} {columns}")
            }
        }
    }
}

impl std::str::FromStr for SizesTerms {
    type Err = ();

    /// Reads exactly what `Display` prints, for an epsilon above 0 and a delta between 0 and 1.
    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(' ').collect();
        let above_zero = |text: &str| one_spelling::<f64>(text).filter(|number| number.is_finite() && *number > 0.0);
        let read = || match parts[..] {
            ["exact", queries] => Some(SizesTerms::Exact { queries: one_spelling(queries)? }),
            ["private", epsilon, delta, queries, columns] => Some(SizesTerms::Private {
                epsilon: above_zero(epsilon)?,
                delta: match delta {
                    "default" => None,
                    delta => Some(above_zero(delta).filter(|delta| *delta < 1.0)?),
                },
                queries: one_spelling(queries)?,
                columns: one_spelling(columns)?,
            }),
            _ => None,
        };
        read().ok_or(())
    }
}

/// The privacy of the released aggregates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum OutputsTerms {
    /// Results are exact.
    Exact,
    /// Differential privacy of all outputs of `queries` queries together.
    Private {
        /// What one query may use, as [`QueryOutputs`] prints it: the number that the noise is computed from, exact, so
        /// that it is the same on every machine.
        per_query: String,
        /// The budget's epsilon, for people to read.
        epsilon: f64,
        /// The budget's delta, for people to read; `None`: pure differential privacy.
        delta: Option<f64>,
        /// T: the number of queries that the budget allows.
        queries: u64,
    },
}

impl OutputsTerms {
    /// What one query may use.
    ///
    /// # Errors
    /// [`Error::Incompatible`]: the owner published a text that this version cannot read.
    pub fn per_query(&self) -> Result<QueryOutputs, Error> {
        match self {
            OutputsTerms::Exact => Ok(QueryOutputs::Exact),
            OutputsTerms::Private { per_query, .. } => one_spelling(per_query).ok_or_else(|| {
                let text = one_line(per_query, 100);
                Error::Incompatible(format!(
                    "the share's terms for outputs, '{text}', are none that this version knows"
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_for_sizes_have_one_spelling_each() {
        let private = |epsilon, delta| SizesTerms::Private { epsilon, delta, queries: 10, columns: 2 };
        for (terms, text) in [
            (SizesTerms::Exact { queries: 7 }, "exact 7"),
            (private(2.0, None), "private 2 default 10 2"),
            (private(0.1, Some(1e-7)), "private 0.1 0.0000001 10 2"),
            (private(1e21, Some(0.5)), "private 1000000000000000000000 0.5 10 2"),
        ] {
            assert_eq!(terms.to_string(), text);
            assert_eq!(text.parse(), Ok(terms));
        }
        for text in [
            "",
            "exact",
            "exact 07",
            "exact 7 ",
            "exact -1",
            "private 2.0 default 10 2",
            "private 2e0 default 10 2",
            "private +2 default 10 2",
            "private 0 default 10 2",
            "private -2 default 10 2",
            "private inf default 10 2",
            "private NaN default 10 2",
            "private 2 1 10 2",
            "private 2 0 10 2",
            "private 2 default 10 256",
            "private 2 default 10",
            "private 2 default 10 2 3",
        ] {
            assert!(text.parse::<SizesTerms>().is_err(), "{text}");
        }
    }

    #[test]
    fn terms_for_outputs_give_the_exact_number_or_say_that_they_cannot() {
        let private = |per_query: &str| OutputsTerms::Private {
            per_query: per_query.to_owned(),
            epsilon: 4.0,
            delta: None,
            queries: 10,
        };
        assert_eq!(OutputsTerms::Exact.per_query(), Ok(QueryOutputs::Exact));
        assert_eq!(private("epsilon 2/5").per_query().unwrap().to_string(), "epsilon 2/5");
        assert!(matches!(private("epsilon 4/10").per_query(), Err(Error::Incompatible(_))));
        assert!(matches!(private("sigma 1/2").per_query(), Err(Error::Incompatible(_))));
    }
}
