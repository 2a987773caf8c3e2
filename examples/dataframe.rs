//! Without SQL: the same private aggregate by DataFusion's DataFrame API.
//!
//! `cargo run --example dataframe`

mod two_parties;

use std::error::Error;

use datafusion::common::JoinType;
use datafusion::prelude::{CsvReadOptions, SessionContext, col, lit};
use datafusion_psi::register_all;
use datafusion_psi::sql::{private_intersect_avg, private_intersect_count, private_intersect_sum, psi_error};
use two_parties::TwoParties;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parties = TwoParties::start().await?;
    let mut ctx = SessionContext::new();
    register_all(&mut ctx, parties.asker()?)?;

    let file = parties.file("publisher", "impressions.csv");
    let impressions = ctx.read_csv(file.to_string_lossy().as_ref(), CsvReadOptions::new()).await?.alias("i")?;
    let purchases = ctx.table("advertiser.purchases").await?.alias("p")?;
    let answer = impressions
        .filter(col("i.campaign").eq(lit("spring")))?
        .join(purchases, JoinType::Inner, &["i.email"], &["p.email"], None)?
        .filter(col("p.category").eq(lit("books")))?
        .aggregate(
            vec![],
            vec![
                private_intersect_count(lit(1)).alias("buyers"),
                private_intersect_sum(col("p.amount")).alias("revenue"),
                psi_error(private_intersect_sum(col("p.amount")))?.alias("plus_minus"),
                private_intersect_avg(col("p.amount")).alias("mean_sale"),
            ],
        )?;
    answer.show().await?;
    Ok(())
}
