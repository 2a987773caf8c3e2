//! One line more: private queries in a plain `SessionContext`.
//!
//! `cargo run --example session`

mod two_parties;

use std::error::Error;

use datafusion::prelude::{CsvReadOptions, SessionContext};
use datafusion_psi::register_all;
use two_parties::TwoParties;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parties = TwoParties::start().await?;

    let mut ctx = SessionContext::new();
    let impressions = parties.file("publisher", "impressions.csv");
    ctx.register_csv("impressions", impressions.to_string_lossy(), CsvReadOptions::new()).await?;
    // The line: names, functions, rule and planner.
    register_all(&mut ctx, parties.asker()?)?;

    // Nothing runs yet, and nobody is told anything but that the terms were read.
    let question = "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue,
                           psi_error(PRIVATE_INTERSECT_SUM(p.amount)) AS plus_minus
                    FROM impressions i JOIN advertiser.purchases p ON i.email = p.email
                    WHERE p.category = 'toys'";
    ctx.sql(&format!("EXPLAIN {question}")).await?.show().await?;
    // Now it does: one session, one charge in both ledgers, one noisy row.
    ctx.sql(question).await?.show().await?;
    // What that has cost.
    ctx.sql("SELECT peer, population, queries_spent, queries_left FROM psi.budget").await?.show().await?;
    Ok(())
}
