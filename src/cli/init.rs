//! `datafusion-psi init NAME`: a party's folder, with keys, a commented party.toml and an empty ledger.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::policy::{Budgets, Party, sample};
use crate::transport::tls::{self, Credentials};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The party's name: lower-case letters, digits and '_'. Its peers know it by this name.
    name: String,
    /// Where the folder is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

/// Makes the folder, and says what to do next.
pub(super) fn run(arguments: &InitArguments) -> anyhow::Result<()> {
    let name = &arguments.name;
    let root = arguments.folder.join(name);
    let policy = root.join("party.toml");
    ensure!(!policy.exists(), "{} exists already; nothing was changed", policy.display());
    let text = sample(name);
    // Read before the first file is written: a name that cannot be one leaves nothing behind.
    let party = Party::parse(&text, &policy)?;
    for folder in ["tls", "data"] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    }
    let (certificate, key) = tls::write(&root.join("tls"), name)?;
    let credentials = Credentials::load(&certificate, &key)?;
    let mut file =
        fs::File::create_new(&policy).with_context(|| format!("{} cannot be written", policy.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", policy.display()))?;
    Budgets::create(&party)?;
    let (shown, mut out) = (root.display(), std::io::stdout().lock());
    writeln!(out, "{shown}/party.toml: what '{name}' has, shares and asks. Read it and change it.")?;
    writeln!(out, "{}: its certificate. Give this file to each peer.", certificate.display())?;
    writeln!(out, "{}: its private key. Give this to nobody.", key.display())?;
    writeln!(out, "{shown}/state/: its ledger, of what was asked and what that has cost. Keep it, and back it up.")?;
    writeln!(out, "{shown}/data/: for its tables.")?;
    writeln!(out)?;
    writeln!(out, "The certificate's fingerprint, for each peer to compare by telephone, is")?;
    writeln!(out, "sha256:{}", tls::fingerprint(&credentials.certificate()))?;
    writeln!(out)?;
    writeln!(out, "Next: put each peer's certificate into {shown}/tls/, fit party.toml, then run")?;
    writeln!(out, "  datafusion-psi check --config {shown}/party.toml")?;
    Ok(())
}
