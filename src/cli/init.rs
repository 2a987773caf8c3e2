//! `datafusion-psi init NAME`: a party's folder, with keys, a commented party.toml and an empty ledger.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::policy::{Budgets, Party, sample};
use crate::transport::tls;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The party's name: lower-case letters, digits and '_', as SQL reads it without quotes.
    name: String,
    /// Where its folder goes; a folder of the party's name here, if left out.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Makes the folder and says what comes next; overwrites nothing.
pub(super) fn run(arguments: &InitArguments) -> anyhow::Result<()> {
    let folder = arguments.folder.clone().unwrap_or_else(|| PathBuf::from(&arguments.name));
    let made = make(&arguments.name, &folder)?;
    let (shown, mut out) = (folder.display(), std::io::stdout().lock());
    writeln!(out, "{}: what '{}' has, shares and asks. Read it and change it.", made.config.display(), arguments.name)?;
    writeln!(out, "{}: its certificate. Give this file to each peer.", made.certificate.display())?;
    writeln!(out, "{}: its private key. Give this to nobody.", made.key.display())?;
    writeln!(out, "{shown}/state/: its ledger of what was asked, and what that has cost. Never restore an old copy.")?;
    writeln!(out, "{shown}/data/: for its tables.")?;
    writeln!(out)?;
    writeln!(out, "The certificate's fingerprint, for each peer to compare by telephone, say:")?;
    writeln!(out, "  sha256:{}", made.fingerprint)?;
    writeln!(out, "Next: put each peer's certificate into {shown}/tls/, fit party.toml, then run")?;
    writeln!(out, "  datafusion-psi check --config {}", made.config.display())?;
    Ok(())
}

/// What was made.
struct Made {
    config: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    fingerprint: String,
}

fn make(name: &str, folder: &Path) -> anyhow::Result<Made> {
    let config = folder.join("party.toml");
    let text = sample(name);
    // Read before the first file is written: a name that cannot be one leaves nothing behind.
    let party = Party::parse(&text, &config)?;
    if config.exists() {
        bail!("{} exists already, and is not overwritten: choose another --folder", config.display());
    }
    // The two that hold secrets are for their owner alone.
    for (part, mode) in [("tls", 0o700), ("state", 0o700), ("data", 0o755)] {
        make_folder(&folder.join(part), mode)?;
    }
    let (certificate, key) = tls::write(&folder.join("tls"), name)?;
    let fingerprint = tls::fingerprint(&tls::Credentials::load(&certificate, &key)?.certificate());
    let mut file = File::create_new(&config).with_context(|| format!("{} cannot be written", config.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", config.display()))?;
    Budgets::create(&party)?;
    Ok(Made { config, certificate, key, fingerprint })
}

fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(path).with_context(|| format!("the folder {} cannot be made", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once_and_its_secrets_are_the_owners() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("advertiser");
        let made = make("advertiser", &folder).unwrap();
        let text = std::fs::read_to_string(&made.config).unwrap();
        assert!(text.contains("name = \"advertiser\""), "{text}");
        // A token is an analyst's, not the party's.
        assert!(text.contains("`datafusion-psi token ANALYST`") && !text.contains("NAME"), "{text}");
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed.keys().collect::<Vec<_>>(), ["party", "server"]);
        for file in ["certificate", "key"] {
            assert!(folder.join(parsed["server"][file].as_str().unwrap()).is_file());
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&made.key), 0o600);
            assert_eq!((mode(&folder.join("tls")), mode(&folder.join("state"))), (0o700, 0o700));
        }
        let key = std::fs::read(&made.key).unwrap();
        assert!(make("advertiser", &folder).err().unwrap().to_string().contains("party.toml exists already"));
        std::fs::remove_file(&made.config).unwrap();
        assert!(make("advertiser", &folder).err().unwrap().to_string().contains("advertiser.pem exists already"));
        assert_eq!(std::fs::read(&made.key).unwrap(), key);
    }

    #[test]
    fn names_that_sql_would_not_read_are_refused() {
        let base = tempfile::tempdir().unwrap();
        for name in ["", "A", "2x", "a-b", "a/b", "..", "ä"] {
            assert!(make(name, &base.path().join("x")).is_err(), "{name}");
        }
        assert!(!base.path().join("x").exists());
    }
}
