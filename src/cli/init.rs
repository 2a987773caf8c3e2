//! `datafusion-psi init NAME`: a party's folder, with keys, a commented party.toml and an empty ledger.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::policy::{Budgets, Party, sample};
use crate::transport::tls;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The party's name: letters, digits and '_'. Its peers know it by this name.
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
    // Checked before the first file is written: a name that cannot be one leaves nothing behind.
    let text = sample(name);
    let party = Party::parse(&text, &policy)?;
    let keys = write_keys(&root, name)?;
    let data = root.join("data");
    fs::create_dir_all(&data).with_context(|| format!("{} cannot be created", data.display()))?;
    write_new(&policy, text.as_bytes(), false)?;
    Budgets::create(&party)?;
    let shown = root.display();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{shown}/party.toml       what '{name}' has, shares and asks: read it and change it")?;
    writeln!(out, "{shown}/tls/{name}.pem   its certificate: give this file to each peer")?;
    writeln!(out, "{shown}/tls/{name}.key   its private key: give this to nobody")?;
    writeln!(out, "{shown}/state/           its ledger: what was asked, and what that has cost")?;
    writeln!(out, "{shown}/data/            for its tables")?;
    writeln!(out)?;
    writeln!(out, "certificate sha256 {}", keys.fingerprint)?;
    writeln!(out, "Compare it with each peer by telephone, or as you would compare a bank account's number.")?;
    writeln!(out, "Then: datafusion-psi check --config {shown}/party.toml")?;
    Ok(())
}

/// A party's fresh keys.
pub(super) struct Keys {
    /// SHA-256 of the certificate, in hexadecimal.
    pub(super) fingerprint: String,
}

/// Writes `tls/NAME.pem` and `tls/NAME.key`, the key for its owner's eyes only.
///
/// # Errors
/// If either file exists: a key that is in use must not be lost.
pub(super) fn write_keys(root: &Path, name: &str) -> anyhow::Result<Keys> {
    let folder = root.join("tls");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    for file in [&certificate, &key] {
        if file.exists() {
            bail!("{} exists already; move it away if it is no longer in use", file.display());
        }
    }
    let made = tls::make(name, tls::VALIDITY)?;
    write_new(&key, made.key_pem.as_bytes(), true)?;
    write_new(&certificate, made.certificate_pem.as_bytes(), false)?;
    Ok(Keys { fingerprint: made.fingerprint })
}

/// Writes a file that must not exist yet; a secret one with mode 0600 from its first byte on.
fn write_new(path: &Path, bytes: &[u8], secret: bool) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut file = options.open(path).with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("{} cannot be written", path.display()))
}
