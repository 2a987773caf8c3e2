//! `datafusion-psi approve`: the operator's word for questions that wait for it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::policy::{Approval, Budgets, Party, SystemClock};
use crate::psi::escaped;

/// Arguments of `approve`.
#[derive(Debug, Args)]
pub(super) struct ApproveArguments {
    /// The party's party.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The waiting question's id. Without one, all that wait are listed.
    id: Option<String>,
    /// Take an approval back; what was answered under it stays answered.
    #[arg(long, requires = "id")]
    withdraw: bool,
}

/// Lists what waits, or approves one question: its exact text with its exact terms, for its peer alone.
pub(super) fn run(arguments: &ApproveArguments) -> anyhow::Result<()> {
    let party = Party::load(&arguments.config)?;
    let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
    let mut out = std::io::stdout().lock();
    match &arguments.id {
        None => {
            let pending = budgets.pending()?;
            if pending.is_empty() {
                writeln!(out, "No question waits for approval.")?;
            }
            for approval in pending {
                show(&mut out, &approval)?;
            }
        }
        Some(id) if arguments.withdraw => {
            show(&mut out, &budgets.withdraw(id)?)?;
            writeln!(out, "It will not be answered again before it is approved again.")?;
        }
        Some(id) => {
            show(&mut out, &budgets.approve(id)?)?;
            writeln!(out, "It will be answered, as often as the budget allows, until it is withdrawn.")?;
        }
    }
    Ok(())
}

fn show(out: &mut impl Write, approval: &Approval) -> std::io::Result<()> {
    let asked = approval.asked.format("%Y-%m-%d %H:%M UTC");
    writeln!(out, "{}  {}, first asked {asked}", approval.id, approval.peer)?;
    // A peer wrote the question: nothing of it may steer a terminal.
    for (name, text) in [("question", &approval.question), ("terms", &approval.terms)] {
        writeln!(out, "  {name:<9} {}", escaped(text, usize::MAX))?;
    }
    Ok(())
}
