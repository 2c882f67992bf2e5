//! The commands of the program, and the arguments of the small ones.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hubbleflow::units::HumanBytes;
use models::{
    config::{ASTROCLIP, PRESETS},
    device::{DeviceChoice, PrecisionChoice},
};

use crate::{
    args::{
        CatalogArgs, FinetuneArgs, HeadChoice, LocalPath, PretrainArgs, RunArgs, SampleCommand,
        WatchArgs,
    },
    bench::BenchCommand,
    demo::DemoArgs,
    import_command::ImportCommand,
};

/// Photometric redshifts for whole surveys: reads galaxies from Parquet, predicts, and commits.
#[derive(Parser)]
#[command(name = "hubbleflow", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// A TOML file with settings, by the names of the flags
    #[arg(long, global = true, value_name = "FILE", value_parser = LocalPath)]
    pub settings: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
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
    /// Write the survey as it stands: of each object the latest row, with calibrated intervals, as plain Parquet
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
    /// Make the key that the processes of a cluster share
    ClusterKey {
        /// The new file that holds the key, readable by its owner only [default: print the key]
        #[arg(value_parser = LocalPath)]
        file: Option<PathBuf>,
    },
    /// Time this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// A sample survey, an S3 server and a cluster of two processes, from nothing to predictions
    Demo(DemoArgs),
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// The output
    pub out: String,
    /// As it was after the newest entry of this drop
    #[arg(long, value_name = "DROP")]
    pub as_of: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The output
    pub out: String,
    /// Predict the drops again, from this catalog
    #[arg(long, requires = "model")]
    pub catalog: Option<String>,
    /// Predict them with this model
    #[arg(long, value_name = "DIR", requires = "catalog")]
    pub model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The output
    pub out: String,
    /// Where the files go: a URL or a path of their own
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// As it was after the newest entry of this drop
    #[arg(long, value_name = "DROP")]
    pub as_of: Option<String>,
    /// Write the quantiles as an ensemble of qp too: to PREFIXmeta.pq, PREFIXdata.pq and PREFIXancil.pq
    #[arg(long, value_name = "PREFIX")]
    pub qp: Option<String>,
    /// About how much memory it takes: where the ids do not fit, they are read several times
    #[arg(long, default_value = "512MB")]
    pub memory: HumanBytes,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// The output
    pub out: String,
    /// Where the page goes
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    pub html: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum TrainCommand {
    Pretrain(Box<PretrainArgs>),
    Finetune(Box<FinetuneArgs>),
}

#[derive(Subcommand)]
pub(crate) enum ModelCommand {
    /// Print what a model is: architecture, tensors, parameters, id
    Inspect {
        /// The model's directory, a path or a URL; `bundled` is the one that comes along
        dir: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Load a model and predict a few made-up galaxies with it
    Check {
        /// The model's directory, a path or a URL; `bundled` is the one that comes along
        dir: String,
        /// Where it runs
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
        /// Its arithmetic
        #[arg(long, default_value = "auto")]
        precision: PrecisionChoice,
    },
    /// Make a model with initial weights. It can be run, but its predictions mean nothing
    Init {
        /// Where it goes
        #[arg(value_parser = LocalPath)]
        dir: PathBuf,
        /// The network
        #[arg(long, default_value = "astromae", value_parser = clap::builder::PossibleValuesParser::new(PRESETS.into_iter().chain([ASTROCLIP])))]
        preset: String,
        /// Blocks of the encoder, where other than the preset's
        #[arg(long)]
        depth: Option<usize>,
        /// The bands of its cutouts [default: u,g,r,i,z; of an astroclip g,r,z]
        #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
        bands: Option<Vec<String>>,
        /// The bands of its magnitudes [default: those of its cutouts]
        #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
        mags: Option<Vec<String>>,
        /// The side of its cutouts in pixels, a multiple of its patches' [default: 32; of an astroclip 144]
        #[arg(long)]
        px: Option<usize>,
        /// The form of the redshift: one number, or quantiles at 23 levels [default: point]
        #[arg(long, value_enum)]
        head: Option<HeadChoice>,
        /// Other weights for another seed
        #[arg(long, default_value = "")]
        seed: String,
    },
}
