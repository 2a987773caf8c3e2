//! `datafusion-psi check`: whether a party's files fit together, and what its policy means, in sentences.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::policy::{Budgets, Party, SystemClock, explain};
use crate::sql::{Asker, Keys, PolicySource};

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
    let keys = Keys::of(&party).map_err(|error| error.to_string());
    if let Err(error) = &keys {
        // Of a file that is not there, or that others may read, it has been said above.
        let own = party.own_tls.iter().flat_map(|files| [&files.certificate, &files.key]);
        let mut named = own.chain(party.peers.iter().flat_map(|peer| &peer.certificates));
        let said = named.any(|file| {
            let file = file.display().to_string();
            error.contains(&file) && problems.iter().any(|problem| problem.contains(&format!("'{file}'")))
        });
        if !said {
            problems.push(error.clone());
        }
    }
    let keys_fit = keys.is_ok();
    let tables = if keys_fit { Arc::clone(&party) } else { Arc::new(without_keys(&party)) };
    let source = PolicySource::new(tables, budgets.clone())?;
    let mut rows = BTreeMap::new();
    for share in &party.shares {
        let counted = match source.check_share(share).await {
            Ok(()) => source.count_rows(&share.table).await,
            Err(error) => Err(error),
        };
        match counted {
            Ok(count) => {
                rows.insert(share.table.clone(), count);
            }
            Err(error) => {
                let line = super::print::error_line(&error.into());
                // Two shares may be of one table.
                if !problems.contains(&line) {
                    problems.push(line);
                }
            }
        }
    }
    // What is not there has been said above.
    let named = party.server.iter().flat_map(|server| server.clients.iter().chain(&server.tokens));
    if keys_fit
        && named.clone().all(|file| file.is_file())
        && let Err(error) = crate::sql_service(&party, budgets.clone())
    {
        problems.push(error.to_string());
    }
    let mut out = std::io::stdout();
    for line in explain(&party, &rows) {
        writeln!(out, "{line}")?;
    }
    if arguments.peers && keys_fit {
        for (peer, listed) in Asker::new(Arc::clone(&party), budgets)?.ask_all_for_shares().await {
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

/// The same tables and shares, of a party that needs no key: files that are wrong must not hide tables that are.
fn without_keys(party: &Party) -> Party {
    let mut bare = party.clone();
    bare.own_tls = None;
    bare.peers.clear();
    bare
}
