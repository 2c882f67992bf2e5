//! Which drops are taken, how they are read, and where predictions go.
use clap::{Args, ValueEnum};
use hubbleflow::{PlanSettings, units::HumanBytes};

use super::row::RowArgs;
use crate::{Error, bundled};

/// How objects make drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DropBy {
    /// Each child of the catalog is a drop.
    Child,
    /// The whole catalog is one drop.
    All,
}

impl From<DropBy> for hubbleflow::DropBy {
    fn from(by: DropBy) -> Self {
        match by {
            DropBy::Child => Self::Child,
            DropBy::All => Self::All,
        }
    }
}

/// Arguments of `plan`, `run` and `watch`.
#[derive(Args, Clone, Debug)]
pub struct CatalogArgs {
    /// The catalog: s3://bucket/prefix, gs://…, az://…, file:///… or a path
    pub catalog: String,
    /// Where the predictions go: a URL or a path, outside the catalog
    #[arg(long)]
    pub out: String,
    /// The model's directory (config.json and its weights), a path or a URL; `bundled` is the model that comes with
    /// the program
    #[arg(long)]
    pub model: String,
    /// Take only this drop (may be given several times)
    #[arg(long, value_name = "NAME")]
    pub drop: Vec<String>,
    /// Whether each child of the catalog is a drop, or the whole catalog is one drop
    #[arg(long, value_enum, default_value = "child")]
    pub drop_by: DropBy,
    /// How rows are read.
    #[command(flatten)]
    pub rows: RowArgs,
    /// Carry a column of the catalog through to the predictions (may be given several times)
    #[arg(long, value_name = "COLUMN")]
    pub keep: Vec<String>,
    /// Write the model's embeddings too, to OUT/embeddings, which is a catalog. A model that gives nothing else writes them
    /// anyway
    #[arg(long)]
    pub embeddings: bool,
    /// Do not write the list of quantiles of each redshift, only the bounds of the intervals of 68% and 95%
    #[arg(long)]
    pub no_quantiles: bool,
    /// Take only the first N rows: a first try, which the next run without a limit replaces
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Take committed drops again; their new files replace the old ones
    #[arg(long)]
    pub again: bool,
    /// About how many bytes of rows are read, batched and retried together
    #[arg(long, default_value = "25MB")]
    pub split_bytes: HumanBytes,
    /// Go on in an output that holds another model's predictions
    #[arg(long)]
    pub model_change: bool,
    /// Print one JSON object last on stdout
    #[arg(long)]
    pub json: bool,
}

impl CatalogArgs {
    pub(crate) fn settings(&self) -> PlanSettings {
        PlanSettings {
            rows: self.rows.settings(),
            drops: self.drop.clone(),
            drop_by: self.drop_by.into(),
            keep: self.keep.clone(),
            embeddings: self.embeddings,
            quantiles: !self.no_quantiles,
            limit_rows: self.limit,
            again: self.again,
            split_bytes: self.split_bytes.0,
            model_change: self.model_change,
            ..PlanSettings::default()
        }
    }

    /// The model's directory or URL.
    pub(crate) fn model(&self) -> Result<String, Error> {
        bundled::resolve_url(&self.model)
    }
}
