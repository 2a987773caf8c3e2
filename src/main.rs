//! The binary: see `datafusion_psi::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datafusion_psi::cli::main()
}
