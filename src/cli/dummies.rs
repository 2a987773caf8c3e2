//! `datafusion-psi dummies`: τ for a budget, and what it costs.

use std::io::Write;

use anyhow::Context;
use clap::Args;

use crate::dp;

/// Arguments of `dummies`.
#[derive(Debug, Args)]
pub(super) struct DummiesArguments {
    /// Identifiers that a query may match by (K, 1 to 8).
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    ids: u8,
    /// Rows of the larger table (N): delta defaults to 1 / (10 N).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Queries that the budget allows (T).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    queries: u64,
    /// Epsilon of all queries together.
    #[arg(long)]
    epsilon: f64,
    /// Delta of all queries together.
    #[arg(long)]
    delta: Option<f64>,
}

/// Prints τ on its own line to stdout, and to stderr what it means.
pub(super) fn run(arguments: &DummiesArguments) -> anyhow::Result<()> {
    let DummiesArguments { ids, rows, queries, epsilon, delta } = *arguments;
    let delta = delta.unwrap_or_else(|| dp::default_delta(rows));
    let compositions = u64::from(ids)
        .checked_mul(queries)
        .with_context(|| format!("--queries is {queries}: more than can be composed"))?;
    let dummies = dp::dummies(compositions, epsilon, delta)?;
    writeln!(std::io::stdout(), "{dummies}")?;

    let added = u64::from(ids) * dummies;
    let columns = if ids == 1 { "1 identifier".to_owned() } else { format!("{ids} identifiers") };
    let mut err = std::io::stderr();
    writeln!(
        err,
        "{dummies} dummies per identifier and party, for {columns}, {queries} queries, epsilon {epsilon}, delta {delta:.1e}:"
    )?;
    writeln!(
        err,
        "  each party adds {added} entries to every query, {:.3} % of {rows} rows",
        100.0 * added as f64 / rows as f64
    )?;
    writeln!(
        err,
        "  the matched size that either party sees is off by ±{} per identifier, 19 times out of 20",
        dp::size_noise_95(dummies)
    )?;
    writeln!(
        err,
        "  about {:.1} kB more each way and {:.2} s more of one core for each party and query",
        added as f64 * (32.0 * f64::from(ids) + 12.0) / 1000.0,
        added as f64 * 60e-6 * f64::from(ids)
    )?;
    Ok(())
}
