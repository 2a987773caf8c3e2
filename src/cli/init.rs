//! `datafusion-psi init`: a party's folder, with fresh TLS keys and a party.toml to fill in.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

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
    let mut err = std::io::stderr();
    writeln!(err, "{} is made.", folder.display())?;
    writeln!(err, "  {}  is for your peers: hand it over in a way that they can trust.", made.certificate.display())?;
    writeln!(err, "  sha256:{}  is its fingerprint, to be compared by telephone, say.", made.fingerprint)?;
    writeln!(err, "  {}  is its key: it stays here.", made.key.display())?;
    writeln!(err, "  {}  says who may ask what: fill it in, then run", made.config.display())?;
    writeln!(err, "  datafusion-psi check --config {}", made.config.display())?;
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
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 63
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if !plain {
        bail!(
            "'{}' cannot be a party's name: it begins with a lower-case letter and goes on with such, digits and '_', 63 at most",
            name.escape_default()
        );
    }
    let config = folder.join("party.toml");
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
    file.write_all(TEMPLATE.replace("NAME", name).as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", config.display()))?;
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

/// A party that shares nothing yet. What is commented out is an example, not a default.
const TEMPLATE: &str = r#"# Who may ask what of NAME. Paths are relative to this file. `datafusion-psi check` says what it allows.

[party]
name = "NAME"
state = "state/"                        # ledger and audit: back it up, and never restore an old copy

[server]
listen = "127.0.0.1:50051"              # 0.0.0.0:50051 for peers on other machines
certificate = "tls/NAME.pem"            # give this file to your peers
key = "tls/NAME.key"                    # this one to nobody

# [[table]]
# name = "purchases"
# location = "data/purchases/*.parquet"

# A peer is its certificate. To change it without a pause: append the new one to its file, let the peer change
# over, then take the old one out. Running servers read the file again.
# [[peer]]
# name = "publisher"
# address = "grpc+tls://psi.publisher.example:50051"
# certificate = "tls/publisher.pem"

# What NAME answers.
# [[share]]
# table = "purchases"
# with = ["publisher"]
# identifiers = { email = "email/1", phone = "phone/1:US" }
# aggregates = { amount = { min = 0, max = 500, max_rows = 20 } }   # per person: its total clipped, rows counted at most
# filter_on = ["bought_at"]
# minimum_matched = 50
# [share.budget]
# population = "shoppers"                # shares of the same people draw on one account
# queries = 10
# sizes = { epsilon = 2.0 }
# outputs = { epsilon = 4.0 }            # over all queries
# period = "month"                       # or "forever", "day", "week"

# What NAME gives away when it asks.
# [[ask]]
# of = ["publisher"]
# population = "shoppers"
# rows = "pad"
# [ask.budget]
# queries = 100
# sizes = { epsilon = 2.0 }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once_and_its_secrets_are_the_owners() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("advertiser");
        let made = make("advertiser", &folder).unwrap();
        let text = std::fs::read_to_string(&made.config).unwrap();
        assert!(text.contains("name = \"advertiser\"") && !text.contains("NAME"), "{text}");
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
    fn the_example_is_toml_once_its_comments_are_taken_off() {
        let mut text = String::new();
        for line in TEMPLATE.lines() {
            let bare = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || rest.contains(" = "));
            text.push_str(bare.unwrap_or(line));
            text.push('\n');
        }
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed.keys().collect::<Vec<_>>(), ["ask", "party", "peer", "server", "share", "table"]);
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
