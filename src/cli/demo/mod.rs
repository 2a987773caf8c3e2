//! `datafusion-psi demo`: two parties on this machine, three times over, by the real path.
//!
//! Writes each party's folder (Parquet files, party.toml), starts both servers of a story as processes of this binary
//! on loopback, asks every question of sql-examples/ over Arrow Flight as the asking party, and prints each answer
//! beside the truth that plain SQL over both parties' tables gives.

mod ask;
pub mod examples;
mod folder;
mod generate;
mod refusals;
mod report;
mod servers;
mod stories;
mod truth;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use datafusion::prelude::SessionContext;

use self::examples::{EXAMPLES, Example};
use self::generate::{ROWS_MAX, ROWS_MIN};
use self::servers::Server;
use self::stories::{STORIES, Setting, Story};
use crate::cli::print::error_line;
use crate::cli::sql::session;
use crate::cli::stop;
use crate::policy::Party;

/// The same data in every demo.
const SEED: u64 = 2026;
/// Epsilon of the noise on the numbers of matches, over 20 queries of a story.
const EPSILON: f64 = 2.0;
/// What the policies say of the noise on the answers, over the same 20 queries: one epsilon for each.
const OUTPUTS: &str = "{ epsilon = 20.0 }";
/// The least matches of an answered question, where the tables are large enough for one.
const MINIMUM_MATCHED: u64 = 50;
const MINIMUM_FROM_ROWS: u64 = 10_000;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Rows of the largest tables; others have a quarter to a half.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    rows: u64,
    /// Where the parties' folders are written; they stay there.
    #[arg(long, default_value = "demo", value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the demo to its end, or until it is told to stop. No server outlives it.
pub(super) async fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    tokio::select! {
        done = all(&arguments) => done,
        () = stop::asked() => {
            Err(anyhow!("interrupted; the servers are stopped, and the files stay in {}", arguments.folder.display()))
        }
    }
}

/// What is printed goes out at once: a reader follows it.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn all(arguments: &DemoArguments) -> anyhow::Result<()> {
    let DemoArguments { rows, folder } = arguments;
    ensure!((ROWS_MIN..=ROWS_MAX).contains(rows), "--rows is {rows}; the demo's stories need {ROWS_MIN} to {ROWS_MAX}");
    let began = Instant::now();
    folder::claim(folder)?;
    let binary = std::env::current_exe().context("this program's own file cannot be found, which the servers need")?;
    let mut ports = servers::free_ports::<{ 2 * STORIES.len() }>()?.into_iter();
    print(&report::opening(folder, *rows))?;
    let mut told = Told::default();
    for story in STORIES {
        let (Some(one), Some(two)) = (ports.next(), ports.next()) else { bail!("too few ports were reserved") };
        let setting = Setting {
            rows: *rows,
            seed: SEED,
            ports: [one, two],
            epsilon: EPSILON,
            outputs: OUTPUTS,
            approval: "required",
            minimum_matched: if *rows >= MINIMUM_FROM_ROWS { MINIMUM_MATCHED } else { 0 },
        };
        told.add(&tell(story, folder, &setting, &binary).await?);
    }
    print(&report::closing(folder, &told, began.elapsed().as_secs_f64()))?;
    ensure!(told.wrong == 0, "{} of {} answers are not what their noise explains", told.wrong, told.questions);
    Ok(())
}

/// How questions went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Questions that were answered.
    pub(super) questions: usize,
    /// Those whose answer the noise does not explain, nor is the truth.
    pub(super) wrong: usize,
    /// Released numbers with a known ± …
    pub(super) numbers: usize,
    /// … and those that have the truth within it.
    pub(super) within: usize,
}

/// A number that is so many times its ± away from the truth is wrong: with discrete Laplace noise that happens once
/// in some 10^9 numbers, with Gaussian noise never.
const ERRORS_MAX: f64 = 7.0;

impl Told {
    fn add(&mut self, other: &Told) {
        self.questions += other.questions;
        self.wrong += other.wrong;
        self.numbers += other.numbers;
        self.within += other.within;
    }

    /// Counts one question by its measures, each with its ± where that is known; `exact` where nothing was released
    /// with noise.
    fn question(exact: bool, measures: &[(f64, bool, Option<f64>)]) -> Told {
        let mut told = Told { questions: 1, wrong: usize::from(measures.is_empty()), ..Told::default() };
        for (difference, equal, error) in measures {
            match error {
                Some(error) if *error > 0.0 => {
                    told.numbers += 1;
                    told.within += usize::from(difference.abs() <= *error);
                    // NULL on one side alone is not a number, and no bound explains it.
                    let far = difference.is_nan() || difference.abs() > ERRORS_MAX * error;
                    told.wrong = told.wrong.max(usize::from(far));
                }
                // Arithmetic over noisy numbers has no bound here; over exact ones it has to be right.
                None if !exact => {}
                _ => told.wrong = told.wrong.max(usize::from(!equal)),
            }
        }
        told
    }
}

/// One story: files, servers, questions.
async fn tell(story: &'static Story, folder: &Path, setting: &Setting, binary: &Path) -> anyhow::Result<Told> {
    let (root, its_setting) = (folder.to_owned(), *setting);
    let tables = tokio::task::spawn_blocking(move || story.write(&root, &its_setting)).await??;
    let mut parties: BTreeMap<&str, Arc<Party>> = BTreeMap::new();
    for outline in &story.parties {
        parties.insert(outline.name, Arc::new(Party::load(story.policy(folder, outline.name))?));
    }
    let mut servers = Vec::new();
    for outline in &story.parties {
        servers.push(Server::start(binary, &story.policy(folder, outline.name), outline.name)?);
    }
    for (server, outline) in servers.iter_mut().zip(&story.parties) {
        server.answers(&parties[story.other(outline.name)]).await?;
    }
    print(&report::story(story, &tables, setting))?;

    let mut told = Told::default();
    // One session for each asking party, as an analyst's would be: it keeps the account of what was asked.
    let mut sessions: BTreeMap<&str, SessionContext> = BTreeMap::new();
    for example in EXAMPLES {
        let question = example.question()?;
        if question.story != story.name {
            continue;
        }
        if !sessions.contains_key(question.asks) {
            sessions.insert(question.asks, session(&parties[question.asks]).await?);
        }
        print(&report::question(example, &question, story.other(question.asks)))?;
        told.add(&answer(example, story, folder, question.asks, &sessions[question.asks]).await?);
    }
    refusals::all(story, setting, &sessions).await?;
    refusals::stranger(story, folder).await?;
    Ok(told)
}

/// Asks one question and prints what came of it.
async fn answer(
    example: &Example,
    story: &Story,
    folder: &Path,
    asks: &str,
    ctx: &SessionContext,
) -> anyhow::Result<Told> {
    let question = example.question()?;
    let mut asked = ask::ask(ctx, question.sql).await;
    if let Err(error) = &asked
        && story.approval_for == Some(asks)
    {
        refusals::held(story, folder, asks, question.sql, error).await?;
        asked = ask::ask(ctx, question.sql).await;
    }
    let asked = asked.map_err(|error| anyhow!("{} was not answered: {}", example.name, error_line(&error)))?;
    let truth = examples::truth(story, folder, example.truth).await?;
    let measures = examples::compare(&asked.batches, &truth)?;
    print(&report::outcome(asks, &asked, &measures))?;
    let counted: Vec<_> =
        measures.iter().map(|measure| (measure.difference(), measure.is_equal(), asked.error(measure))).collect();
    Ok(Told::question(asked.is_exact(), &counted))
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn a_number_far_outside_its_noise_or_an_exact_one_that_differs_is_wrong() {
        let told = |measures: &[(f64, bool, Option<f64>)]| {
            let exact = !measures.iter().any(|(.., error)| error.is_some_and(|error| error > 0.0));
            let told = Told::question(exact, measures);
            (told.wrong, told.numbers, told.within)
        };
        assert_eq!(told(&[(0.0, true, Some(0.0)), (0.0, true, None)]), (0, 0, 0), "all exact");
        assert_eq!(told(&[(1.0, false, Some(0.0))]).0, 1);
        assert_eq!(told(&[(1.0, false, None), (0.0, true, Some(0.0))]).0, 1, "arithmetic over exact numbers");
        assert_eq!(told(&[(9.0, false, None), (-4.0, false, Some(5.0)), (6.0, false, Some(5.0))]), (0, 2, 1));
        assert_eq!(told(&[(36.0, false, Some(5.0))]), (1, 1, 0));
        assert_eq!(told(&[(f64::NAN, false, Some(5.0))]).0, 1);
        assert_eq!(told(&[]).0, 1, "a question that measures nothing");
    }
}
