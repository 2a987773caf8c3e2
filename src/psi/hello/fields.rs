//! A hello as (name, value) pairs: one spelling to write, one strict way to read.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::psi::frame::check_schema;
use crate::psi::{Error, PeerMisbehaved, Phase, escaped, one_line};

use super::VERSION;

/// The most rows of a hello, and the most bytes of one value: above what a query of eight identifiers, dozens of
/// aggregates and a thousand parts or labels needs, far below what could hurt.
const HELLO_ROWS_MAX: usize = 2048;
const HELLO_VALUE_BYTES_MAX: usize = 64 * 1024;

/// The pairs of one message, in their order.
pub(crate) type Pairs = Vec<(&'static str, String)>;

/// The schema of both hello messages.
pub fn hello_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)]))
}

pub(super) fn to_batch(pairs: &Pairs) -> RecordBatch {
    let names: StringArray = pairs.iter().map(|(name, _)| Some(*name)).collect();
    let values: StringArray = pairs.iter().map(|(_, value)| Some(value.as_str())).collect();
    RecordBatch::try_new(hello_schema(), vec![Arc::new(names), Arc::new(values)])
        .expect("two string columns of equal length fit the schema that names them")
}

/// A number, or whatever else prints as it is read, in its one spelling (no needless sign, no leading zero): a second
/// spelling would be a second transcript.
pub(crate) fn one_spelling<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|n| n.to_string() == text)
}

/// A hello message that is being read, field by field, in order.
pub(crate) struct Fields {
    message: &'static str,
    pairs: std::iter::Peekable<std::vec::IntoIter<(String, String)>>,
}

impl Fields {
    /// The fields of a batch that came from the peer.
    pub(super) fn of_batch(message: &'static str, batch: &RecordBatch) -> Result<Self, Error> {
        check_schema(Phase::Hello, &hello_schema(), batch)?;
        let column = |index: usize| {
            batch
                .column(index)
                .as_any()
                .downcast_ref::<StringArray>()
                .ok_or_else(|| Error::internal("a checked hello has a column of another type"))
        };
        let (names, values) = (column(0)?, column(1)?);
        let rows = (0..batch.num_rows().min(HELLO_ROWS_MAX + 1)).map(|row| (names.value(row), values.value(row)));
        Self::of_pairs(message, rows)
    }

    /// The same from pairs, wherever they stand written.
    pub(crate) fn of_pairs<'p>(
        message: &'static str,
        pairs: impl Iterator<Item = (&'p str, &'p str)>,
    ) -> Result<Self, Error> {
        let wrong =
            |reason: String| Err(Error::from(PeerMisbehaved::Hello { message, field: "(all)".to_owned(), reason }));
        let mut read = Vec::new();
        for (name, value) in pairs {
            if read.len() == HELLO_ROWS_MAX {
                return wrong(format!("more than the {HELLO_ROWS_MAX} rows that are allowed"));
            }
            if name.len() > 32 || value.len() > HELLO_VALUE_BYTES_MAX {
                return wrong(format!("a value of more than {HELLO_VALUE_BYTES_MAX} bytes"));
            }
            read.push((name.to_owned(), value.to_owned()));
        }
        Ok(Fields { message, pairs: read.into_iter().peekable() })
    }

    pub(super) fn version(&mut self) -> Result<(), Error> {
        let version = self.take("version")?;
        if version != VERSION {
            let theirs = one_line(&version, 40);
            return Err(Error::Incompatible(format!(
                "the peer speaks protocol '{theirs}', this side '{VERSION}': install the same version of datafusion-psi on both sides"
            )));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, name: &'static str) -> Result<String, Error> {
        match self.pairs.next_if(|(found, _)| found == name) {
            Some((_, value)) => Ok(value),
            None => Err(self.wrong(name, "is missing where it was due")),
        }
    }

    pub(super) fn take_all(&mut self, name: &'static str) -> Vec<String> {
        let mut values = Vec::new();
        while let Some((_, value)) = self.pairs.next_if(|(found, _)| found == name) {
            values.push(value);
        }
        values
    }

    pub(super) fn parse<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        let value = self.take(name)?;
        read(&value).ok_or_else(|| self.wrong(name, "has an impossible value"))
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        match self.pairs.next() {
            None => Ok(()),
            Some((name, _)) => Err(self.wrong(&escaped(&name, 32), "is unknown, repeated or out of order")),
        }
    }

    pub(super) fn wrong(&self, field: &str, reason: impl Into<String>) -> Error {
        PeerMisbehaved::Hello { message: self.message, field: field.to_owned(), reason: reason.into() }.into()
    }
}
