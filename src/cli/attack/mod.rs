//! `datafusion-psi attack`: what askers could find out about single people under this party's policy, measured before the
//! table is shared.
//!
//! Nothing is asked of anybody and no budget is spent: the attacks are played against what the protocol shows,
//! with the dummies and the noise that the policy gives this table.

mod report;
mod setbias;
mod simulate;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use datafusion::prelude::SessionContext;
use rand_core::SeedableRng;

use crate::crypto::ChaCha20Rng;
use crate::dp::{self, OutputBudget};
use crate::policy::{Party, Period, Share, Sizes};
use crate::sql::open_table;

use report::{Subject, report};
use simulate::{Finding, Privacy, Setting, attack_all};

/// Arguments of `attack`.
#[derive(Debug, Args)]
pub(super) struct AttackArguments {
    /// The party's party.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only the shares of this table.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// The persons of the larger of both tables, in place of the shared table's rows; no table is opened then.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    persons: Option<u64>,
    /// Periods that each attack is played for.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    trials: u64,
    /// Seed of all chance: equal arguments and policies give equal figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Prints a report on every share.
///
/// # Errors
/// If the policy or a table cannot be read, or an attack does better than the budget allows.
pub(super) async fn run(arguments: AttackArguments) -> anyhow::Result<()> {
    let party = Party::load(&arguments.config)?;
    let wanted = |share: &&Share| arguments.table.as_ref().is_none_or(|table| *table == share.table);
    let shares: Vec<&Share> = party.shares.iter().filter(wanted).collect();
    match (&arguments.table, shares.is_empty()) {
        (Some(table), true) => bail!("'{}' shares no table '{table}'", party.name),
        (None, true) => bail!("'{}' shares no table: nobody can ask it anything", party.name),
        _ => {}
    }
    let mut broken = Vec::new();
    for (index, share) in shares.into_iter().enumerate() {
        let persons = match arguments.persons {
            Some(persons) => persons,
            None => rows(&party, share).await?,
        };
        let (share, trials, seed) = (share.clone(), arguments.trials, arguments.seed);
        let subject = Subject {
            table: share.table.clone(),
            peers: share.with.clone(),
            period: period(share.budget.period),
            persons_at_most: arguments.persons.is_none(),
        };
        let (setting, findings) = tokio::task::spawn_blocking(move || {
            let setting = setting(&share, persons)?;
            let findings = attack_all(&setting, trials, &mut ChaCha20Rng::seed_from_u64(seed));
            Ok::<_, anyhow::Error>((setting, findings))
        })
        .await
        .context("the attacks ended before their time")??;
        let mut out = std::io::stdout();
        if index > 0 {
            writeln!(out)?;
        }
        write!(out, "{}", report(&subject, &setting, &findings))?;
        if findings.iter().any(Finding::breaks_bound) {
            broken.push(subject.table);
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        tables => bail!("attacks on {} do better than the budget allows; see above", tables.join(", ")),
    }
}

/// The rows of a shared table: no fewer than its persons. Of N nothing but the default δ depends, and that on two digits.
async fn rows(party: &Party, share: &Share) -> anyhow::Result<u64> {
    let engine = SessionContext::new();
    let locations = party.table(&share.table).map(|table| table.location.as_slice()).unwrap_or_default();
    let opened = open_table(&engine.state(), &share.table, locations).await?;
    let rows = engine.read_table(opened.provider)?.count().await?;
    Ok((rows as u64).max(1))
}

/// What the share's budget makes of a period's queries: as the servers compute it.
fn setting(share: &Share, persons: u64) -> anyhow::Result<Setting> {
    let budget = &share.budget;
    let sizes = match budget.sizes {
        Sizes::Exact => None,
        Sizes::Private { epsilon, delta } => Some(Privacy {
            epsilon: epsilon.to_f64(),
            delta: delta.map_or_else(|| dp::default_delta(persons), |delta| delta.to_f64()),
        }),
    };
    let outputs = match &budget.outputs {
        OutputBudget::Exact => None,
        OutputBudget::Laplace { epsilon } => Some(Privacy { epsilon: epsilon.to_f64(), delta: 0.0 }),
        OutputBudget::Gaussian { epsilon, delta } => Some(Privacy { epsilon: epsilon.to_f64(), delta: delta.to_f64() }),
    };
    let per_query = budget.outputs.per_query(budget.queries)?;
    Ok(Setting {
        persons,
        columns: u32::from(share.columns),
        queries: budget.queries,
        tau: share.dummies(persons)?,
        noise: per_query.word_noise(dp::COUNT_SENSITIVITY, 1),
        minimum_matched: share.minimum_matched,
        sizes,
        outputs,
    })
}

fn period(period: Period) -> &'static str {
    match period {
        Period::Forever => "for good",
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
[party]
name = "advertiser"

[server]
listen = "127.0.0.1:0"
plaintext = true

[[table]]
name = "purchases"
location = "purchases.csv"

[[peer]]
name = "publisher"
address = "grpc://127.0.0.1:1"
plaintext = true

[[share]]
table = "purchases"
with = ["publisher"]
identifiers = { email = "email/1", phone = "phone/1:US", device = "sha256/1" }
[share.budget]
population = "shoppers"
queries = 10
sizes = { epsilon = 2.0 }
outputs = { epsilon = 4.0 }
"#;

    fn of(policy: &str) -> Setting {
        let party = Party::parse(policy, "party.toml").unwrap();
        setting(&party.shares[0], 100_000).unwrap()
    }

    #[test]
    fn a_policy_is_attacked_with_the_dummies_and_noise_that_its_servers_would_use() {
        let setting = of(POLICY);
        // The published value, and scale T/ε.
        assert!(setting.tau.abs_diff(1194) <= 6, "{}", setting.tau);
        assert_eq!(setting.noise.to_string(), "laplace 5/2");
        assert_eq!((setting.columns, setting.queries, setting.minimum_matched), (3, 10, 50));
        assert_eq!(setting.sizes, Some(Privacy { epsilon: 2.0, delta: 1e-6 }));
        assert_eq!(setting.outputs, Some(Privacy { epsilon: 4.0, delta: 0.0 }));
    }

    #[test]
    fn exact_sizes_and_answers_have_no_budget_and_no_noise() {
        let exact = POLICY
            .replace("{ epsilon = 2.0 }", "{ exact = true }")
            .replace("{ epsilon = 4.0 }", "{ noise = \"none\" }");
        let setting = of(&exact);
        assert_eq!((setting.tau, setting.sizes, setting.outputs), (0, None, None));
        assert_eq!(setting.noise, dp::Noise::None);
    }
}
