//! Planning's pieces, put into a session.

use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::SessionContext;

use super::asker::Asker;
use super::books::{self, BooksSchema};
use super::catalog::{PeerCatalog, PeerSchema};
use super::config::PsiConfig;
use super::external::PsiTableFactory;
use super::functions::{PrivateAggregatePlanner, private_aggregates};
use super::identifiers::identifier_functions;
use super::rule::{PsiGuard, PsiRule};

/// Adds to a session what planning private queries needs: the settings `psi.…`, the functions, one schema
/// of the default catalog per peer, the rule and its guard. What executes the planned queries is another matter:
/// without a planner for [`PrivateQuery`](super::PrivateQuery) they end in an error.
///
/// Call it once, after any rules of your own: the rule has to be the analyzer's last.
///
/// # Errors
/// If a peer's name is that of a schema that exists already, or the default catalog takes no schemas.
pub fn register(ctx: &SessionContext, peers: Vec<Arc<dyn PeerCatalog>>) -> Result<()> {
    let catalog = default_catalog(ctx)?;
    for peer in peers {
        let name = peer.name().to_owned();
        if catalog.schema(&name).is_some() || name == "information_schema" {
            return Err(DataFusionError::Configuration(format!(
                "peer '{name}' would hide the schema of that name; give the peer another name"
            )));
        }
        catalog.register_schema(&name, Arc::new(PeerSchema::new(peer)))?;
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
/// If the session has a schema of that name already.
pub fn register_books(ctx: &SessionContext, asker: &Arc<Asker>) -> Result<()> {
    let catalog = default_catalog(ctx)?;
    if catalog.schema(books::SCHEMA).is_some() {
        return Err(DataFusionError::Configuration(format!(
            "the session has a schema '{}' already, where this party's budget and audit would be",
            books::SCHEMA
        )));
    }
    catalog.register_schema(books::SCHEMA, Arc::new(BooksSchema(Arc::clone(asker))))?;
    Ok(())
}
