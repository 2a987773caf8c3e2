//! `datafusion-psi ledger`: making, checking and vouching for the durable books.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::policy::{Budgets, Party, SystemClock};

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub(super) struct LedgerArguments {
    /// The party's party.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Make a new, empty ledger: for a new party alone. One that exists is never touched.
    #[arg(long)]
    create: bool,
    /// Accept that this peer's ledger is not the one that it was: after its operator has told you why.
    #[arg(long, value_name = "PEER", conflicts_with = "create")]
    forgive: Option<String>,
}

/// Makes a ledger, or checks every chain of the one that there is.
pub(super) fn run(arguments: &LedgerArguments) -> anyhow::Result<()> {
    let party = Party::load(&arguments.config)?;
    let mut out = std::io::stdout().lock();
    if arguments.create {
        Budgets::create(&party)?;
        writeln!(out, "'{}' has a new, empty ledger in {}.", party.name, party.state.display())?;
        return Ok(());
    }
    let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
    if let Some(peer) = &arguments.forgive {
        anyhow::ensure!(party.peer(peer).is_some(), "{} names no peer '{peer}'", arguments.config.display());
        budgets.forgive_chain(peer)?;
        writeln!(out, "The next ledger that '{peer}' shows is taken as its own.")?;
        return Ok(());
    }
    let chains = budgets.verify_chains()?;
    for chain in &chains {
        writeln!(out, "{}: {} events, each linked to the one before.", chain.peer, chain.head.seq)?;
    }
    writeln!(out, "The ledger of '{}' is whole.", party.name)?;
    Ok(())
}
