//! Identifiers in one spelling: what both parties do to a column before anything is compared.
//!
//! A [`Normaliser`] turns a column into bytes or into null; two parties match only what they
//! spell alike, so its name carries a version and is compared in the hello.
//!
//! **Row of the table of rooms** (part of `psi`): job: named, versioned normalisers over Arrow
//! columns and single strings. May import: arrow arrays, rayon, phonenumber, idna,
//! unicode-normalization. Must not touch: tokio, tonic, datafusion, clock, files, randomness.
//!
//! | name | accepts | gives | null |
//! |---|---|---|---|
//! | `exact/1` | text, integers, dates, binary | the SQL text's bytes; binary as it is | empty |
//! | `email/1` | text | `local@domain`, lower case, NFC, domain by IDNA | see [`email`](self#email1) |
//! | `phone/1:REGION` | text, integers | E.164, `+` and digits | see [`phone`](self#phone1) |
//! | `sha256/1` | text of 64 hex digits, 32 bytes of binary | 32 bytes | anything else |
//!
//! *Text* is Utf8, LargeUtf8 or Utf8View; *integers* are signed and unsigned of 8 to 64 bits;
//! *dates* are Date32 and Date64 (its day, in UTC); *binary* is Binary, LargeBinary, BinaryView or
//! FixedSizeBinary; each also as the values of a dictionary; and the untyped NULL column. An empty
//! string identifies nobody: null, for every normaliser. Floats, decimals, booleans and timestamps
//! are refused by type, before any row is read: their text is a matter of taste, so the query has
//! to say it with a CAST.
//!
//! # exact/1
//! Byte for byte, without trimming or case folding. Integers print in decimal (`-7`), dates as
//! `YYYY-MM-DD` (years outside 0..=9999 with a sign and at least four digits, as ISO 8601 has it),
//! so `5` matches `'5'`, and `DATE '2026-03-01'` matches `'2026-03-01'`.
//!
//! # email/1
//! 1. Trim Unicode `White_Space` at both ends, then NFC.
//! 2. The *one* `@` outside double quotes splits local part and domain; none or several: null.
//! 3. Null where the local part is empty, has a control character, or is unquoted and has white
//!    space or one of `()<>[]:;,\"`. A quoted local part is quoted as a whole (`"a b"@x.org`),
//!    non-empty inside, with `\` as its escape; its quotes stay.
//! 4. The local part in lower case (Unicode default mapping, no locale), then NFC once more.
//! 5. The domain by UTS 46 to ASCII (non-transitional, STD3 rules, no hyphen at a label's end,
//!    DNS lengths, no trailing dot); what that refuses is null, address literals (`[192.0.2.1]`)
//!    among them.
//!
//! Nothing is known of providers: dots and `+tags` stay, so `a.b@x` and `ab@x` differ.
//!
//! # phone/1
//! E.164 by the rules and metadata of the `phonenumber` crate, with REGION (ISO 3166, `US`) for
//! numbers without `+` or an international prefix; extensions are dropped, and what is valid in no
//! region is null. Integers are read as their decimal text; negative ones are null. One deliberate
//! departure: national prefixes are stripped by the rules of the *number's own* country, and only
//! from a number that is not valid as written. The crate's own `parse` (0.3.10) strips by the
//! default region's rules: with `US` it reads `+49 1512 3456789` as `+495123456789`, a valid number
//! of somebody else.
//!
//! The crate keeps its regular expressions in one cache (100 entries) behind one lock; what decides
//! whether a number is valid is compiled once more by each thread, so that threads do not wait for
//! each other, nor countries evict each other. National prefixes still go through the crate's cache.
//!
//! # sha256/1
//! For identifiers that arrive hashed. Text is 64 hex digits in either case, without white space;
//! binary is 32 bytes as they are. This does not hash.
//!
//! # What pins a version
//! A version means these rules *and* their tables, listed in [`PINNED`] and held by `Cargo.lock`
//! (a test compares them): a new release of one of these crates that changes an identifier needs a
//! new version here. Lower case is that of the standard library, whose tables
//! (`char::UNICODE_VERSION`) only ever gain letters.

mod column;
mod composite;
mod email;
mod exact;
mod name;
mod phone;
mod sha256;

use arrow::array::{Array, ArrayRef, LargeBinaryArray};
use arrow::datatypes::DataType;

use crate::psi::hex_of;

pub use composite::combine;
pub use name::{NormaliserNameError, Region};

/// The crates whose tables decide what the normalisers of this version give, with the versions
/// that `Cargo.lock` holds them at.
pub const PINNED: &[(&str, &str)] = &[
    ("phonenumber", "0.3.10+9.0.33"),
    ("idna", "1.1.0"),
    ("idna_adapter", "1.2.2"),
    ("icu_normalizer_data", "2.4.0"),
    ("icu_properties_data", "2.4.0"),
    ("unicode-normalization", "0.1.26"),
];

/// How one identifier column is spelled: a named, versioned rule.
///
/// Parsed from and printed as `exact/1`, `email/1`, `phone/1:US`, `sha256/1`; the name is what
/// both sides compare. The module's doc has the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normaliser {
    /// `exact/1`: the SQL text, byte for byte.
    Exact,
    /// `email/1`: trimmed, NFC, lower case, domain by IDNA.
    Email,
    /// `phone/1:REGION`: E.164, with the region of numbers that name none.
    Phone(Region),
    /// `sha256/1`: identifiers that come hashed, to 32 bytes.
    Sha256,
}

/// A column after its normaliser.
#[derive(Debug)]
pub struct Normalised {
    /// One value per row of the input: the identifier's bytes, never empty, or null.
    pub identifiers: LargeBinaryArray,
    /// Rows that were not null in the input and are null now: what could not be normalised,
    /// empty strings included. A metric for the owner.
    pub unnormalised: u64,
}

/// Why a column could not be normalised; decided by its type and shape, never by its values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NormaliseError {
    /// The normaliser does not take columns of this type.
    #[error(
        "{normaliser} does not take a column of type {found}: it takes {accepts}; write a CAST in the query, or choose another normaliser for the share"
    )]
    Type {
        /// The normaliser's name.
        normaliser: String,
        /// The column's Arrow type.
        found: DataType,
        /// What the normaliser takes, in words.
        accepts: &'static str,
    },
    /// A composite identifier of no columns.
    #[error("a composite identifier needs at least one column")]
    NoParts,
    /// The columns of a composite identifier differ in length.
    #[error(
        "the columns of a composite identifier differ in length: column {part} has {found} rows, the first has {expected}; they have to come from one table"
    )]
    PartLength {
        /// Position of the offending column, from 0.
        part: usize,
        /// Its rows.
        found: usize,
        /// Rows of column 0.
        expected: usize,
    },
}

impl Normaliser {
    /// Whether columns of this type are taken: a check for planning, before any row exists.
    ///
    /// # Errors
    /// [`NormaliseError::Type`], which says what is taken instead.
    pub fn check_type(&self, column: &DataType) -> Result<(), NormaliseError> {
        if column::accepts(*self, column) {
            return Ok(());
        }
        Err(NormaliseError::Type {
            normaliser: self.to_string(),
            found: column.clone(),
            accepts: match self {
                Self::Exact => "text, integers, dates and binary",
                Self::Email => "text",
                Self::Phone(_) => "text and integers",
                Self::Sha256 => "text of 64 hex digits and binary of 32 bytes",
            },
        })
    }

    /// Every row of a column to its identifier or to null, in parallel over slices.
    ///
    /// # Errors
    /// [`NormaliseError::Type`]; no value is an error.
    pub fn normalise(&self, column: &ArrayRef) -> Result<Normalised, NormaliseError> {
        self.check_type(column.data_type())?;
        let identifiers = column::normalise(*self, column.as_ref());
        let nulls_before = column.logical_null_count();
        let unnormalised = (identifiers.null_count() - nulls_before) as u64;
        Ok(Normalised { identifiers, unnormalised })
    }

    /// One string to its identifier, or none where it identifies nobody: what the SQL scalar
    /// functions call.
    pub fn normalise_str(&self, text: &str) -> Option<Vec<u8>> {
        let mut identifier = Vec::with_capacity(text.len());
        self.write_text(text, &mut identifier).then_some(identifier)
    }

    /// An identifier of this normaliser as text for people: `sha256/1` in lower-case hex, the
    /// others as they are. Bytes that are no UTF-8 (`exact/1` over binary) print as `\x` and hex.
    pub fn to_text(&self, identifier: &[u8]) -> String {
        match (self, std::str::from_utf8(identifier)) {
            (Self::Sha256, _) => hex_of(identifier),
            (_, Ok(text)) => text.to_owned(),
            (_, Err(_)) => format!("\\x{}", hex_of(identifier)),
        }
    }

    /// Appends the identifier of `text`; false, with nothing that counts appended, where there is
    /// none. Callers cut `out` back.
    fn write_text(&self, text: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Exact => exact::write_bytes(text.as_bytes(), out),
            Self::Email => email::write(text, out),
            Self::Phone(region) => phone::write(*region, text, out),
            Self::Sha256 => sha256::write_text(text, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_holds_the_tables_that_the_versions_mean() {
        let lock = include_str!("../../../Cargo.lock");
        for (name, version) in PINNED {
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(
                lock.contains(&entry),
                "{name} is no longer at {version}: an identifier may have changed its spelling"
            );
        }
    }

    #[test]
    fn to_text_is_readable_for_every_normaliser() {
        let hashed: Normaliser = "sha256/1".parse().unwrap();
        assert_eq!(hashed.to_text(&[0xab; 2]), "abab");
        assert_eq!(Normaliser::Exact.to_text("Ann".as_bytes()), "Ann");
        assert_eq!(Normaliser::Exact.to_text(&[0xff, 0x01]), "\\xff01");
    }

    #[test]
    fn an_empty_string_identifies_nobody() {
        for name in ["exact/1", "email/1", "phone/1:US", "sha256/1"] {
            let normaliser: Normaliser = name.parse().unwrap();
            assert_eq!(normaliser.normalise_str(""), None, "{name}");
        }
    }
}
