//! `datafusion-psi serve`: answers peers, and runs SQL for this party's analysts, until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;

use super::stop;
use crate::flight_sql::SqlFront;
use crate::policy::{Budgets, Party, SystemClock};
use crate::sql::PolicySource;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// The party's party.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Serves until SIGTERM or Ctrl-C; running sessions then fail in words, on both sides.
pub(super) async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let party = Arc::new(Party::load(&arguments.config)?);
    let server = party.server.as_ref().with_context(|| {
        format!(
            "{} has no [server], so there is nothing to serve at: add\n[server]\nlisten = \"127.0.0.1:50051\"",
            arguments.config.display()
        )
    })?;
    party.check_files()?;
    let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
    // What cannot be read or does not fit is said before the first peer asks.
    PolicySource::new(Arc::clone(&party), budgets.clone())?.check().await?;
    let listener = TcpListener::bind(server.listen).await.with_context(|| {
        format!("'{}' cannot listen at {}; is another server running there?", party.name, server.listen)
    })?;
    let address = listener.local_addr()?;
    let security = if server.tls.is_some() { "grpc+tls" } else { "grpc" };
    tracing::info!("curve: {}", crate::crypto::kernel_name());
    tracing::info!("'{}' answers at {security}://{address}", party.name);
    let sql = crate::sql_service(&party, budgets.clone())?;
    let peers = crate::peer_server(&party, budgets)?;
    match sql {
        Some(sql) => {
            tracing::info!("'{}' runs SQL there for its analysts", party.name);
            let stopping = sql.clone();
            let stop = async move {
                stop::asked().await;
                stopping.stop();
            };
            peers.serve_behind(listener, stop, |peers| SqlFront::new(peers, sql)).await?;
        }
        None => peers.serve(listener, stop::asked()).await?,
    }
    tracing::info!("'{}' has stopped", party.name);
    Ok(())
}
