//! The command line: one match over the commands, and where their settings come from.
//!
//! A setting is the flag; else the variable `HUBBLEFLOW_<FLAG>`; else the line of the `--settings` file; else its default.
use std::{
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::{Arc, Barrier},
    time::Duration,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use connectors::text::read_text;
use models::{
    Config, Precision,
    config::PRESETS,
    device::{DeviceChoice, PrecisionChoice},
};
use tokio::runtime::Runtime;

use crate::{
    Error,
    bench::{BenchCommand, bench},
    bundled,
    clock::clock,
    console::{json, print, show, tell},
    demo,
    export::export,
    import::{ImportCommand, import},
    job::{Job, Places, Plan, StoreOptions, cores, model_directory},
    memory,
    report::report,
    run::run,
    sample::{SampleArgs, sample},
    settings::{Bytes, CatalogArgs, LocalPath, RunArgs, WatchArgs},
    signals,
    status::status,
    supervise,
    train::{self, FinetuneArgs, PretrainArgs},
    verify::{Again, verify},
    watch::Watch,
};

/// Upper bound on the size of a file of settings.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;
/// Threads that a process has beside those of its runtime, model and workers: for files, signals, heartbeats.
const THREADS_BESIDE: usize = 8;
/// How long a process that has lost a worker waits for the reason.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Photometric redshifts for whole surveys: reads galaxies from Parquet, predicts, and commits.
#[derive(Parser)]
#[command(name = "hubbleflow", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A TOML file with settings, by the names of the flags
    #[arg(long, global = true, value_name = "FILE", value_parser = LocalPath)]
    settings: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Predict the drops of a catalog that are not committed yet
    Run(Box<RunArgs>),
    /// Predict each drop of a catalog as it arrives, until SIGTERM
    Watch(Box<WatchArgs>),
    /// Show what run would do: the drops, their rows and splits
    Plan(CatalogArgs),
    /// Show what an output holds
    Status(StatusArgs),
    /// Compare an output with its ledger: files, rows, metrics; and with what is predicted again
    Verify(VerifyArgs),
    /// Write the survey as it stands: of each object the latest row, as plain Parquet
    Export(ExportArgs),
    /// Write one page, with plots, on how good the predictions are
    Report(ReportArgs),
    /// Make a survey of rendered cutouts, from real photometry
    Sample(SampleCommand),
    /// Make a drop or a model of what PyTorch and numpy have saved
    #[command(subcommand)]
    Import(ImportCommand),
    /// Look at a model, or make one
    #[command(subcommand)]
    Model(ModelCommand),
    /// Train a model on a catalog
    #[command(subcommand)]
    Train(TrainCommand),
    /// Time this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// A sample survey, an S3 server and a cluster of two processes, from nothing to predictions
    Demo(demo::DemoArgs),
}

#[derive(Args)]
struct StatusArgs {
    /// The output
    out: String,
    /// As it was after the newest entry of this drop
    #[arg(long, value_name = "DROP")]
    as_of: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct VerifyArgs {
    /// The output
    out: String,
    /// Predict the drops again, from this catalog
    #[arg(long, requires = "model")]
    catalog: Option<String>,
    /// Predict them with this model
    #[arg(long, value_name = "DIR", requires = "catalog")]
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ExportArgs {
    /// The output
    out: String,
    /// Where the files go: a URL or a path of their own
    #[arg(long, value_name = "URL")]
    to: String,
    /// As it was after the newest entry of this drop
    #[arg(long, value_name = "DROP")]
    as_of: Option<String>,
    /// About how much memory it takes: where the ids do not fit, they are read several times
    #[arg(long, default_value = "512MB")]
    memory: Bytes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ReportArgs {
    /// The output
    out: String,
    /// Where the page goes
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    html: PathBuf,
}

#[derive(Args)]
struct SampleCommand {
    /// Where the survey goes: a URL or a path
    out: String,
    #[command(flatten)]
    args: SampleArgs,
}

#[derive(Subcommand)]
enum TrainCommand {
    Pretrain(Box<PretrainArgs>),
    Finetune(Box<FinetuneArgs>),
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Print what a model is: architecture, tensors, parameters, id
    Inspect {
        /// The model's directory; `bundled` is the one that comes along
        #[arg(value_parser = LocalPath)]
        dir: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Load a model and predict a few made-up galaxies with it
    Check {
        /// The model's directory; `bundled` is the one that comes along
        #[arg(value_parser = LocalPath)]
        dir: PathBuf,
        /// Where it runs
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
        /// Its arithmetic
        #[arg(long, default_value = "auto")]
        precision: PrecisionChoice,
    },
    /// Make a model with initial weights: it can be run, and its redshifts mean nothing
    Init {
        /// Where it goes
        #[arg(value_parser = LocalPath)]
        dir: PathBuf,
        /// The network
        #[arg(long, default_value = "astromae", value_parser = clap::builder::PossibleValuesParser::new(PRESETS))]
        preset: String,
        /// Blocks of the encoder, where other than the preset's
        #[arg(long)]
        depth: Option<usize>,
        /// Other weights for another seed
        #[arg(long, default_value = "")]
        seed: String,
    },
}

/// Runs the command of this process's arguments; answers its exit code.
pub fn main() -> u8 {
    // Seconds are counted from here.
    clock();
    let result = parse(std::env::args_os().collect()).and_then(|cli| {
        start_logging();
        execute(cli.command)
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut said = format!("hubbleflow: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                let words = cause.to_string();
                // Many repeat what caused them.
                if !said.contains(&words) {
                    said += &format!("\n  because: {words}");
                }
                source = cause.source();
            }
            tell(said);
            error.exit_code()
        }
    }
}

fn execute(command: Command) -> Result<u8, Error> {
    // Before there are threads, each of which would take a heap of its own, and would be ended by a signal.
    let stop = match command {
        Command::Run(_) | Command::Bench(_) | Command::Export(_) => {
            memory::give_back();
            None
        }
        Command::Watch(_) => {
            memory::give_back();
            Some(signals::stop_on_signals()?)
        }
        _ => None,
    };
    check_threads(threads_of(&command))?;
    let runtime = Runtime::new().map_err(|source| Error::io("starting the runtime", source))?;
    let options = store_options();
    match command {
        Command::Run(args) => run_command(&args, None, &options, &runtime),
        Command::Watch(args) => {
            let watch = Watch {
                poll: args.poll.0,
                settle: args.settle.0,
                stop: stop.expect("signals are taken before a watch begins"),
            };
            run_command(&args.run, Some(watch), &options, &runtime)
        }
        Command::Plan(args) => runtime.block_on(plan_command(&args, &options)),
        Command::Status(args) => {
            let status = runtime.block_on(status(&args.out, args.as_of.as_deref(), &options))?;
            show(args.json, &status)?;
            Ok(0)
        }
        Command::Verify(args) => {
            let again = args.catalog.zip(args.model);
            let again = again.map(|(catalog, model)| Again { catalog, model });
            let verified = runtime.block_on(verify(&args.out, again.as_ref(), &options))?;
            show(args.json, &verified)?;
            Ok(u8::from(!verified.faults.is_empty()))
        }
        Command::Export(args) => {
            let as_of = args.as_of.as_deref();
            let exported =
                runtime.block_on(export(&args.out, &args.to, as_of, args.memory, &options))?;
            show(args.json, &exported)?;
            Ok(0)
        }
        Command::Report(args) => {
            let page = runtime.block_on(report(&args.out, &options))?;
            std::fs::write(&args.html, page)
                .map_err(|source| Error::io(args.html.display().to_string(), source))?;
            print(args.html.display())?;
            Ok(0)
        }
        Command::Sample(command) => runtime.block_on(sample_command(&command, &options)),
        Command::Import(command) => {
            runtime.block_on(import(command, &options))?;
            Ok(0)
        }
        Command::Model(command) => model_command(command),
        Command::Train(command) => train_command(command, &options, &runtime),
        Command::Bench(command) => {
            bench(command, &options, &runtime)?;
            Ok(0)
        }
        Command::Demo(args) => demo::demo(&args, &runtime),
    }
}

/// How many threads a command is going to start, about.
fn threads_of(command: &Command) -> usize {
    let asked = match command {
        Command::Run(args) => args.threads.unwrap_or(0) + args.workers as usize,
        Command::Watch(args) => args.run.threads.unwrap_or(0) + args.run.workers as usize,
        _ => 0,
    };
    cores() + THREADS_BESIDE + asked
}

/// Makes sure that this many threads can be started: the libraries that start them panic where they cannot.
fn check_threads(count: usize) -> Result<(), Error> {
    let gate = Arc::new(Barrier::new(count + 1));
    for started in 0..count {
        let waiting = gate.clone();
        let thread = std::thread::Builder::new()
            .stack_size(1 << 16)
            .spawn(move || waiting.wait());
        if let Err(source) = thread {
            let reason = format!("{started} of {count} threads were started");
            return Err(Error::no_threads(std::io::Error::new(
                source.kind(),
                format!("{reason}: {source}"),
            )));
        }
    }
    gate.wait();
    Ok(())
}

fn run_command(
    args: &RunArgs,
    watch: Option<Watch>,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<u8, Error> {
    if watch.is_some() && args.catalog.again {
        return Err(Error::Usage(
            "--again is for run: a watch never takes a drop in again; give run --drop NAME --again beside it".to_owned(),
        ));
    }
    if args.local.is_some() && args.process.is_some() && args.supervised.is_none() {
        return Err(Error::Usage(
            "--local starts processes, and --process is one of them: give one of the two"
                .to_owned(),
        ));
    }
    if args.supervised.is_some() {
        supervise::end_with_supervisor()?;
    }
    // Before anything begins, in a cluster too.
    Places::open(&args.catalog, options)?;
    if let (Some(processes), None) = (args.local, args.process) {
        let ours: Vec<OsString> = std::env::args_os().skip(1).collect();
        let stop = watch.map(|watch| watch.stop);
        return supervise::supervise(&ours, processes.max(1), args.restarts, &[], stop.as_ref());
    }
    end_on_panic();
    let job = Job::new(args, options, runtime.handle())?;
    let leader = job.cluster.is_leader();
    let summary = match watch {
        None => run(job, runtime.handle())?,
        Some(watch) => crate::watch(job, watch, runtime.handle())?,
    };
    if leader {
        tell(format_args!(
            "{} drops committed, {} failed: {} galaxies in {:.1} s ({:.0} a second, {} {})",
            summary.drops_committed,
            summary.drops_failed,
            summary.rows_written,
            summary.seconds,
            summary.galaxies_per_second,
            summary.device,
            summary.precision
        ));
        if args.catalog.json {
            print(json(&summary))?;
        }
    }
    Ok(summary.exit_code())
}

/// A worker that panics leaves the others waiting for ever: the process ends, and with it the cluster. A panic on any
/// other thread is noticed by the worker that waits for it.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let is_connection = ["timely:recv", "timely:send"]
            .iter()
            .any(|of| name.starts_with(of));
        if !is_connection {
            report(panic);
        }
        if name.starts_with("timely:") {
            // Where another process is lost, its heartbeat says which.
            std::thread::sleep(LAST_WORD);
            if is_connection {
                tell(
                    "hubbleflow: a connection to another process was lost; what is committed stays",
                );
            }
            supervise::end_with_cluster();
        }
    }));
}

async fn plan_command(args: &CatalogArgs, options: &StoreOptions) -> Result<u8, Error> {
    let dir = model_directory(&args.model, options).await?;
    let model = models::load(&dir.path, tch::Device::Cpu, models::Precision::Fp32)?;
    let plan = Plan::new(args, model.as_ref(), Places::open(args, options)?)?;
    let planned = plan.preview().await?;
    show(args.json, &planned)?;
    Ok(if planned.drops.iter().any(|drop| drop.failure.is_some()) {
        3
    } else {
        0
    })
}

async fn sample_command(command: &SampleCommand, options: &StoreOptions) -> Result<u8, Error> {
    let place = connectors::Location::open(&command.out, options)?;
    let bar = indicatif::ProgressBar::new(command.args.galaxies);
    let made = sample(place.store, place.prefix, &command.args, |rows| {
        bar.set_position(rows)
    })
    .await;
    bar.finish_and_clear();
    print(format_args!(
        "{}: {}",
        command.out,
        made.map_err(|error| Error::sample(&command.out, error))?
    ))?;
    Ok(0)
}

fn model_command(command: ModelCommand) -> Result<u8, Error> {
    match command {
        ModelCommand::Inspect { dir, json } => {
            show(json, &models::inspect(&bundled::resolve(dir)?)?)?
        }
        ModelCommand::Check {
            dir,
            device,
            precision,
        } => {
            let device = device.resolve(0)?;
            let precision = precision.or(Precision::fastest(device));
            let checked = models::check(&bundled::resolve(dir)?, device, precision)?;
            print(&checked)?;
            if !checked.finite {
                return Ok(1);
            }
        }
        ModelCommand::Init {
            dir,
            preset,
            depth,
            seed,
        } => {
            let mut config =
                Config::preset(&preset).expect("the command line admits presets alone");
            config.encoder.depth = depth.unwrap_or(config.encoder.depth);
            models::init::init(&dir, &config, &seed)?;
            print(format_args!(
                "{}: an initialised model; it has learned nothing, and its redshifts mean nothing",
                dir.display()
            ))?;
        }
    }
    Ok(0)
}

fn train_command(
    command: TrainCommand,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<u8, Error> {
    let report = match &command {
        TrainCommand::Pretrain(args) => runtime.block_on(train::pretrain(args, options))?,
        TrainCommand::Finetune(args) => runtime.block_on(train::finetune(args, options))?,
    };
    print(json(&report))?;
    Ok(0)
}

/// What the environment says of stores.
fn store_options() -> Vec<(String, String)> {
    // What is no text is no store's.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os()
        .filter_map(text)
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HUBBLEFLOW_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A log that nobody takes stops no work.
        .log_internal_errors(false)
        .init();
}

/// Reads the arguments; settings of the file become defaults, variables stand between. Help and mistakes end the process.
fn parse(args: Vec<OsString>) -> Result<Cli, Error> {
    let mut command = Cli::command();
    let file = settings_file(&args);
    let settings = file
        .as_deref()
        .map(read_settings)
        .transpose()?
        .unwrap_or_default();
    if let Some(unknown) = settings
        .keys()
        .map(|key| key.replace('-', "_"))
        .find(|key| !has_argument(&command, key))
    {
        let file = file.unwrap_or_default();
        return Err(Error::Usage(format!(
            "{}: there is no setting {unknown}; settings are named as the flags",
            file.display()
        )));
    }
    command = with_sources(command, &settings);
    let matches = command.get_matches_from(args);
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// Where `--settings` points to, before anything else is read.
fn settings_file(args: &[OsString]) -> Option<PathBuf> {
    let given = args.iter().enumerate().find_map(|(place, arg)| {
        let arg = arg.to_str()?;
        match arg.strip_prefix("--settings") {
            Some("") => args.get(place + 1).map(PathBuf::from),
            Some(rest) => rest.strip_prefix('=').map(PathBuf::from),
            None => None,
        }
    });
    given.or_else(|| std::env::var_os("HUBBLEFLOW_SETTINGS").map(PathBuf::from))
}

fn read_settings(file: &Path) -> Result<toml::Table, Error> {
    let text = read_text(file, SETTINGS_BYTES_MAX)
        .map_err(|error| Error::Usage(format!("--settings {}: {error}", file.display())))?;
    text.parse()
        .map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

/// Whether a command, or one of its own, has an argument of this name.
fn has_argument(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == name)
        || command.get_subcommands().any(|sub| has_argument(sub, name))
}

/// Gives each argument of a command and of its own commands its variable, and the file's setting as its default.
fn with_sources(command: clap::Command, settings: &toml::Table) -> clap::Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let command = names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| with_sources(sub, settings))
    });
    command.mut_args(|arg| {
        let name = arg.get_id().as_str().to_owned();
        if ["settings", "help", "version"].contains(&name.as_str()) {
            return arg;
        }
        let arg = arg
            .env(format!("HUBBLEFLOW_{}", name.to_ascii_uppercase()))
            .hide_env(true);
        let set = settings
            .iter()
            .find(|(key, _)| key.replace('-', "_") == name);
        match set.map(|(_, value)| value) {
            None => arg,
            Some(toml::Value::Array(values)) => {
                arg.required(false).default_values(values.iter().map(text))
            }
            Some(value) => arg.required(false).default_value(text(value)),
        }
    })
}

fn text(value: &toml::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads a settings file and parses a command with it, for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_settings(file: &Path) -> Result<(), Error> {
    let command = with_sources(Cli::command(), &read_settings(file)?);
    let words = ["hubbleflow", "run", "catalog", "--out=out", "--model=model"];
    let _ = command
        .try_get_matches_from(words)
        .map(|matches| Cli::from_arg_matches(&matches));
    Ok(())
}
