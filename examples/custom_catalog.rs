//! A session with a catalog, a `SessionState` and settings of its own: peers join it as schemas of its default catalog.
//!
//! `cargo run --example custom_catalog`

mod two_parties;

use std::error::Error;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use datafusion_psi::session_state;
use two_parties::TwoParties;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parties = TwoParties::start().await?;

    // A warehouse with a schema `media`, where this engine's tables are.
    let warehouse = MemoryCatalogProvider::new();
    warehouse.register_schema("media", Arc::new(MemorySchemaProvider::new()))?;
    let config = SessionConfig::new()
        .with_default_catalog_and_schema("warehouse", "media")
        .with_create_default_catalog_and_schema(false)
        .with_target_partitions(2);
    let builder = SessionStateBuilder::new().with_default_features().with_config(config);
    let before = SessionContext::new_with_state(builder.build());
    before.register_catalog("warehouse", Arc::new(warehouse));

    // The same session, with private queries in it.
    let state = session_state(SessionStateBuilder::new_from_existing(before.state()), parties.asker()?)?;
    let ctx = SessionContext::new_with_state(state);
    let impressions = parties.file("publisher", "impressions.csv");
    ctx.register_csv("impressions", impressions.to_string_lossy(), CsvReadOptions::new()).await?;

    let question = "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers
                    FROM warehouse.media.impressions i JOIN warehouse.advertiser.purchases p ON i.email = p.email";
    ctx.sql(question).await?.show().await?;
    Ok(())
}
