//! `CREATE EXTERNAL TABLE t STORED AS PSI LOCATION 'grpc+tls://HOST:PORT/TABLE' OPTIONS (…)`: a peer's table under a name of
//! one's own.
//!
//! A peer that the policy names, by this address, is asked as ever. Another one has to be described: `psi.name`, and
//! `psi.certificate` (or plain text on loopback); it is asked on the terms of `[[ask]] of = ["*"]`, and where the policy
//! has none, it is not. What the table's columns are, the peer says.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::CreateExternalTable;

use super::asker::Asker;
use super::catalog::PeerTable;
use super::error::to_datafusion;
use crate::policy::UnnamedPeer;
use crate::psi::Error;
use crate::transport::offload;

/// The options, without their prefix.
const NAME: &str = "psi.name";
const CERTIFICATE: &str = "psi.certificate";

/// Makes the tables of one party's session.
#[derive(Debug)]
pub(super) struct PsiTableFactory(pub(super) Arc<Asker>);

#[async_trait]
impl TableProviderFactory for PsiTableFactory {
    async fn create(&self, _state: &dyn Session, command: &CreateExternalTable) -> Result<Arc<dyn TableProvider>> {
        let wanted = Wanted::read(command)?;
        let asker = Arc::clone(&self.0);
        let named = asker.party().peers.iter().find(|peer| peer.address == wanted.address);
        let (asker, peer) = match (named, wanted.name) {
            (Some(peer), name) if name.as_ref().is_none_or(|name| *name == peer.name) => {
                let name = peer.name.clone();
                (asker, name)
            }
            (Some(peer), _) => {
                return refused(format!(
                    "the policy calls the peer at {} '{}'; leave {NAME} out",
                    wanted.address, peer.name
                ));
            }
            (None, None) => {
                return refused(format!(
                    "this party's policy names no peer at {}: say who it is, by OPTIONS ({NAME} 'NAME', {CERTIFICATE} 'FILE.pem')",
                    wanted.address
                ));
            }
            (None, Some(name)) => {
                let peer = UnnamedPeer { name: name.clone(), address: wanted.address, certificate: wanted.certificate };
                let extended = offload::block(move || asker.unnamed(&peer)).await.and_then(|asker| asker);
                (extended.map_err(to_datafusion)?, name)
            }
        };
        let catalog = asker.catalog(&peer).map_err(to_datafusion)?;
        let shared = catalog.share(&wanted.table).await.map_err(to_datafusion)?;
        let shared = shared.ok_or_else(|| {
            let known = catalog.known_tables();
            let known = if known.is_empty() { "no table".to_owned() } else { known.join(", ") };
            let table = &wanted.table;
            to_datafusion(Error::Refused(format!(
                "peer '{peer}' shares no table '{table}' with this party; it shares: {known}"
            )))
        })?;
        Ok(Arc::new(PeerTable::new(peer, shared)))
    }
}

/// What a statement asks for.
struct Wanted {
    address: String,
    table: String,
    name: Option<String>,
    certificate: Option<PathBuf>,
}

impl Wanted {
    fn read(command: &CreateExternalTable) -> Result<Self> {
        let [location] = command.locations.as_slice() else {
            return refused("a peer's table has one LOCATION: 'grpc+tls://HOST:PORT/TABLE'");
        };
        if !command.schema.fields().is_empty()
            || !command.table_partition_cols.is_empty()
            || !command.order_exprs.is_empty()
        {
            return refused(
                "a peer's table has the columns that the peer shares: leave columns, PARTITIONED BY and ORDER out",
            );
        }
        let parts = location.split_once("://").and_then(|(scheme, rest)| {
            let (host, table) = rest.split_once('/')?;
            Some((format!("{scheme}://{host}"), table)).filter(|_| !table.is_empty() && !table.contains('/'))
        });
        let Some((address, table)) = parts else {
            return refused(format!("'{location}' names no table of a peer: write 'grpc+tls://HOST:PORT/TABLE'"));
        };
        let (mut name, mut certificate) = (None, None);
        let mut options: Vec<_> = command.options.iter().collect();
        options.sort();
        for (option, value) in options {
            match option.as_str() {
                NAME => name = Some(value.clone()),
                CERTIFICATE => certificate = Some(PathBuf::from(value)),
                other => {
                    let other = other.strip_prefix("format.").unwrap_or(other);
                    return refused(format!(
                        "a peer's table has no option '{other}'; there are {NAME} and {CERTIFICATE}"
                    ));
                }
            }
        }
        if certificate.is_some() && name.is_none() {
            return refused(format!("{CERTIFICATE} belongs to a peer that {NAME} names"));
        }
        Ok(Wanted { address, table: table.to_owned(), name, certificate })
    }
}

fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(DataFusionError::Plan(reason.into()))
}
