//! Walks a parsed TOML document with the place of every key at hand, so that each error can name its
//! line, and no key is ever passed over.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::decimal::Decimal;
use super::super::error::ConfigError;
use super::super::names;
use crate::psi::is_column;

/// The text that is being read, and the name of its file.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) file: &'s Path,
    pub(super) text: &'s str,
}

impl Source<'_> {
    /// The line, from 1, that holds the byte at `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset.min(self.text.len())).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn error(&self, span: &Range<usize>, what: impl Into<String>, advice: impl Into<String>) -> ConfigError {
        ConfigError::new(self.file, Some(self.line(span.start)), what, advice)
    }
}

/// A key that a section may have.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// A line that would be right, for errors.
    pub(super) example: &'static str,
}

/// One table of the document, its keys checked against those that it may have.
pub(super) struct Section<'s, 'd> {
    pub(super) source: Source<'s>,
    /// What errors call it, such as `[[share]] of 'purchases'`.
    pub(super) title: String,
    pub(super) span: Range<usize>,
    keys: &'static [Key],
    entries: Vec<Value<'s, 'd>>,
}

/// One value of a section, or one element of a list.
#[derive(Clone)]
pub(super) struct Value<'s, 'd> {
    source: Source<'s>,
    /// What errors call it, such as `queries of [share.budget]`.
    title: String,
    example: &'static str,
    name: &'d str,
    key_span: Range<usize>,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'s, 'd> Section<'s, 'd> {
    /// Opens a table; an unknown key is an error, with the key that was probably meant.
    pub(super) fn open(
        source: Source<'s>,
        title: impl Into<String>,
        table: &'d DeTable<'d>,
        span: Range<usize>,
        keys: &'static [Key],
    ) -> Result<Self, ConfigError> {
        let title = title.into();
        let entries = entries(source, &title, table, keys);
        for entry in &entries {
            if !keys.iter().any(|key| key.name == entry.name) {
                return Err(source.error(
                    &entry.key_span,
                    format!("{title}: unknown key '{}'", names::shown(entry.name)),
                    names::advice(entry.name, "possible keys", keys.iter().map(|key| key.name)),
                ));
            }
        }
        Ok(Section { source, title, span, keys, entries })
    }

    /// Opens a table whose keys are names of the author's choice, in the order of the file.
    pub(super) fn open_names(source: Source<'s>, title: &str, table: &'d DeTable<'d>) -> Vec<Value<'s, 'd>> {
        entries(source, title, table, &[])
    }

    /// The value of a key, if it is there.
    pub(super) fn optional(&self, name: &str) -> Option<&Value<'s, 'd>> {
        debug_assert!(self.keys.iter().any(|key| key.name == name), "{name} is no key of {}", self.title);
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&Value<'s, 'd>, ConfigError> {
        self.optional(name).ok_or_else(|| {
            let example = self.keys.iter().find(|key| key.name == name).map_or(name, |key| key.example);
            self.error(format!("{} lacks '{name}'", self.title), format!("add, for example: {example}"))
        })
    }

    pub(super) fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    /// An error about the section as a whole.
    pub(super) fn error(&self, what: impl Into<String>, advice: impl Into<String>) -> ConfigError {
        self.source.error(&self.span, what, advice)
    }
}

/// The entries of a table in the order of the file.
fn entries<'s, 'd>(
    source: Source<'s>,
    title: &str,
    table: &'d DeTable<'d>,
    keys: &'static [Key],
) -> Vec<Value<'s, 'd>> {
    let mut entries: Vec<Value<'s, 'd>> = table
        .iter()
        .map(|(key, value)| {
            let name: &'d str = key.get_ref();
            Value {
                source,
                title: format!("{title}: '{}'", names::shown(name)),
                example: keys.iter().find(|key| key.name == name).map_or("", |key| key.example),
                name,
                key_span: key.span(),
                value,
            }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

impl<'s, 'd> Value<'s, 'd> {
    /// The key that it stands under.
    pub(super) fn name(&self) -> &'d str {
        self.name
    }

    pub(super) fn line(&self) -> usize {
        self.source.line(self.value.span().start)
    }

    /// The same value with another line for an example.
    pub(super) fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// An error about this value: `TITLE what; advice`.
    pub(super) fn error(&self, what: impl std::fmt::Display, advice: impl Into<String>) -> ConfigError {
        self.source.error(&self.value.span(), format!("{} {what}", self.title), advice)
    }

    /// An error about the key itself.
    pub(super) fn key_error(&self, what: impl std::fmt::Display, advice: impl Into<String>) -> ConfigError {
        self.source.error(&self.key_span, format!("{} {what}", self.title), advice)
    }

    pub(super) fn another_type(&self, due: &str) -> ConfigError {
        let found = self.value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
        let advice = if self.example.is_empty() {
            format!("write {due}")
        } else {
            format!("write, for example: {}", self.example)
        };
        self.error(format_args!("is {article} {found} where {due} is due"), advice)
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Result<&'d str, ConfigError> {
        match self.value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Ok(text),
            DeValue::String(_) => {
                let advice = if self.example.is_empty() {
                    "write a text".to_owned()
                } else {
                    format!("write, for example: {}", self.example)
                };
                Err(self.error("is empty", advice))
            }
            _ => Err(self.another_type("a string")),
        }
    }

    /// A label: a text, or a whole number or boolean by its SQL text.
    pub(super) fn label(&self) -> Result<String, ConfigError> {
        match self.value.get_ref() {
            DeValue::Boolean(truth) => Ok(truth.to_string()),
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map(|number| number.to_string())
                .map_err(|_| self.another_type("a text or a whole number")),
            DeValue::String(_) => self.text().map(str::to_owned),
            _ => Err(self.another_type("a text or a whole number")),
        }
    }

    /// A name that SQL reads without quotes.
    pub(super) fn sql_name(&self) -> Result<String, ConfigError> {
        let text = self.text()?;
        if names::is_name(text) {
            Ok(text.to_owned())
        } else {
            Err(self.error(format_args!("is '{}', which is no name", names::shown(text)), names::NAME_RULE))
        }
    }

    /// A column's name.
    pub(super) fn column_name(&self) -> Result<String, ConfigError> {
        let text = self.text()?;
        if is_column(text) {
            Ok(text.to_owned())
        } else {
            Err(self
                .error("is no column's name", "a column's name has 1 to 256 bytes that show as they are on one line"))
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return Err(self.another_type("a whole number"));
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        number.and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number)).ok_or_else(|| {
            self.error(
                format_args!("is {}", names::shown(&integer.to_string())),
                format!("it must be {} to {}", range.start(), range.end()),
            )
        })
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.another_type("true or false"))
    }

    pub(super) fn is_boolean(&self) -> bool {
        self.value.get_ref().is_bool()
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// An exact decimal number: an integer, a float as it is spelt, or a quoted decimal.
    pub(super) fn decimal(&self) -> Result<Decimal, ConfigError> {
        let text = match self.value.get_ref() {
            DeValue::Integer(integer) => {
                // Hexadecimal and the like become digits here; 128 bits hold all that TOML allows and more.
                let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
                number.map(|number| number.to_string()).unwrap_or_else(|| integer.to_string())
            }
            DeValue::Float(float) => float.as_str().to_owned(),
            DeValue::String(text) => text.to_string(),
            _ => return Err(self.another_type("a number")),
        };
        text.parse().map_err(|reason| {
            self.error(
                format_args!("is '{}', which {reason}", names::shown(&text)),
                "write a number such as 500, 12.50 or \"12.50\"",
            )
        })
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Result<Vec<Value<'s, 'd>>, ConfigError> {
        let array = self.value.get_ref().as_array().ok_or_else(|| self.another_type("a list"))?;
        Ok(array
            .iter()
            .map(|value| Value {
                source: self.source,
                title: self.title.clone(),
                example: self.example,
                name: self.name,
                key_span: self.key_span.clone(),
                value,
            })
            .collect())
    }

    /// A list of different texts, each read by `read`; empty only if `empty` says so.
    pub(super) fn distinct(
        &self,
        empty: bool,
        read: impl Fn(&Value<'s, 'd>) -> Result<String, ConfigError>,
    ) -> Result<Vec<(String, Value<'s, 'd>)>, ConfigError> {
        let mut seen: Vec<(String, Value<'s, 'd>)> = Vec::new();
        for element in self.list()? {
            let text = read(&element)?;
            if seen.iter().any(|(other, _)| *other == text) {
                return Err(element.error(format_args!("names '{}' twice", names::shown(&text)), "name it once"));
            }
            seen.push((text, element));
        }
        if seen.is_empty() && !empty {
            return Err(self.error("is empty", format!("write, for example: {}", self.example)));
        }
        Ok(seen)
    }

    /// The table that stands here, its keys checked.
    pub(super) fn section(
        &self,
        title: impl Into<String>,
        keys: &'static [Key],
    ) -> Result<Section<'s, 'd>, ConfigError> {
        let table = self.table()?;
        Section::open(self.source, title, table, self.value.span(), keys)
    }

    /// The table that stands here, with keys of the author's choice.
    pub(super) fn names(&self) -> Result<Vec<Value<'s, 'd>>, ConfigError> {
        Ok(Section::open_names(self.source, &self.title, self.table()?))
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    fn table(&self) -> Result<&'d DeTable<'d>, ConfigError> {
        self.value.get_ref().as_table().ok_or_else(|| self.another_type("a table"))
    }
}
