//! Reading alone: every row of a catalog fetched, decoded, judged and laid out as a model takes it, and no model.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use clap::Args;
use connectors::{Catalog, Chunk, DropBy, Location, Split, budget::Budget, part::Door};
use futures::{StreamExt, TryStreamExt, stream};
use hubbleflow::{RowSettings, StoreOptions, settings::cores, units::HumanBytes};
use models::{CutoutNeeds, Needs};
use operators::{Rules, inputs::inputs, validate::judge};
use tokio::runtime::Runtime;

use super::rounds::{Timing, Work};
use crate::{Error, args::BandArgs};

/// Galaxies of a batch.
const BATCH: usize = 128;

/// Settings of `bench read`.
#[derive(Args)]
pub struct ReadArgs {
    /// The catalog: s3://bucket/prefix, gs://…, az://…, file:///… or a path
    catalog: String,
    /// Read a column under another name, as cutout=image (may be given several times)
    #[arg(long, value_name = "NAME=NAME")]
    column: Vec<String>,
    /// The bands.
    #[command(flatten)]
    bands: BandArgs,
    /// Side of the cutouts that the model would take
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(8..))]
    px: u16,
    /// About how many bytes of rows are read together
    #[arg(long, default_value = "25MB")]
    split_bytes: HumanBytes,
    /// The bound on what is in flight
    #[arg(long, default_value = "384MB")]
    memory: HumanBytes,
    /// How often it is read
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads a catalog some times over.
pub(super) fn bench(
    args: &ReadArgs,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<Timing, Error> {
    let rows = RowSettings {
        columns: args.column.clone(),
        ..RowSettings::default()
    };
    let (bands, px) = (args.bands.bands.clone(), args.px.into());
    let needs = Needs {
        cutouts: Some(CutoutNeeds { bands, px }),
        ..Needs::of_mags(args.bands.bands.clone())
    };
    let request = rows.request("of bench read", &needs)?;
    let rules = rows.rules(&needs)?;
    let location = Location::open(&args.catalog, options)?;
    let catalog = Arc::new(Catalog::new(location, DropBy::Child, request));
    let splits = runtime.block_on(splits(&catalog, args.split_bytes.0))?;
    let (budget, what) = (
        Budget::new(args.memory.0),
        format!("{} read on {} cores", args.catalog, cores()),
    );
    Timing::of(what, args.rounds as usize, || {
        runtime.block_on(read(&catalog, splits.clone(), &rules, &budget))
    })
}

async fn splits(catalog: &Catalog, split_bytes: u64) -> Result<Vec<Split>, Error> {
    let mut splits = Vec::new();
    for listing in catalog.drops().await? {
        splits.extend(
            catalog
                .plan(&listing, "", 0, split_bytes, BATCH)
                .await?
                .splits,
        );
    }
    Ok(splits)
}

/// Reads splits, as many at once as keep the cores busy, whatever their order.
async fn read(
    catalog: &Arc<Catalog>,
    splits: Vec<Split>,
    rules: &Rules,
    budget: &Budget,
) -> Result<Work, Error> {
    let [galaxies, bytes] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let read = |split: Split| {
        let (kind, rules) = (split.kind, rules.clone());
        let counts = [galaxies.clone(), bytes.clone()];
        let take = move |chunk: Chunk| {
            let doors = judge(&chunk.galaxies, kind, &rules);
            let rows: Vec<usize> = (0..doors.len())
                .filter(|&row| doors[row] == Door::Predicted)
                .collect();
            for rows in rows.chunks(BATCH) {
                let memory = models::host_tensor;
                let inputs = inputs(&rules.needs, &chunk.galaxies, rows, memory);
                let rows = inputs.map_or(0, |inputs| inputs.batch());
                counts[0].fetch_add(rows as u64, Ordering::Relaxed);
            }
            counts[1].fetch_add(chunk.fetched_bytes, Ordering::Relaxed);
        };
        async move { catalog.read(&split, budget, take).await }
    };
    let reads = stream::iter(splits).map(read);
    reads
        .buffer_unordered(cores() + 1)
        .try_collect::<()>()
        .await?;
    let [galaxies, bytes] = [galaxies, bytes].map(|count| count.load(Ordering::Relaxed));
    Ok(Work { galaxies, bytes })
}
