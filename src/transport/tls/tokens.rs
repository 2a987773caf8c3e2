//! Bearer tokens of this party's own analysts: a file of their hashes, read again when it changes.
//!
//! One line per token, `NAME SHA256HEX`, or `NAME SHA256HEX YYYY-MM-DD` with its last day (UTC). Blank lines and
//! lines that begin with `#` say nothing. Several tokens of one name are valid at once, so that a new one can be
//! added beside the old.

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::psi::Error;

use super::files;
use super::reload::Reloading;

/// The most tokens of a file.
const TOKENS_MAX: usize = 1024;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What every token begins with, so that a scanner for leaked secrets knows one.
const PREFIX: &str = "psi-";

/// The most bytes of an analyst's name.
const NAME_BYTES_MAX: usize = 64;

/// The tokens of one file, as it says now.
pub struct Tokens {
    file: Reloading<Vec<Kept>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.file.last().iter().map(|kept| &kept.name)).finish()
    }
}

/// What is kept of a token.
struct Kept {
    name: String,
    hash: [u8; 32],
    /// Its last day.
    until: Option<NaiveDate>,
}

/// Whose a token is, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Whose {
    /// A token in force.
    Valid(String),
    /// One that was in force until that day.
    Expired(String, NaiveDate),
}

impl Tokens {
    /// Reads the file, which only its owner may be able to read.
    ///
    /// # Errors
    /// [`Error::Caller`]: which line, what is wrong with it, what would be right.
    pub fn load(path: &Path) -> Result<Tokens, Error> {
        Ok(Tokens { file: Reloading::new(vec![path.to_owned()], read)? })
    }

    /// Whose token it is. Blocks on the disk. Compares with every line, each in constant time, so that how long it
    /// takes says nothing of how near a guess is.
    pub(in crate::transport) fn whose(&self, token: &[u8], now: DateTime<Utc>) -> Option<Whose> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let kept = self.file.current();
        let mut found: Option<&Kept> = None;
        for line in kept.iter() {
            if bool::from(line.hash.ct_eq(&hash)) {
                found = Some(line);
            }
        }
        found.map(|line| match line.until {
            Some(until) if now.date_naive() > until => Whose::Expired(line.name.clone(), until),
            _ => Whose::Valid(line.name.clone()),
        })
    }
}

/// A new token.
pub struct Token {
    /// The token itself: to be shown once, and kept by its owner alone.
    pub token: Zeroizing<String>,
    /// The line for the file of tokens.
    pub line: String,
}

impl Token {
    /// Makes one for the analyst `name`; `until` is its last day.
    ///
    /// # Errors
    /// [`Error::Caller`] for a name that cannot be one, [`Error::Internal`] where the system has no randomness.
    pub fn make(name: &str, until: Option<NaiveDate>) -> Result<Token, Error> {
        if !is_name(name) {
            return Err(Error::Caller(format!(
                "'{}' cannot be an analyst's name: use 1 to {NAME_BYTES_MAX} letters, digits, '_', '-', '.' or '@'",
                name.escape_default()
            )));
        }
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        getrandom::fill(bytes.as_mut()).map_err(Error::internal)?;
        let mut token = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * TOKEN_BYTES));
        token.push_str(PREFIX);
        push_hex(&mut token, bytes.as_ref());
        let mut line = format!("{name} ");
        push_hex(&mut line, &Sha256::digest(token.as_bytes()));
        if let Some(until) = until {
            line.push_str(&until.format(" %Y-%m-%d").to_string());
        }
        Ok(Token { token, line })
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

/// Whether a text may name an analyst.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@'))
}

fn read(paths: &[PathBuf]) -> Result<Vec<Kept>, Error> {
    let [path] = paths else { return Err(Error::internal("tokens are one file")) };
    let bytes = files::secret(path, "a list of analysts' tokens")?;
    let wrong = |line: usize, what: &str| {
        Error::Caller(format!(
            "{}:{line}: {what}; a line is NAME SHA256 or NAME SHA256 YYYY-MM-DD, as `datafusion-psi token NAME` prints it",
            path.display()
        ))
    };
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Error::Caller(format!("{} is no text in UTF-8", path.display())))?;
    let mut kept: Vec<Kept> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut parts = line.split_ascii_whitespace();
        let (Some(name), Some(hash)) = (parts.next(), parts.next()) else {
            return Err(wrong(number, "a name or a hash is missing"));
        };
        let until = parts.next();
        if parts.next().is_some() {
            return Err(wrong(number, "there is more than a name, a hash and a date"));
        }
        if !is_name(name) {
            return Err(wrong(number, "the name has other characters than letters, digits, '_', '-', '.' and '@'"));
        }
        if hash.starts_with(PREFIX) {
            return Err(wrong(
                number,
                "here stands a token itself, which nobody but its owner should have: make a new one",
            ));
        }
        let hash = hash_of(hash).ok_or_else(|| wrong(number, "the hash is not 64 hexadecimal digits"))?;
        let date = |text| NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong(number, "the date is none"));
        let until = until.map(date).transpose()?;
        if kept.iter().any(|other| other.hash == hash) {
            return Err(wrong(number, "this hash stands on an earlier line too"));
        }
        kept.push(Kept { name: name.to_owned(), hash, until });
    }
    if kept.len() > TOKENS_MAX {
        return Err(Error::Caller(format!("{} has {} tokens, {TOKENS_MAX} are allowed", path.display(), kept.len())));
    }
    Ok(kept)
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(16 * digit(0)? + digit(1)?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, content: &str) -> PathBuf {
        let path = folder.join("tokens.txt");
        std::fs::write(&path, content).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn noon(text: &str) -> DateTime<Utc> {
        day(text).and_hms_opt(12, 0, 0).unwrap().and_utc()
    }

    #[test]
    fn a_token_is_known_by_its_line_until_its_last_day_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let (ana, ben) = (Token::make("ana", None).unwrap(), Token::make("ben", Some(day("2026-03-31"))).unwrap());
        assert!(ana.token.starts_with("psi-") && ana.token.len() == 68 && !ana.line.contains(&ana.token[4..]));
        let path = file(folder.path(), &format!("# analysts\n\n{}\n  {}  \n", ana.line, ben.line));
        let tokens = Tokens::load(&path).unwrap();
        let (early, last, late) = (noon("2026-03-01"), noon("2026-03-31"), noon("2026-04-01"));
        assert_eq!(tokens.whose(ana.token.as_bytes(), late), Some(Whose::Valid("ana".to_owned())));
        for now in [early, last] {
            assert_eq!(tokens.whose(ben.token.as_bytes(), now), Some(Whose::Valid("ben".to_owned())));
        }
        let expired = Whose::Expired("ben".to_owned(), day("2026-03-31"));
        assert_eq!(tokens.whose(ben.token.as_bytes(), late), Some(expired));
        for other in [&ana.token[..67], "", &ana.line[4..68], &format!("{}0", *ana.token)] {
            assert_eq!(tokens.whose(other.as_bytes(), early), None, "{other}");
        }
        assert!(!format!("{tokens:?}").contains(&ana.line[4..]), "names alone");
    }

    #[test]
    fn a_line_that_is_taken_out_is_no_token_any_more_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (ana, ben) = (Token::make("ana", None).unwrap(), Token::make("ben", None).unwrap());
        let path = file(folder.path(), &ana.line);
        let tokens = Tokens::load(&path).unwrap();
        std::fs::write(&path, &ben.line).unwrap();
        assert_eq!(tokens.whose(ana.token.as_bytes(), Utc::now()), None);
        std::fs::write(&path, "broken").unwrap();
        assert_eq!(tokens.whose(ben.token.as_bytes(), Utc::now()), Some(Whose::Valid("ben".to_owned())));
    }

    #[test]
    fn what_is_no_line_is_refused_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let hash = "ab".repeat(32);
        for (content, words) in [
            ("ana".to_owned(), ":1: a name or a hash is missing"),
            (format!("# x\nana {hash} 2026-01-01 more"), ":2: there is more than"),
            (format!("a/b {hash}"), ":1: the name has other characters"),
            (format!("ana {}", &hash[1..]), ":1: the hash is not 64"),
            (format!("ana {}zz", &hash[2..]), ":1: the hash is not 64"),
            (format!("ana psi-{hash}"), ":1: here stands a token itself"),
            (format!("ana {hash} tomorrow"), ":1: the date is none"),
            (format!("ana {hash}\nben {hash}"), ":2: this hash stands on an earlier line"),
        ] {
            let error = Tokens::load(&file(folder.path(), &content)).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        for name in ["", "a b", "ä", &"x".repeat(65)] {
            assert!(Token::make(name, None).is_err(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), &Token::make("ana", None).unwrap().line);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Tokens::load(&path).err().unwrap().to_string();
        assert!(error.contains("a list of analysts' tokens") && error.contains("chmod 600"), "{error}");
    }
}
