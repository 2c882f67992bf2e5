//! The ten galaxies most similar to one: by the cosine of the angle between their embeddings, over all drops of an output.
//!
//! ```text
//! cargo run --release --example 04_similar                       # on a sample survey, with the bundled model
//! cargo run --release --example 04_similar OUT OBJECT_ID         # on OUT of `hubbleflow run … --embeddings`
//! ```
//! A galaxy counts once: the row of the last drop by name, unless that row withdraws it.
use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float32Type},
};
use hubbleflow::{Job, JobSettings, Location, PlanSettings};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use sample::{SampleSettings, sample};

/// The number of galaxies to show.
const SHOWN: usize = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [out, object] => show(&Path::new(out).join("embeddings"), Some(object)),
        _ => {
            let dir = tempfile::tempdir()?;
            show(&of_sample(dir.path())?, None)
        }
    }
}

/// Makes a sample survey, and runs the bundled model on it. Returns the folder of the embeddings.
fn of_sample(dir: &Path) -> Result<PathBuf> {
    let path = |name: &str| dir.join(name).display().to_string();
    let survey = SampleSettings {
        galaxies: 1_000,
        px: 32,
        ..SampleSettings::default()
    };
    let folder = Location::open(&path("catalog"), &[])?;
    let made = sample(folder.store, folder.prefix, &survey, |_rows| ());
    println!("{}\n", tokio::runtime::Runtime::new()?.block_on(made)?);
    let settings = JobSettings {
        plan: PlanSettings {
            embeddings: true,
            ..PlanSettings::default()
        },
        ..JobSettings::default()
    };
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/models/pretrained/pcm-astromae"
    );
    let job = Job::builder(&path("catalog"), &path("out")).model(model);
    job.settings(settings).build()?.run()?;
    Ok(dir.join("out/embeddings"))
}

/// A galaxy and its embedding, of length 1.
struct Galaxy {
    id: String,
    drop: String,
    embedding: Vec<f32>,
}

fn show(embeddings: &Path, object: Option<&str>) -> Result<()> {
    let galaxies = read_current(embeddings)?;
    let wanted = |galaxy: &&Galaxy| object.is_none_or(|object| galaxy.id == object);
    let of = galaxies
        .iter()
        .find(wanted)
        .context("there is no such galaxy")?;
    let cosine = |other: &Galaxy| -> f32 {
        let pairs = of.embedding.iter().zip(&other.embedding);
        pairs.map(|(a, b)| a * b).sum()
    };
    let others = galaxies.iter().filter(|other| other.id != of.id);
    let mut others: Vec<(f32, &Galaxy)> = others.map(|other| (cosine(other), other)).collect();
    others.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "most similar to {} of {}, of {} galaxies:",
        of.id,
        of.drop,
        galaxies.len()
    );
    for (cosine, Galaxy { id, drop, .. }) in others.into_iter().take(SHOWN) {
        println!("{cosine:.4}  {id:>12}  {drop}");
    }
    Ok(())
}

/// Reads each galaxy once, from the last drop to the first.
fn read_current(embeddings: &Path) -> Result<Vec<Galaxy>> {
    let (mut galaxies, mut seen) = (Vec::new(), HashSet::new());
    for drop in sorted(embeddings)?.into_iter().rev() {
        for file in sorted(&drop)? {
            let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file)?)?;
            let columns = ["object_id", "embedding", "drop"];
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
            for rows in builder.with_projection(mask).build()? {
                let new = of_rows(&rows?)?;
                let new = new.into_iter().filter(|(id, _)| seen.insert(id.clone()));
                galaxies.extend(new.filter_map(|(_, galaxy)| galaxy));
            }
        }
    }
    Ok(galaxies)
}

/// The galaxies of some rows, by their ids. A withdrawn row has no embedding, and no galaxy.
fn of_rows(rows: &RecordBatch) -> Result<Vec<(String, Option<Galaxy>)>> {
    let text = |name: &str| cast(&rows[name], &DataType::Utf8);
    let (ids, drops) = (text("object_id")?, text("drop")?);
    let (ids, drops) = (ids.as_string::<i32>(), drops.as_string::<i32>());
    let lists = rows["embedding"].as_fixed_size_list();
    let galaxy = |row: usize| {
        let id = ids.value(row).to_owned();
        if lists.is_null(row) {
            return Ok((id, None));
        }
        let values = cast(&lists.value(row), &DataType::Float32)?;
        let values = values.as_primitive::<Float32Type>().values();
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        let galaxy = Galaxy {
            id: id.clone(),
            drop: drops.value(row).to_owned(),
            embedding: values.iter().map(|value| value / length).collect(),
        };
        Ok((id, Some(galaxy)))
    };
    (0..rows.num_rows()).map(galaxy).collect()
}

/// The paths in a folder, in the order of their names.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = listed
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
