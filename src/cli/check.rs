//! `datafusion-psi check`: whether a party's files fit together, and what its policy means, in sentences.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::policy::{Budgets, Party, SystemClock, explain};
use crate::sql::{Asker, PolicySource};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The party's party.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also connect to every peer, and see whether each side knows the other.
    #[arg(long)]
    peers: bool,
}

/// Checks everything, and says all that is wrong before it ends.
pub(super) async fn run(arguments: CheckArguments) -> anyhow::Result<()> {
    let party = Arc::new(Party::load(&arguments.config)?);
    let mut problems = Vec::new();
    problems.extend(party.missing_files().iter().map(ToString::to_string));
    let budgets = match Budgets::load(&party, Arc::new(SystemClock)) {
        Ok(budgets) => {
            if let Err(error) = budgets.verify_chains() {
                problems.push(error.to_string());
            }
            budgets
        }
        Err(error) => {
            problems.push(error.to_string());
            // The rest is checked all the same; nothing is answered here.
            Budgets::in_memory(&party)
        }
    };
    let source = PolicySource::new(Arc::clone(&party), budgets)?;
    let counted = match source.check().await {
        Ok(()) => source.count_rows().await,
        Err(error) => Err(error),
    };
    let rows = counted.unwrap_or_else(|error| {
        problems.push(super::print::error_line(&error.into()));
        BTreeMap::new()
    });
    // What is not there has been said above.
    let named = party.server.iter().flat_map(|server| server.clients.iter().chain(&server.tokens));
    if named.clone().all(|file| file.is_file())
        && let Err(error) = crate::sql_service(&party, source.budgets().clone())
    {
        problems.push(error.to_string());
    }
    let mut out = std::io::stdout();
    for line in explain(&party, &rows) {
        writeln!(out, "{line}")?;
    }
    if arguments.peers {
        for (peer, listed) in Asker::new(Arc::clone(&party), source.budgets().clone())?.ask_all_for_shares().await {
            match listed {
                Ok(tables) if tables.is_empty() => writeln!(out, "{peer} answers, and shares nothing.")?,
                Ok(tables) => writeln!(out, "{peer} answers, and shares {}.", tables.join(", "))?,
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    match problems.as_slice() {
        [] => {
            writeln!(out, "\nNothing is wrong with {}.", arguments.config.display())?;
            Ok(())
        }
        [only] => bail!("{only}"),
        [first, rest @ ..] => {
            for problem in rest {
                eprintln!("error: {problem}");
            }
            bail!("{first}; and {} more above", rest.len())
        }
    }
}
