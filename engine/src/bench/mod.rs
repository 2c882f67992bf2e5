//! Time this machine: the model alone, and a whole run.
mod machine;
mod model;
mod run;

use clap::Subcommand;
use tokio::runtime::Runtime;

use crate::{Error, cli::print, job::StoreOptions};

pub use machine::Machine;
pub use model::ModelArgs;
pub use run::RunBench;

/// What is timed.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// The model alone, on one thread: rounds of the same made-up galaxies, after a warm-up
    Model(ModelArgs),
    /// A whole run, from this catalog to committed predictions, and the model's share of it
    Run(Box<RunBench>),
}

/// Times what `command` names, and prints what it took.
///
/// # Errors
/// Those of what is timed.
pub fn bench(
    command: BenchCommand,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<(), Error> {
    match command {
        BenchCommand::Model(args) => print(args.json, &model::bench(&args, options, runtime)?),
        BenchCommand::Run(args) => {
            let json = args.run.catalog.json;
            print(json, &run::bench(*args, options, runtime)?);
        }
    }
    Ok(())
}

/// Writes a table of names and values.
fn table(f: &mut std::fmt::Formatter<'_>, rows: &[(&str, String)]) -> std::fmt::Result {
    for (name, value) in rows {
        writeln!(f, "{name:<26} {value}")?;
    }
    Ok(())
}
