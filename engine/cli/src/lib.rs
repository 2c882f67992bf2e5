//! The program `hubbleflow`: arguments, the environment, the terminal, signals and processes around the library.
//!
//! ```text
//! main ── parse ── command ── execute ── commands, demo, bench, import, report ── page
//!          args                  progress, train_progress     what people see
//!                                signals, supervise           processes
//! ```
mod again;
mod allocator;
mod args;
mod bench;
mod bundled;
mod command;
mod commands;
mod console;
mod demo;
mod error;
mod execute;
mod import_command;
mod job;
mod mkl;
mod page;
mod parse;
mod progress;
mod report;
mod signals;
mod supervise;
mod threads;
mod train_progress;

pub use error::Error;
#[cfg(fuzzing)]
pub use parse::fuzz_settings;
pub use signals::end_at_once;

use hubbleflow::clock::clock;

/// Runs the command of this process's arguments; returns its exit code.
pub fn main() -> u8 {
    // Seconds are counted from here.
    clock();
    let result = parse::parse(std::env::args_os().collect()).and_then(|cli| {
        console::start_logging();
        execute::execute(cli)
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            console::tell_error(&error);
            error.exit_code()
        }
    }
}
