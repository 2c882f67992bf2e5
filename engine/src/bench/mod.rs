//! Time this machine: the model, reading and exchanging alone, and a whole run.
mod exchange;
mod machine;
mod model;
mod read;
mod rounds;
mod run;

use clap::Subcommand;
use tokio::runtime::Runtime;

use crate::{Error, console::show, job::StoreOptions};

pub use exchange::ExchangeArgs;
pub use machine::Machine;
pub use model::ModelArgs;
pub use read::ReadArgs;
pub use run::RunBench;

/// What is timed.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// The model alone, on one thread: rounds of the same made-up galaxies, after a warm-up
    Model(ModelArgs),
    /// Reading alone, as a run does it: fetched, decoded, judged, and laid out as a model takes it
    Read(ReadArgs),
    /// Exchanging alone: predictions between workers, as bytes
    Exchange(ExchangeArgs),
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
        BenchCommand::Model(args) => show(args.json, &model::bench(&args, options, runtime)?),
        BenchCommand::Read(args) => show(args.json, &read::bench(&args, options, runtime)?),
        BenchCommand::Exchange(args) => show(args.json, &exchange::bench(&args)?),
        BenchCommand::Run(args) => {
            let json = args.run.catalog.json;
            show(json, &run::bench(*args, options, runtime)?)
        }
    }
}

/// Writes a table of names and values.
fn table(f: &mut std::fmt::Formatter<'_>, rows: &[(&str, String)]) -> std::fmt::Result {
    for (name, value) in rows {
        writeln!(f, "{name:<26} {value}")?;
    }
    Ok(())
}
