//! Reads the rows of a catalog into memory: the latest row of each object, with its latest known redshift.
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::Array;
use connectors::{
    Catalog, Chunk, DropBy, Location, Split,
    budget::Budget,
    part::{Door, id_hash},
};
use futures::{StreamExt, TryStreamExt, stream};
use models::{
    Inputs, Needs,
    train::{Trainable, TrainingRows},
};
use operators::{Rules, inputs::inputs, validate::judge};
use tch::{Device, TchError, Tensor};

use super::{drops::drops_to_read, interval::Interval, settings::TrainSettings};
use crate::{Error, StoreOptions, settings::cores};

/// Bytes of a split, and of all that are read at once.
const SPLIT_BYTES: u64 = 25_000_000;
const MEMORY_BYTES: u64 = 512_000_000;

/// All rows that can be learned from.
#[derive(Debug, Default)]
pub(super) struct CatalogRows {
    batches: Vec<Inputs>,
    /// By the hash of the object: its batch and its row in it.
    latest: HashMap<u64, (usize, i64)>,
    z_spec: HashMap<u64, f32>,
    /// Rows that a run would reject.
    pub rejected: u64,
    /// Why the first of them is rejected.
    reason: Option<String>,
}

impl CatalogRows {
    /// Reads the drops of the catalog in the order of their names, for a model of this configuration. Objects outside all
    /// intervals are skipped.
    pub async fn read(
        settings: &TrainSettings,
        config: &impl Trainable,
        intervals: &[Interval],
        options: &StoreOptions,
    ) -> Result<Self, Error> {
        let needs = config.needs();
        let rules = settings.rows.rules(&needs)?;
        let location = Location::open(&settings.catalog, options)?;
        let request = settings.rows.request(config.name(), &needs)?;
        let catalog = Arc::new(Catalog::new(location, DropBy::Child, request));
        let (mut table, budget) = (Self::default(), Budget::new(MEMORY_BYTES));
        for listing in drops_to_read(&catalog, settings).await? {
            let plan = catalog.plan(&listing, "", 0, SPLIT_BYTES, 1).await?;
            let wanted = intervals.to_vec();
            let read = |split: Split| {
                read(
                    catalog.clone(),
                    split,
                    rules.clone(),
                    wanted.clone(),
                    budget.clone(),
                )
            };
            // In order: of two rows of an object that of the later drop counts, and within a drop the first.
            let (mut splits, mut seen) = (
                stream::iter(plan.splits).map(read).buffered(cores()),
                HashSet::new(),
            );
            while let Some(taken) = splits.try_next().await? {
                let taken = taken.into_iter();
                taken.for_each(|taken| table.take(taken, &mut seen));
            }
        }
        match table.latest.is_empty() {
            true => Err(table.nothing(&settings.catalog, &needs)),
            false => Ok(table),
        }
    }

    /// The error of a catalog in which no row can be trained on.
    fn nothing(self, catalog: &str, needs: &Needs) -> Error {
        let rejected = self.reason.map(|reason| {
            let rows = self.rejected;
            format!("; {rows} rows are rejected, the first of them: {reason}")
        });
        let advice = match needs.embedding_width {
            Some(_) => "",
            None => "; to train a head on embeddings, give --inputs embedding,mags",
        };
        Error::NoTrainingRows {
            catalog: catalog.to_owned(),
            why: rejected.unwrap_or_default() + advice,
        }
    }

    /// Takes rows of a drop; `seen` are the objects of its rows so far.
    fn take(&mut self, taken: Taken, seen: &mut HashSet<u64>) {
        self.rejected += taken.rejected;
        self.reason = self.reason.take().or(taken.reason);
        for (hash, told) in taken.told {
            if !seen.insert(hash) {
                self.rejected += 1;
                continue;
            }
            match told {
                Latest::Galaxy { row, z_spec } => {
                    self.latest.insert(hash, (self.batches.len(), row));
                    self.z_spec.extend(z_spec.map(|z| (hash, z)));
                }
                Latest::SpecZ(z) => {
                    self.z_spec.insert(hash, z);
                }
                Latest::Withdrawn => {
                    self.latest.remove(&hash);
                }
            }
        }
        self.batches.push(taken.inputs);
    }

    /// The rows whose objects lie in each interval, in the order of the catalog; those without a redshift only where none
    /// is asked for.
    ///
    /// What was read is let go batch by batch, while the rows are laid out, so that they are hardly ever held twice.
    pub fn into_rows<const N: usize>(
        self,
        intervals: [Interval; N],
        with_z_spec: bool,
    ) -> Result<[TrainingRows; N], Error> {
        let found = intervals.map(|interval| self.found(interval, with_z_spec));
        drop((self.latest, self.z_spec));
        let mut rows = found.each_ref().map(|found| {
            let z_spec: Vec<f32> = found.iter().map(|found| found.z_spec).collect();
            TrainingRows {
                z_spec: with_z_spec.then(|| Tensor::from_slice(&z_spec)),
                ..TrainingRows::default()
            }
        });
        for (batch, inputs) in self.batches.into_iter().enumerate() {
            for (rows, found) in rows.iter_mut().zip(&found) {
                let from = found.partition_point(|found| found.batch < batch);
                let to = found.partition_point(|found| found.batch <= batch);
                let of_batch: Vec<i64> = found[from..to].iter().map(|found| found.row).collect();
                if of_batch.is_empty() {
                    continue;
                }
                let place = Place {
                    of_batch: Tensor::from_slice(&of_batch),
                    first: from as i64,
                    all: found.len() as i64,
                };
                place
                    .fill(&mut rows.cutouts, inputs.cutouts.as_ref())
                    .and_then(|()| place.fill(&mut rows.mags, inputs.mags.as_ref()))
                    .and_then(|()| place.fill(&mut rows.latents, inputs.embeddings.as_ref()))
                    .map_err(models::Error::from)?;
            }
        }
        Ok(rows)
    }

    /// The rows of an interval, in the order of the catalog, whatever the order of a hash map is.
    fn found(&self, interval: Interval, with_z_spec: bool) -> Vec<Found> {
        let of_object = |(hash, &(batch, row)): (&u64, &(usize, i64))| {
            let z_spec = match with_z_spec {
                true => *self.z_spec.get(hash)?,
                false => f32::NAN,
            };
            interval
                .holds(*hash)
                .then_some(Found { batch, row, z_spec })
        };
        let mut found: Vec<Found> = self.latest.iter().filter_map(of_object).collect();
        found.sort_unstable_by_key(|found| (found.batch, found.row));
        found
    }
}

/// A row that is in an interval.
struct Found {
    batch: usize,
    row: i64,
    z_spec: f32,
}

/// Where some rows of a batch go.
struct Place {
    of_batch: Tensor,
    first: i64,
    all: i64,
}

impl Place {
    /// Copies the rows to their place in a column, which is made for all rows where it is not there yet.
    fn fill(&self, column: &mut Option<Tensor>, batch: Option<&Tensor>) -> Result<(), TchError> {
        let Some(batch) = batch else {
            return Ok(());
        };
        let column = match column {
            Some(column) => column,
            None => {
                let mut shape = batch.size();
                shape[0] = self.all;
                column.insert(Tensor::f_empty(&shape, (batch.kind(), Device::Cpu))?)
            }
        };
        let rows = batch.f_index_select(0, &self.of_batch)?;
        column
            .f_narrow(0, self.first, rows.size()[0])?
            .f_copy_(&rows)
    }
}

/// What a chunk told.
struct Taken {
    inputs: Inputs,
    told: Vec<(u64, Latest)>,
    rejected: u64,
    reason: Option<String>,
}

enum Latest {
    Galaxy { row: i64, z_spec: Option<f32> },
    SpecZ(f32),
    Withdrawn,
}

async fn read(
    catalog: Arc<Catalog>,
    split: Split,
    rules: Rules,
    intervals: Vec<Interval>,
    budget: Budget,
) -> Result<Vec<Taken>, Error> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (kept, of) = (taken.clone(), split.clone());
    let keep = move |chunk: Chunk| {
        let told = take(&chunk, &of, &rules, &intervals);
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told);
    };
    catalog.read(&split, &budget, keep).await?;
    let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(taken.into_iter().collect::<Result<_, models::Error>>()?)
}

fn take(
    chunk: &Chunk,
    split: &Split,
    rules: &Rules,
    intervals: &[Interval],
) -> Result<Taken, models::Error> {
    let galaxies = &chunk.galaxies;
    let (mut told, mut rows, mut rejected, mut first) = (Vec::new(), Vec::new(), 0, None);
    for (row, door) in judge(galaxies, split.kind, rules).into_iter().enumerate() {
        let hash = id_hash(&galaxies.object_id, row);
        let is_asked_for = intervals.iter().any(|interval| interval.holds(hash));
        let z_spec = (!galaxies.z_spec.is_null(row)).then(|| galaxies.z_spec.value(row));
        let z_spec = z_spec.filter(|&z| rules.is_redshift(z));
        let of_row = match door {
            Door::Rejected(reason) => {
                rejected += 1;
                first.get_or_insert(reason);
                continue;
            }
            _ if !is_asked_for => continue,
            Door::Withdrawn => Latest::Withdrawn,
            Door::Learned => Latest::SpecZ(z_spec.expect("what is learned is a redshift")),
            Door::Predicted => {
                rows.push(row);
                let row = rows.len() as i64 - 1;
                Latest::Galaxy { row, z_spec }
            }
        };
        told.push((hash, of_row));
    }
    // A spec-z drop has nothing to look at.
    let inputs = if rows.is_empty() {
        Inputs::default()
    } else {
        // A training's rows are held as the network sees them.
        inputs(&rules.needs, galaxies, &rows, models::host_tensor)?.dereddened(&rules.needs)?
    };
    Ok(Taken {
        inputs,
        told,
        rejected,
        reason: first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose first magnitude tells where they were read.
    fn batch(mags: &[f32]) -> Inputs {
        let mags = Tensor::from_slice(mags).reshape([-1, 1]);
        Inputs {
            cutouts: Some(mags.reshape([-1, 1, 1, 1])),
            mags: Some(mags),
            ..Inputs::default()
        }
    }

    /// They were held three times over: as they were read, in pieces, and laid out.
    #[test]
    fn rows_come_in_the_order_of_the_catalog_each_to_its_interval() {
        let nothing = Inputs::default();
        let place = |of: f64| (of * 2_f64.powi(64)) as u64;
        let table = CatalogRows {
            batches: vec![batch(&[0.0, 1.0, 2.0]), nothing, batch(&[3.0, 4.0])],
            latest: HashMap::from([
                (place(0.1), (2, 1)),
                (place(0.2), (0, 2)),
                (place(0.3), (0, 0)),
                (place(0.7), (2, 0)),
                (place(0.8), (0, 1)),
            ]),
            z_spec: HashMap::from([(place(0.1), 0.5), (place(0.2), 0.25), (place(0.7), 0.125)]),
            rejected: 0,
            reason: None,
        };
        let interval = |text: &str| text.parse::<Interval>().unwrap();
        let all = table.into_rows(
            [interval("0:0.5"), interval("0.5:1"), interval("0.9:1")],
            true,
        );
        let numbers = |tensor: &Option<Tensor>| -> Vec<f32> {
            let tensor = tensor.as_ref().map(|tensor| tensor.reshape([-1]));
            tensor.map_or(Vec::new(), |tensor| Vec::try_from(tensor).unwrap())
        };
        let found = all.unwrap().map(|rows| {
            assert_eq!(numbers(&rows.cutouts), numbers(&rows.mags));
            (numbers(&rows.mags), numbers(&rows.z_spec))
        });
        let expected = [
            (vec![2.0, 4.0], vec![0.25, 0.5]),
            (vec![3.0], vec![0.125]),
            (vec![], vec![]),
        ];
        assert_eq!(found, expected);
    }

    fn taken(told: Vec<(u64, Latest)>) -> Taken {
        let (cutouts, mags) = (None, None);
        Taken {
            inputs: Inputs {
                cutouts,
                mags,
                ..Inputs::default()
            },
            told,
            rejected: 0,
            reason: None,
        }
    }

    #[test]
    fn of_two_rows_of_an_object_in_a_drop_the_first_counts() {
        // Training took the last row of a drop, and a run the first.
        let galaxy = |row, z| Latest::Galaxy {
            row,
            z_spec: Some(z),
        };
        let (mut table, mut seen) = (CatalogRows::default(), HashSet::new());
        let first = taken(vec![
            (7, galaxy(0, 0.1)),
            (8, galaxy(1, 0.2)),
            (7, galaxy(2, 0.3)),
        ]);
        table.take(first, &mut seen);
        table.take(
            taken(vec![(8, Latest::Withdrawn), (7, Latest::SpecZ(0.4))]),
            &mut seen,
        );
        assert_eq!((table.latest[&7], table.z_spec[&7]), ((0, 0), 0.1));
        assert_eq!((table.latest[&8], table.z_spec[&8]), ((0, 1), 0.2));
        assert_eq!(table.rejected, 3, "as a run rejects them");
        // Of a later drop the row counts.
        table.take(taken(vec![(7, galaxy(0, 0.5))]), &mut HashSet::new());
        assert_eq!((table.latest[&7], table.z_spec[&7]), ((2, 0), 0.5));
    }
}
