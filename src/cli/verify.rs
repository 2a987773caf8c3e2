//! `datafusion-psi verify`: what an auditor would ask for. Receipts that both parties have signed, checked offline.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::policy::{Budgets, Direction, Party, SystemClock};
use crate::psi::{Receipt, Role, SignedReceipt, Verifier, escaped, hex_of};
use crate::sql::Keys;
use crate::transport::tls::{self, Credentials, Pins};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A party's party.toml: every receipt of its ledger is checked, by its own certificate and the pinned ones.
    #[arg(long, value_name = "FILE", required_unless_present = "receipt")]
    config: Option<PathBuf>,
    /// Write the receipts that are checked into this folder: SESSION.json each.
    #[arg(long, value_name = "DIR", requires = "config")]
    export: Option<PathBuf>,
    /// A certificate that a party (this one or a peer) had before, for receipts from then: NAME=PEM, as often as needed.
    #[arg(long, value_name = "NAME=PEM", requires = "config", value_parser = replaced)]
    replaced: Vec<(String, PathBuf)>,
    /// A receipt that was exported, in place of a ledger.
    #[arg(long, value_name = "FILE", conflicts_with = "config", requires = "requester", requires = "responder")]
    receipt: Option<PathBuf>,
    /// The certificate of the party that asked.
    #[arg(long, value_name = "PEM")]
    requester: Option<PathBuf>,
    /// The certificate of the party that answered.
    #[arg(long, value_name = "PEM")]
    responder: Option<PathBuf>,
}

/// A receipt as a file: text and both signatures, in hexadecimal.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Exported {
    receipt: String,
    requester_signature: String,
    responder_signature: String,
}

/// Checks one receipt, or all of a ledger.
pub(super) fn run(arguments: &VerifyArguments) -> anyhow::Result<()> {
    match (&arguments.receipt, &arguments.requester, &arguments.responder) {
        (Some(file), Some(requester), Some(responder)) => one(file, requester, responder),
        _ => all(arguments),
    }
}

/// A certificate as it was read, for one signature.
struct Certificate(Vec<u8>);

impl Verifier for Certificate {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), crate::psi::Error> {
        tls::verify(&self.0, message, signature)
    }
}

/// Reads `NAME=PEM`.
fn replaced(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("write the party's name, an equals sign and the file, as in shop=tls/shop-2025.pem".to_owned()),
    }
}

/// Who may have signed: the parties' certificates of today, and those that they had before.
struct Known {
    name: String,
    own: Arc<Credentials>,
    pins: Arc<Pins>,
    before: Vec<(String, Certificate)>,
}

impl Known {
    fn new(party: &Party, arguments: &VerifyArguments) -> anyhow::Result<Self> {
        let Keys { own, pins } = Keys::of(party)?;
        let own = own.with_context(|| {
            format!("{} names no certificate, so no receipt of this party was ever signed", party.file.display())
        })?;
        let mut before = Vec::new();
        for (name, file) in &arguments.replaced {
            ensure!(
                *name == party.name || party.peer(name).is_some(),
                "'{name}' is neither '{}' nor a peer in {}",
                party.name,
                party.file.display()
            );
            before.push((name.clone(), Certificate(tls::read_certificate(file)?)));
        }
        Ok(Known { name: party.name.clone(), own, pins, before })
    }

    /// Whether `party` has signed: by a certificate of today, or by one that it had before.
    fn verify(&self, party: &str, message: &[u8], signature: &[u8]) -> anyhow::Result<()> {
        let today = if party == self.name {
            tls::verify(&self.own.certificate(), message, signature).map_err(|error| error.to_string())
        } else {
            self.pins.verify(party, message, signature).map(drop).map_err(|error| error.to_string())
        };
        let Err(error) = today else { return Ok(()) };
        let mut before = self.before.iter().filter(|(name, _)| name == party);
        if before.any(|(_, certificate)| certificate.verify(message, signature).is_ok()) {
            return Ok(());
        }
        bail!("{error}; if '{party}' had another certificate then, name it: --replaced {party}=PEM")
    }
}

fn one(file: &PathBuf, requester: &PathBuf, responder: &PathBuf) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let exported: Exported =
        serde_json::from_str(&text).with_context(|| format!("{} is no exported receipt", file.display()))?;
    let receipt = Receipt::parse(&exported.receipt)?;
    for (role, certificate, signature) in [
        (Role::Requester, requester, &exported.requester_signature),
        (Role::Responder, responder, &exported.responder_signature),
    ] {
        let certificate = Certificate(tls::read_certificate(certificate)?);
        let signature =
            bytes(signature).with_context(|| format!("{} holds a signature that is none", file.display()))?;
        receipt.verify(role, &signature, &certificate)?;
    }
    summary(&receipt)?;
    writeln!(std::io::stdout(), "Both signatures are by the keys of these certificates.")?;
    Ok(())
}

fn all(arguments: &VerifyArguments) -> anyhow::Result<()> {
    let config = arguments.config.as_ref().context("a party.toml or a receipt is needed")?;
    let party = Party::load(config)?;
    let known = Known::new(&party, arguments)?;
    let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
    budgets.verify_chains()?;
    let (mut verified, mut unsigned) = (0, 0);
    let mut broken = Vec::new();
    for row in budgets.sessions()? {
        let released = row.ended.as_ref().and_then(|ended| ended.receipt.as_ref().map(|receipt| (ended, receipt)));
        let Some((ended, stored)) = released else {
            unsigned += 1;
            continue;
        };
        let asked = row.charged.direction == Some(Direction::Asking);
        match check(stored, asked, &ended.peer, &known) {
            Ok(receipt) => {
                verified += 1;
                if let Some(folder) = &arguments.export {
                    export(folder, &receipt, stored, asked)?;
                }
            }
            Err(error) => broken.push(format!(
                "session {}: {error:#}",
                row.charged.session.map_or_else(String::new, |id| id.to_string())
            )),
        }
    }
    for line in &broken {
        eprintln!("{line}");
    }
    ensure!(broken.is_empty(), "{} of {} receipts do not hold", broken.len(), verified + broken.len());
    writeln!(
        std::io::stdout(),
        "{verified} receipts hold, by both parties' signatures; {unsigned} sessions have no release, or none yet. The ledger is whole."
    )?;
    Ok(())
}

fn check(stored: &SignedReceipt, asked: bool, peer: &str, known: &Known) -> anyhow::Result<Receipt> {
    let receipt = Receipt::parse(&stored.text)?;
    let (mine, theirs) = if asked { (Role::Requester, Role::Responder) } else { (Role::Responder, Role::Requester) };
    known.verify(&known.name, &receipt.message(mine), &stored.own_signature)?;
    known.verify(peer, &receipt.message(theirs), &stored.peer_signature)?;
    Ok(receipt)
}

fn export(folder: &PathBuf, receipt: &Receipt, stored: &SignedReceipt, asked: bool) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    let (own, peer) = (hex_of(&stored.own_signature), hex_of(&stored.peer_signature));
    let (requester_signature, responder_signature) = if asked { (own, peer) } else { (peer, own) };
    let exported = Exported { receipt: stored.text.clone(), requester_signature, responder_signature };
    let path = folder.join(format!("{}.json", receipt.session()));
    std::fs::write(&path, serde_json::to_string_pretty(&exported)? + "\n")
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn summary(receipt: &Receipt) -> anyhow::Result<()> {
    let (offer, mut out) = (receipt.offer(), std::io::stdout().lock());
    let shown = |text: &str| escaped(text, usize::MAX);
    let asked: Vec<String> = offer.question.aggregates.iter().map(ToString::to_string).collect();
    writeln!(out, "Session {}: {} asked {}.", receipt.session(), offer.requester, offer.responder)?;
    writeln!(
        out,
        "Table {}, matched by {}; {}; filter {}.",
        shown(&offer.question.table),
        shown(&offer.question.identifiers.join(", ")),
        shown(&asked.join(", ")),
        shown(offer.question.filter.as_deref().unwrap_or("none"))
    )?;
    writeln!(out, "Noisy numbers of matches: {:?}.", receipt.sizes())?;
    Ok(())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_back_and_nothing_else_is() {
        assert_eq!(bytes(&hex_of(&[0, 1, 0xab, 0xff])).unwrap(), [0, 1, 0xab, 0xff]);
        for text in ["0", "0g", "+1", "é0"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
