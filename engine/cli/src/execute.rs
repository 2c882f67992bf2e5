//! One match over the commands.
use std::path::PathBuf;

use hubbleflow::{Stop, Watch};
use tokio::runtime::Runtime;

use crate::{
    Error, allocator,
    bench::{Around, BenchCommand, bench},
    command::{Cli, Command},
    commands,
    demo::demo,
    import_command::import,
    parse::store_options,
    signals, threads,
};

/// Carries out a command; returns its exit code.
pub(crate) fn execute(Cli { command, settings }: Cli) -> Result<u8, Error> {
    // Before there are threads, each of which would take a heap of its own, and would be ended by a signal.
    let stop = match command {
        Command::Bench(BenchCommand::Sweep(_)) => {
            Some(signals::stop_on_signals(signals::OF_A_SWEEP)?)
        }
        Command::Bench(_) | Command::Export(_) => {
            allocator::give_back();
            None
        }
        Command::Run(_) | Command::Watch(_) => {
            allocator::give_back();
            Some(signals::stop_on_signals(signals::OF_A_RUN)?)
        }
        _ => None,
    };
    threads::check_threads(threads::threads_of(&command))?;
    let runtime = Runtime::new().map_err(|source| Error::io("starting the runtime", source))?;
    let options = store_options();
    match command {
        Command::Run(args) => commands::run(&args, None, &told(stop), &options, &runtime),
        Command::Watch(args) => {
            let stop = told(stop);
            let watch = Watch {
                poll: args.poll.0,
                settle: args.settle.0,
                stop: stop.clone(),
            };
            commands::run(&args.run, Some(watch), &stop, &options, &runtime)
        }
        Command::Plan(args) => runtime.block_on(commands::plan(&args, &options)),
        Command::Status(args) => runtime.block_on(commands::status(&args, &options)),
        Command::Verify(args) => runtime.block_on(commands::verify(args, &options)),
        Command::Export(args) => runtime.block_on(commands::export(&args, &options)),
        Command::Report(args) => runtime.block_on(commands::report(&args, &options)),
        Command::Sample(args) => runtime.block_on(commands::sample(&args, &options)),
        Command::Import(command) => runtime.block_on(import(command, &options)),
        Command::Model(command) => runtime.block_on(commands::model(command, &options)),
        Command::Train(command) => runtime.block_on(commands::train(command, &options)),
        Command::ClusterKey { file } => commands::cluster_key(file.as_deref()),
        Command::Bench(command) => {
            let settings = settings.map(PathBuf::into_os_string);
            bench(command, &Around { settings, stop }, &options, &runtime)
        }
        Command::Demo(args) => demo(&args, &runtime),
    }
}

fn told(stop: Option<Stop>) -> Stop {
    stop.expect("invariant: signals are taken before a run or a watch begins")
}
