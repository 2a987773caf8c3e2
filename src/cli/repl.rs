//! A prompt: statements end with a semicolon and may take several lines.

use datafusion::prelude::SessionContext;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::sync::{mpsc, oneshot};

use super::print::{Format, error_line};
use super::sql::run_text;

/// What the prompt's thread hands over: a statement, and where to say that it is done.
type Entered = (String, oneshot::Sender<()>);

/// Reads and runs statements until the end of input, `exit` or `quit`. An error is printed and ends its statement
/// alone; Ctrl-C ends a running one.
pub(super) async fn run(ctx: &SessionContext, party: &str, format: Format) -> anyhow::Result<()> {
    eprintln!("You are '{party}'. Statements end with ';'. Ctrl-C ends a query, Ctrl-D the prompt.");
    let (entered, mut statements) = mpsc::channel::<Entered>(1);
    let prompt = format!("{party}> ");
    // The editor blocks on the terminal, so it has a thread of its own.
    let editor = std::thread::spawn(move || read_statements(&prompt, &entered));
    while let Some((text, done)) = statements.recv().await {
        tokio::select! {
            result = run_text(ctx, &text, format) => {
                if let Err(error) = result {
                    eprintln!("error: {}", error_line(&error));
                }
            }
            _ = tokio::signal::ctrl_c() => eprintln!("interrupted; a charge that was made stays"),
        }
        let _ = done.send(());
    }
    editor.join().map_err(|_| anyhow::anyhow!("the prompt's thread failed"))?
}

fn read_statements(prompt: &str, entered: &mpsc::Sender<Entered>) -> anyhow::Result<()> {
    let mut editor = DefaultEditor::new()?;
    let mut text = String::new();
    loop {
        let shown =
            if text.is_empty() { prompt.to_owned() } else { format!("{:>1$} ", "…", prompt.chars().count() - 1) };
        match editor.readline(&shown) {
            Ok(line) => {
                if text.is_empty() && matches!(line.trim().trim_end_matches(';'), "exit" | "quit" | "\\q") {
                    return Ok(());
                }
                text.push_str(&line);
                text.push('\n');
                if !line.trim_end().ends_with(';') {
                    if text.trim().is_empty() {
                        text.clear();
                    }
                    continue;
                }
                let statement = std::mem::take(&mut text);
                editor.add_history_entry(statement.trim())?;
                let (done, ended) = oneshot::channel();
                if entered.blocking_send((statement, done)).is_err() || ended.blocking_recv().is_err() {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
