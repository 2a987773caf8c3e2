//! A prompt: statements end with a semicolon and may take several lines.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use datafusion::prelude::SessionContext;
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use tokio::sync::{mpsc, oneshot};

use super::print::{Format, error_line};
use super::prompt::{HELP, Names, PromptCommand, SqlHelper, command, is_command};
use super::sql::run_text;
use crate::policy::Party;

/// What the prompt's thread hands over: a statement, and where to say that it is done.
type Entered = (String, oneshot::Sender<()>);

/// Statements that are kept from one prompt to the next.
const HISTORY_MAX: usize = 1000;

/// Reads and runs statements until the end of input, `exit` or `quit`. An error is printed and ends its statement
/// alone; Ctrl-C ends a running one.
pub(super) async fn run(ctx: &SessionContext, party: &Party, format: Format) -> anyhow::Result<()> {
    eprintln!("You are '{}'. Statements end with ';'. \\? helps, Ctrl-C ends a query, Ctrl-D the prompt.", party.name);
    let (entered, mut statements) = mpsc::channel::<Entered>(1);
    let prompt = format!("{}> ", party.name);
    let history = party.state.join("history");
    let names = Names::default();
    renew(ctx, &names).await;
    let known = Arc::clone(&names);
    // The editor blocks on the terminal, so it has a thread of its own.
    let editor = std::thread::spawn(move || read_statements(&prompt, history, known, &entered));
    let mut timing = false;
    while let Some((text, done)) = statements.recv().await {
        let text = match is_command(&text).then(|| command(&text)) {
            None => Some(text),
            Some(Ok(PromptCommand::Run(text))) => Some(text),
            Some(Ok(PromptCommand::Quit)) => break,
            Some(Ok(PromptCommand::Help)) => {
                eprintln!("{HELP}");
                None
            }
            Some(Ok(PromptCommand::Timing)) => {
                timing = !timing;
                eprintln!("{}", if timing { "each statement's time is printed" } else { "no times are printed" });
                None
            }
            Some(Err(wrong)) => {
                eprintln!("error: {wrong}");
                None
            }
        };
        if let Some(text) = text {
            let began = Instant::now();
            tokio::select! {
                result = run_text(ctx, &text, format) => {
                    if let Err(error) = result {
                        eprintln!("error: {}", error_line(&error));
                    }
                }
                _ = tokio::signal::ctrl_c() => eprintln!("interrupted; a charge that was made stays"),
            }
            if timing {
                eprintln!("{:.3} s", began.elapsed().as_secs_f64());
            }
            renew(ctx, &names).await;
        }
        let _ = done.send(());
    }
    drop(statements);
    editor.join().map_err(|_| anyhow::anyhow!("the prompt's thread failed"))?
}

/// The names that a key may complete: functions, schemas, tables, and the columns of tables that lie here. No peer is
/// asked for any of them.
async fn renew(ctx: &SessionContext, names: &Names) {
    let mut found: Vec<String> = {
        let state = ctx.state();
        state.scalar_functions().keys().chain(state.aggregate_functions().keys()).cloned().collect()
    };
    let default = ctx.copied_config().options().catalog.clone();
    if let Some(catalog) = ctx.catalog(&default.default_catalog) {
        for schema in catalog.schema_names() {
            let Some(tables) = catalog.schema(&schema) else { continue };
            let here = schema == default.default_schema;
            if !here {
                found.push(schema.clone());
            }
            for table in tables.table_names() {
                if here && let Ok(Some(provider)) = tables.table(&table).await {
                    found.extend(provider.schema().fields().iter().map(|field| field.name().clone()));
                }
                found.push(if here { table } else { format!("{schema}.{table}") });
            }
        }
    }
    // A list of names is whole after every single operation.
    *names.write().unwrap_or_else(PoisonError::into_inner) = found;
}

fn read_statements(
    prompt: &str,
    history: PathBuf,
    names: Names,
    entered: &mpsc::Sender<Entered>,
) -> anyhow::Result<()> {
    let config = rustyline::Config::builder().max_history_size(HISTORY_MAX)?.history_ignore_dups(true)?.build();
    let mut editor: Editor<SqlHelper, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(SqlHelper(names)));
    // The first prompt has none, and one that cannot be read or written is no reason to refuse the next.
    let _ = editor.load_history(&history);
    loop {
        match editor.readline(prompt) {
            Ok(statement) => {
                let statement = statement.trim();
                if statement.is_empty() {
                    continue;
                }
                editor.add_history_entry(statement)?;
                let _ = editor.save_history(&history);
                let (done, ended) = oneshot::channel();
                if entered.blocking_send((statement.to_owned(), done)).is_err() || ended.blocking_recv().is_err() {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
