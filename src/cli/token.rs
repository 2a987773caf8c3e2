//! `datafusion-psi token NAME`: a bearer token for an analyst, printed once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::NaiveDate;
use clap::Args;

use crate::transport::tls::{Token, Tokens};

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// The analyst's name: letters, digits, '_', '-', '.' and '@'.
    name: String,
    /// Its last day (UTC); for ever, if left out.
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<NaiveDate>,
    /// Add its line to this file, the one that `tokens` of [server] names; else the line is printed too.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Prints the token alone to stdout, and what to do with it to stderr.
pub(super) fn run(arguments: &TokenArguments) -> anyhow::Result<()> {
    let made = Token::make(&arguments.name, arguments.until)?;
    match &arguments.file {
        Some(file) => {
            append(file, &made.line)?;
            eprintln!("{} has a line for it: the server reads that file again by itself.", file.display());
        }
        None => {
            eprintln!("Add this line to the file that `tokens` of [server] names (mode 600):");
            eprintln!("{}", made.line);
        }
    }
    eprintln!("The token, which is kept nowhere: give it to '{}' alone.", arguments.name);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", *made.token)?;
    Ok(out.flush()?)
}

/// Adds a line to a file of tokens, which is made if it is not there; one that holds something else stays as it is.
fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let shown = path.display();
    if path.exists() {
        Tokens::load(path)?;
    }
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("{shown} cannot be written"))?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let break_first = if last == *b"\n" { "" } else { "\n" };
    // One write: what another process appends at the same time stands before or after it.
    file.write_all(format!("{break_first}{line}\n").as_bytes())
        .with_context(|| format!("{shown} cannot be written"))?;
    file.sync_all()?;
    if let Err(error) = Tokens::load(path) {
        bail!("{error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_to_a_file_of_the_owners_alone_and_to_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.txt");
        let line = |name| Token::make(name, None).unwrap().line;
        append(&path, &line("ana")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        append(&path, &line("ben")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let other = folder.path().join("party.toml");
        std::fs::write(&other, "[party]\n").unwrap();
        assert!(append(&other, &line("ana")).is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "[party]\n");
    }
}
