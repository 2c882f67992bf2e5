//! The rows of a catalog in memory: the latest of each object, with the latest redshift that is known of it.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::Array;
use connectors::{
    Catalog, Chunk, DropBy, Location, Split,
    budget::Budget,
    galaxy::{ColumnNames, Request},
    part::{Door, id_hash, is_redshift},
};
use futures::{StreamExt, TryStreamExt, stream};
use models::{Inputs, Needs, train::Rows};
use operators::{Rules, infer::inputs, validate::judge};
use tch::Tensor;

use super::settings::{Interval, TrainArgs};
use crate::{
    Error,
    job::{StoreOptions, cores},
    settings::check_mags,
};

/// Bytes of a split, and of all that are read at once.
const SPLIT_BYTES: u64 = 25_000_000;
const MEMORY_BYTES: u64 = 512_000_000;

/// All rows that can be learned from.
#[derive(Debug, Default)]
pub(super) struct Table {
    batches: Vec<Inputs>,
    /// By the hash of the object: its batch and its row in it.
    latest: HashMap<u64, (usize, i64)>,
    z_spec: HashMap<u64, f32>,
    /// Rows that a run would reject.
    pub rejected: u64,
}

impl Table {
    /// Reads the drops of the catalog in the order of their names.
    pub async fn read(
        args: &TrainArgs,
        needs: Needs,
        cutout_px: usize,
        options: &StoreOptions,
    ) -> Result<Self, Error> {
        check_mags(args.mag_min, args.mag_max)?;
        let location = Location::open(&args.catalog, options)?;
        let names = ColumnNames::parse(&args.column).map_err(|e| Error::Usage(e.to_string()))?;
        let request = Request {
            names,
            keep: Vec::new(),
            needs_cutouts: needs.cutouts,
            needs_mags: needs.mags,
            cutout_px,
        };
        let catalog = Arc::new(Catalog::new(location, DropBy::Child, request));
        let rules = Rules {
            needs,
            cutout_px,
            mag_min: args.mag_min,
            mag_max: args.mag_max,
        };
        let (mut table, budget) = (Self::default(), Budget::new(MEMORY_BYTES));
        let drops = catalog.drops().await?;
        let there = |name: &String| drops.iter().any(|drop| drop.name == *name);
        if let Some(missing) = args.drop.iter().find(|name| !there(name)) {
            let catalog = &args.catalog;
            return Err(Error::Usage(format!("{catalog} has no drop {missing}")));
        }
        for listing in drops {
            if !(args.drop.is_empty() || args.drop.contains(&listing.name)) {
                continue;
            }
            let plan = catalog.plan(&listing, "", 0, SPLIT_BYTES, 1).await?;
            let read = |split: Split| read(catalog.clone(), split, rules, budget.clone());
            // In order: of two rows of an object the later one counts.
            let mut splits = stream::iter(plan.splits).map(read).buffered(cores());
            while let Some(taken) = splits.try_next().await? {
                taken.into_iter().for_each(|taken| table.take(taken));
            }
        }
        Ok(table)
    }

    fn take(&mut self, taken: Taken) {
        self.rejected += taken.rejected;
        for (hash, told) in taken.told {
            match told {
                Told::Galaxy { row, z_spec } => {
                    self.latest.insert(hash, (self.batches.len(), row));
                    self.z_spec.extend(z_spec.map(|z| (hash, z)));
                }
                Told::SpecZ(z) => {
                    self.z_spec.insert(hash, z);
                }
                Told::Withdrawn => {
                    self.latest.remove(&hash);
                }
            }
        }
        self.batches.push(taken.inputs);
    }

    /// The rows whose objects lie in `interval`; those without a redshift only where none is asked for.
    pub fn rows(&self, interval: Interval, with_z_spec: bool) -> Result<Rows, Error> {
        let mut found: Vec<(usize, i64, f32)> = Vec::new();
        for (&hash, &(batch, row)) in &self.latest {
            if interval.holds(hash) {
                let z_spec = self.z_spec.get(&hash);
                match (z_spec, with_z_spec) {
                    (Some(&z), true) => found.push((batch, row, z)),
                    (None, true) => {}
                    (_, false) => found.push((batch, row, f32::NAN)),
                }
            }
        }
        // In the order of the catalog, whatever the order of a hash map is.
        found.sort_unstable_by_key(|&(batch, row, _)| (batch, row));
        let column = |of: fn(&Inputs) -> Option<&Tensor>| {
            let of_batch = |found: &[(usize, i64, f32)]| {
                let rows: Vec<i64> = found.iter().map(|&(_, row, _)| row).collect();
                let column = of(&self.batches[found[0].0])?;
                Some(column.f_index_select(0, &Tensor::from_slice(&rows)))
            };
            let chunks = found.chunk_by(|a, b| a.0 == b.0).map(of_batch);
            let chunks: Option<Vec<_>> = chunks.collect();
            let chunks = chunks.filter(|chunks| !chunks.is_empty());
            let whole = chunks.map(|chunks| {
                let chunks: Vec<Tensor> = chunks.into_iter().collect::<Result<_, _>>()?;
                Tensor::f_cat(&chunks, 0)
            });
            whole.transpose().map_err(models::Error::from)
        };
        let z_spec: Vec<f32> = found.iter().map(|&(_, _, z)| z).collect();
        Ok(Rows {
            cutouts: column(|inputs| inputs.cutouts.as_ref())?,
            mags: column(|inputs| inputs.mags.as_ref())?,
            z_spec: with_z_spec.then(|| Tensor::from_slice(&z_spec)),
            latents: None,
        })
    }
}

/// What a chunk told.
struct Taken {
    inputs: Inputs,
    told: Vec<(u64, Told)>,
    rejected: u64,
}

enum Told {
    Galaxy { row: i64, z_spec: Option<f32> },
    SpecZ(f32),
    Withdrawn,
}

async fn read(
    catalog: Arc<Catalog>,
    split: Split,
    rules: Rules,
    budget: Budget,
) -> Result<Vec<Taken>, Error> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (kept, of) = (taken.clone(), split.clone());
    let keep = move |chunk: Chunk| {
        let told = take(&chunk, &of, &rules);
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told);
    };
    catalog.read(&split, &budget, keep).await?;
    let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(taken.into_iter().collect::<Result<_, models::Error>>()?)
}

fn take(chunk: &Chunk, split: &Split, rules: &Rules) -> Result<Taken, models::Error> {
    let galaxies = &chunk.galaxies;
    let (mut told, mut rows, mut rejected) = (Vec::new(), Vec::new(), 0);
    for (row, door) in judge(galaxies, split.kind, rules).into_iter().enumerate() {
        let z_spec = (!galaxies.z_spec.is_null(row)).then(|| galaxies.z_spec.value(row));
        let z_spec = z_spec.filter(|&z| is_redshift(z));
        let of_row = match door {
            Door::Rejected(_) => {
                rejected += 1;
                continue;
            }
            Door::Withdrawn => Told::Withdrawn,
            Door::Learned => Told::SpecZ(z_spec.expect("what is learned is a redshift")),
            Door::Predicted => {
                rows.push(row);
                let row = rows.len() as i64 - 1;
                Told::Galaxy { row, z_spec }
            }
        };
        told.push((id_hash(&galaxies.object_id, row), of_row));
    }
    // A spec-z drop has nothing to look at.
    let inputs = if rows.is_empty() {
        Inputs {
            cutouts: None,
            mags: None,
        }
    } else {
        let (needs, px) = (rules.needs, rules.cutout_px);
        inputs(needs, px, galaxies, &rows, models::host_tensor)?
    };
    Ok(Taken {
        inputs,
        told,
        rejected,
    })
}
