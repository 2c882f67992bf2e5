//! The command `hubbleflow`.
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(engine::cli::main())
}
