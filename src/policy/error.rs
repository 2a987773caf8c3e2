//! Errors in a `party.toml`, made for the person who has to mend it.

use std::path::{Path, PathBuf};

/// What is wrong with a policy file: where, what, and what would be right.
///
/// Prints as `FILE:LINE: what; advice`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named to us.
    pub file: PathBuf,
    /// The line, from 1; `None` if the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub advice: String,
}

impl ConfigError {
    pub(super) fn new(file: &Path, line: Option<usize>, what: impl Into<String>, advice: impl Into<String>) -> Self {
        ConfigError { file: file.to_owned(), line, what: what.into(), advice: advice.into() }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}; {}", self.what, self.advice)
    }
}

impl std::error::Error for ConfigError {}
