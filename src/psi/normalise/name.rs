//! The names of normalisers: parsing, printing, and errors that list what exists.

use std::fmt;
use std::str::FromStr;

use phonenumber::country;
use phonenumber::metadata::DATABASE;

use super::Normaliser;

/// The default region of a phone column: two capital letters of ISO 3166 for which there are
/// numbering rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region(country::Id);

impl Region {
    /// The region as the phone number crate names it.
    pub(super) fn id(self) -> country::Id {
        self.0
    }

    /// Every region that there is, in alphabetical order.
    pub(super) fn all() -> impl Iterator<Item = String> {
        ('A'..='Z')
            .flat_map(|first| ('A'..='Z').map(move |second| format!("{first}{second}")))
            .filter(|code| code.parse::<Region>().is_ok())
    }
}

impl FromStr for Region {
    type Err = NormaliserNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<country::Id>()
            .ok()
            .filter(|id| DATABASE.by_id(id.as_ref()).is_some())
            .map(Self)
            .ok_or_else(|| NormaliserNameError::Region { found: text.to_owned() })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref())
    }
}

/// A normaliser's name that means nothing, in a policy or in a peer's hello.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NormaliserNameError {
    /// No normaliser is called so, or not in this version, or without a version.
    #[error(
        "there is no normaliser '{found}': there are exact/1, email/1, phone/1:REGION (such as phone/1:US) and sha256/1"
    )]
    Unknown {
        /// The text as found.
        found: String,
    },
    /// `phone/1` without its default region.
    #[error("phone/1 needs the region of numbers that are written without a country code, such as phone/1:US")]
    RegionMissing,
    /// The region has no numbering rules.
    #[error("there is no region '{found}' for phone/1: there are {}", Region::all().collect::<Vec<_>>().join(", "))]
    Region {
        /// The text as found.
        found: String,
    },
    /// A parameter for a normaliser that takes none.
    #[error("{name} takes no parameter, and ':{parameter}' is one")]
    Parameter {
        /// The normaliser's name and version.
        name: String,
        /// The text after the colon.
        parameter: String,
    },
}

impl FromStr for Normaliser {
    type Err = NormaliserNameError;

    /// Exactly the printed form: no white space, no other case, so that equal rules have equal
    /// names on the wire.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let normaliser = match name {
            "exact/1" => Self::Exact,
            "email/1" => Self::Email,
            "sha256/1" => Self::Sha256,
            "phone/1" => {
                let region = parameter.ok_or(NormaliserNameError::RegionMissing)?;
                return Ok(Self::Phone(region.parse()?));
            }
            _ => {
                return Err(NormaliserNameError::Unknown { found: text.to_owned() });
            }
        };
        match parameter {
            None => Ok(normaliser),
            Some(parameter) => {
                Err(NormaliserNameError::Parameter { name: name.to_owned(), parameter: parameter.to_owned() })
            }
        }
    }
}

impl fmt::Display for Normaliser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact/1"),
            Self::Email => f.write_str("email/1"),
            Self::Phone(region) => write!(f, "phone/1:{region}"),
            Self::Sha256 => f.write_str("sha256/1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_prints_as_it_parses() {
        for name in ["exact/1", "email/1", "sha256/1", "phone/1:US", "phone/1:DE", "phone/1:GB"] {
            assert_eq!(name.parse::<Normaliser>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_or_version_lists_what_exists() {
        for name in ["", "exact", "exact/2", "Exact/1", " exact/1", "mail/1", "email/01"] {
            let error = name.parse::<Normaliser>().unwrap_err();
            assert_eq!(error, NormaliserNameError::Unknown { found: name.to_owned() });
            for known in ["exact/1", "email/1", "phone/1:REGION", "sha256/1"] {
                assert!(error.to_string().contains(known));
            }
        }
    }

    #[test]
    fn an_unknown_region_lists_the_regions() {
        for region in ["", "XX", "us", "USA", "001", "ZZ"] {
            let error = format!("phone/1:{region}").parse::<Normaliser>().unwrap_err();
            let NormaliserNameError::Region { found } = &error else {
                panic!("{error}");
            };
            assert_eq!(found, region);
            assert!(error.to_string().contains("DE, DJ, DK"), "{error}");
        }
        assert!(Region::all().count() > 200);
    }

    #[test]
    fn parameters_are_neither_missed_nor_ignored() {
        assert_eq!("phone/1".parse::<Normaliser>(), Err(NormaliserNameError::RegionMissing));
        assert!(matches!("email/1:US".parse::<Normaliser>(), Err(NormaliserNameError::Parameter { .. })));
    }
}
