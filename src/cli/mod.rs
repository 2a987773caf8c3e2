//! The command line: arguments, wiring, printing, the demo.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | cli, main.rs | arguments, wiring, printing, the demo | everything | protocol logic; only place for `anyhow` and stdout; the demo writes files here |
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 refused or failed with one clear line
//! (what, whose fault, what to do), 2 usage.

mod approve;
mod attack;
mod check;
mod demo;
mod dummies;
mod init;
mod ledger;
mod print;
mod progress;
mod prompt;
mod repl;
mod serve;
mod sql;
mod stop;
mod token;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use demo::examples;
pub use print::Format;

/// SQL over data that two parties will not show each other.
#[derive(Debug, Parser)]
#[command(name = "datafusion-psi", version, long_version = long_version(), about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What `--version` says, beside the number: the protocol, and what computes on the curve here. (`-V` is the number alone.)
fn long_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        format!(
            "{}\nprotocol: datafusion-psi/{}\ncurve: {}",
            env!("CARGO_PKG_VERSION"),
            crate::crypto::PROTOCOL_VERSION,
            crate::crypto::kernel_name()
        )
    });
    &VERSION
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Two parties on this machine answer the questions of sql-examples/ about each other, beside the truth.
    Demo(demo::DemoArguments),
    /// A new party's folder: keys, a commented party.toml, an empty ledger.
    Init(init::InitArguments),
    /// What is wrong with a party's files, and what its policy means, in sentences.
    Check(check::CheckArguments),
    /// Answer peers from this party's tables, as its party.toml allows.
    Serve(serve::ServeArguments),
    /// A bearer token for an analyst who runs SQL here from elsewhere.
    Token(token::TokenArguments),
    /// Run SQL as this party: a statement, a file, or a prompt.
    Sql(sql::SqlArguments),
    /// Questions that wait for the operator's word: list them, approve one.
    Approve(approve::ApproveArguments),
    /// The ledger: make one for a new party, check it, accept a peer's new one.
    Ledger(ledger::LedgerArguments),
    /// Check the receipts that both parties have signed.
    Verify(verify::VerifyArguments),
    /// What the known attacks would learn from this party's shares: before sharing them.
    Attack(attack::AttackArguments),
    /// How many dummies a budget for sizes asks for: for choosing a policy.
    Dummies(dummies::DummiesArguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors: clap prints them to stdout and says 0.
            let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    start_log(&arguments.command);
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", print::error_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let command = match command {
        Command::Dummies(arguments) => return dummies::run(&arguments),
        Command::Init(arguments) => return init::run(&arguments),
        Command::Approve(arguments) => return approve::run(&arguments),
        Command::Ledger(arguments) => return ledger::run(&arguments),
        Command::Token(arguments) => return token::run(&arguments),
        Command::Verify(arguments) => return verify::run(&arguments),
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime's threads cannot be started")?;
    let done = runtime.block_on(async {
        match command {
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Sql(arguments) => sql::run(arguments).await,
            Command::Check(arguments) => check::run(arguments).await,
            Command::Attack(arguments) => attack::run(arguments).await,
            // Those above need no runtime.
            _ => Ok(()),
        }
    });
    // A prompt that waits for a line would otherwise hold the process.
    runtime.shutdown_background();
    done
}

/// `serve` logs what it answers, the others what goes wrong; `RUST_LOG` overrides both.
fn start_log(command: &Command) {
    let default = match command {
        Command::Serve(_) => "warn,datafusion_psi=info",
        _ => "error,datafusion_psi::answer=warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A file or a pipe is for reading by other programs: colours are for terminals, and for those who want them.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}
