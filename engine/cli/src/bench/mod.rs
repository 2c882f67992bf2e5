//! Time this machine: the model, reading, exchanging and collectives alone, a whole run, and runs at many settings.
mod around;
mod collectives;
mod exchange;
mod machine;
mod memory_curve;
mod model;
mod read;
mod replay;
mod rounds;
mod run;
mod sweep;
mod table;
mod usage;

use clap::Subcommand;
use tokio::runtime::Runtime;

use hubbleflow::StoreOptions;

use crate::{Error, console::show};

pub use around::Around;
pub use collectives::CollectivesArgs;
pub use exchange::ExchangeArgs;
pub use model::ModelArgs;
pub use read::ReadArgs;
pub use run::RunBench;
pub use sweep::SweepArgs;

/// What is timed.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// The model alone, on one thread: rounds of the same made-up galaxies, after a warm-up
    Model(ModelArgs),
    /// Reading alone, as a run does it: fetched, decoded, judged, and laid out as a model takes it
    Read(ReadArgs),
    /// Exchanging alone: predictions between workers, as bytes
    Exchange(ExchangeArgs),
    /// Collectives alone: what a round takes, by the size of its messages, between processes of this machine over TCP
    Collectives(CollectivesArgs),
    /// A whole run, from this catalog to committed predictions, and the model's share of it
    Run(Box<RunBench>),
    /// Whole runs at many settings: sizes of the data, of splits and of batches, and numbers of processes, as CAI varied
    /// them
    Sweep(Box<SweepArgs>),
}

/// Times what `command` names, and prints what it took.
///
/// # Errors
/// Those of what is timed.
pub fn bench(
    command: BenchCommand,
    around: &Around,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<u8, Error> {
    let shown = match command {
        BenchCommand::Model(args) => show(args.json, &model::bench(&args, options, runtime)?),
        BenchCommand::Read(args) => show(args.json, &read::bench(&args, options, runtime)?),
        BenchCommand::Exchange(args) => show(args.json, &exchange::bench(&args)?),
        BenchCommand::Collectives(args) => match collectives::bench(&args)? {
            Some(timings) => show(args.json, &timings),
            None => Ok(()),
        },
        BenchCommand::Run(args) => {
            let json = args.run.catalog.json;
            show(json, &run::bench(*args, options, runtime)?)
        }
        BenchCommand::Sweep(args) => return sweep::bench(&args, around, options, runtime),
    };
    shown.map(|()| 0)
}
