//! `datafusion-psi sql`: statements, files, or a prompt, as one party.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args;
use datafusion::arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};

use super::print::{Format, print_result};
use super::{progress, repl};
use crate::policy::{Budgets, Party, SystemClock};
use crate::sql::Asker;

/// Arguments of `sql`.
#[derive(Debug, Args)]
pub(super) struct SqlArguments {
    /// The party's party.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// SQL to run: one statement, or several with semicolons between them.
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    command: Option<String>,
    /// A file of SQL to run.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs the statements, or the prompt where there are none.
pub(super) async fn run(arguments: SqlArguments) -> anyhow::Result<()> {
    let party = Arc::new(Party::load(&arguments.config)?);
    let ctx = session(&party).await?;
    let text = match (arguments.command, arguments.file) {
        (Some(text), _) => text,
        (None, Some(file)) => {
            std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?
        }
        (None, None) => return repl::run(&ctx, &party, arguments.format).await,
    };
    let done = tokio::select! {
        done = run_text(&ctx, &text, arguments.format) => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; a private query that was running is ended on both sides, and its charge stays")),
    };
    done
}

/// A session of this party: its tables, its peers.
pub(super) async fn session(party: &Arc<Party>) -> anyhow::Result<SessionContext> {
    let budgets = Budgets::load(party, Arc::new(SystemClock))?;
    let asker = Asker::new(Arc::clone(party), budgets)?.with_observer(progress::observer());
    Ok(crate::sql_session(party, Arc::new(asker), crate::sql_runtime(party)?).await?)
}

/// Runs every statement of the text, in order, and prints each result; the first error ends it.
pub(super) async fn run_text(ctx: &SessionContext, text: &str, format: Format) -> anyhow::Result<()> {
    for statement in statements(text)? {
        let batches = run_statement(ctx, statement).await?;
        // Locked only while printing: a run may take minutes.
        print_result(&mut std::io::stdout().lock(), format, &batches)?;
    }
    Ok(())
}

/// The statements of a text.
pub(super) fn statements(text: &str) -> anyhow::Result<Vec<Statement>> {
    Ok(DFParser::parse_sql(text)?.into())
}

async fn run_statement(ctx: &SessionContext, statement: Statement) -> anyhow::Result<Vec<RecordBatch>> {
    let plan = ctx.state().statement_to_plan(statement).await?;
    let frame = ctx.execute_logical_plan(plan).await?;
    let schema = Arc::clone(frame.schema().inner());
    let mut batches = frame.collect().await?;
    if batches.is_empty() && !schema.fields().is_empty() {
        // No rows still have columns, and a reader wants to see them.
        batches.push(RecordBatch::new_empty(schema));
    }
    Ok(batches)
}
