//! Planning's pieces, put into a session.

use std::any::Any;
use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::SessionContext;

use super::asker::Asker;
use super::books::{self, BooksSchema};
use super::catalog::PeerSchema;
use super::config::PsiConfig;
use super::external::PsiTableFactory;
use super::functions::{PrivateAggregatePlanner, private_aggregates};
use super::identifiers::identifier_functions;
use super::rule::{PsiGuard, PsiRule};

/// Adds to a session what planning private queries needs: the settings `psi.…`, the functions, one schema
/// of the default catalog per peer, the rule and its guard. What executes the planned queries is another matter:
/// without a planner for [`PrivateQuery`](super::PrivateQuery) they end in an error.
///
/// Call it once per session, after any rules of your own: the rule has to be the analyzer's last. Sessions may share a
/// catalog, which then holds the schemas from the first of them on.
///
/// # Errors
/// If a peer's name is that of another schema, or the default catalog takes no schemas; the session is unchanged then.
pub fn register(ctx: &SessionContext, peers: Vec<Arc<PeerSchema>>) -> Result<()> {
    let catalog = default_catalog(ctx)?;
    let mut new = Vec::with_capacity(peers.len());
    for peer in peers {
        let name = peer.peer_name().to_owned();
        match catalog.schema(&name) {
            Some(there) if std::ptr::addr_eq(Arc::as_ptr(&there), Arc::as_ptr(&peer)) => {}
            None if name != "information_schema" => new.push((name, peer)),
            _ => {
                return Err(DataFusionError::Configuration(format!(
                    "peer '{name}' would hide the schema of that name; give the peer another name"
                )));
            }
        }
    }
    for (name, peer) in new {
        catalog.register_schema(&name, peer)?;
    }
    let state = ctx.state_ref();
    let mut state = state.write();
    let extensions = &mut state.config_mut().options_mut().extensions;
    if extensions.get::<PsiConfig>().is_none() {
        extensions.insert(PsiConfig::default());
    }
    for function in private_aggregates() {
        state.register_udaf(function)?;
    }
    for function in identifier_functions() {
        state.register_udf(function)?;
    }
    state.register_expr_planner(Arc::new(PrivateAggregatePlanner))?;
    state.add_analyzer_rule(Arc::new(PsiRule));
    drop(state);
    ctx.add_optimizer_rule(Arc::new(PsiGuard));
    Ok(())
}

fn default_catalog(ctx: &SessionContext) -> Result<Arc<dyn CatalogProvider>> {
    let name = ctx.copied_config().options().catalog.default_catalog.clone();
    ctx.catalog(&name).ok_or_else(|| {
        DataFusionError::Configuration(format!("the session has no catalog '{name}', which is its default one"))
    })
}

/// Adds `CREATE EXTERNAL TABLE … STORED AS PSI`: peers' tables under names of one's own, and peers that the policy lets
/// analysts name.
pub fn register_external_tables(ctx: &SessionContext, asker: &Arc<Asker>) {
    let factory = Arc::new(PsiTableFactory(Arc::clone(asker)));
    ctx.state_ref().write().table_factories_mut().insert("PSI".to_owned(), factory);
}

/// Adds the schema `psi`: this party's budget, audit, shares and peers as tables.
///
/// # Errors
/// If the session has another schema of that name.
pub fn register_books(ctx: &SessionContext, asker: &Arc<Asker>) -> Result<()> {
    if !has_books(ctx, asker)? {
        default_catalog(ctx)?.register_schema(books::SCHEMA, Arc::new(BooksSchema(Arc::clone(asker))))?;
    }
    Ok(())
}

/// Whether this party's books are there already, from a session with the same catalog.
///
/// # Errors
/// If something else is in their place.
pub(crate) fn has_books(ctx: &SessionContext, asker: &Arc<Asker>) -> Result<bool> {
    let Some(there) = default_catalog(ctx)?.schema(books::SCHEMA) else { return Ok(false) };
    let there: &dyn Any = there.as_ref();
    if there.downcast_ref::<BooksSchema>().is_some_and(|there| Arc::ptr_eq(&there.0, asker)) {
        return Ok(true);
    }
    Err(DataFusionError::Configuration(format!(
        "the session has a schema '{}' already, where this party's budget and audit would be",
        books::SCHEMA
    )))
}
