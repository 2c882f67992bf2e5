//! Makes sample surveys in memory and reads their files back.
#![allow(clippy::unwrap_used)]

mod bands;
mod drop_rows;
mod large;
mod real;
mod sky;
mod survey_files;

use super::*;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use bytes::Bytes;
use object_store::{ObjectStoreExt, memory::InMemory};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, HashMap, HashSet};

const SIDE_PX: usize = 16;

/// The settings of flags of the command line.
fn settings(flags: &str) -> SampleSettings {
    let mut settings = SampleSettings {
        px: SIDE_PX,
        ..SampleSettings::default()
    };
    let words: Vec<&str> = flags.split_whitespace().collect();
    for pair in words.chunks(2) {
        let number = || pair[1].parse().unwrap();
        let share = || pair[1].parse().unwrap();
        match pair[0] {
            "--galaxies" => settings.galaxies = number(),
            "--drops" => settings.drops = number(),
            "--bands" => settings.bands = pair[1].parse().unwrap(),
            "--px" => settings.px = number() as usize,
            "--parents" => settings.parents = pair[1].parse().unwrap(),
            "--photometry" => settings.photometry = Some(pair[1].into()),
            "--mag-noise" => settings.mag_noise = share(),
            "--corrections" => settings.corrections = share(),
            "--withdrawals" => settings.withdrawals = share(),
            "--bad-rows" => settings.bad_rows = share(),
            "--without-spec-z" => settings.without_spec_z = share(),
            "--specz-drops" => settings.specz_drops = number(),
            flag => panic!("there is no flag {flag}"),
        }
    }
    settings
}

/// The objects of a survey by path.
type Files = BTreeMap<String, Bytes>;

async fn make_on(
    threads: usize,
    settings: &SampleSettings,
) -> Result<(Files, SampleSummary), SampleError> {
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let prefix = Path::from("survey");
    let summary = sample_on(threads, Arc::clone(&store), prefix, settings, |_| ()).await?;
    let mut files = Files::new();
    let listed: Vec<_> = store.list(None).try_collect().await?;
    for object in listed {
        let bytes = store.get(&object.location).await?.bytes().await?;
        files.insert(object.location.to_string(), bytes);
    }
    Ok((files, summary))
}

async fn make(flags: &str) -> (Files, SampleSummary) {
    make_on(2, &settings(flags)).await.unwrap()
}

/// All rows below a path.
fn read(files: &Files, below: &str) -> Vec<RecordBatch> {
    files
        .iter()
        .filter(|(path, _)| path.starts_with(below) && path.ends_with(".parquet"))
        .flat_map(|(_, bytes)| {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
            reader.build().unwrap().map(Result::unwrap)
        })
        .collect()
}

/// A row that was read back. A withdrawn row has only an id.
#[derive(Debug, Clone, PartialEq)]
struct ReadRow {
    object_id: i64,
    is_withdrawn: bool,
    position: (f64, f64),
    mags: [f32; 5],
    ebv: f32,
    z_spec: Option<f32>,
    parent: i32,
    cutout: Vec<f32>,
}

impl ReadRow {
    fn is_bad(&self) -> bool {
        let (ra_deg, dec_deg) = self.position;
        let in_range = |mag: &f32| (5.0..35.0).contains(mag);
        ra_deg.is_nan()
            || dec_deg > 90.0
            || !self.mags.iter().all(in_range)
            || !self.cutout.iter().all(|pixel| pixel.is_finite())
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<ReadRow> {
    batches.iter().flat_map(rows_of_batch).collect()
}

fn rows_of_batch(batch: &RecordBatch) -> Vec<ReadRow> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let ids = column("object_id").as_primitive::<Int64Type>();
    let degrees = |name: &str| column(name).as_primitive::<Float64Type>();
    let floats = |name: &str| column(name).as_primitive::<Float32Type>();
    let parents = column("parent").as_primitive::<Int32Type>();
    let cutouts = column("cutout").as_fixed_size_list();
    let deleted = batch.column_by_name("deleted").map(|it| it.as_boolean());
    (0..batch.num_rows())
        .map(|row| {
            let is_withdrawn = deleted.is_some_and(|deleted| deleted.value(row));
            for name in ["ra", "dec", "mag_u", "mag_z", "ebv", "parent", "cutout"] {
                assert_eq!(column(name).is_null(row), is_withdrawn, "{name}");
            }
            let z_spec = floats("z_spec");
            ReadRow {
                object_id: ids.value(row),
                is_withdrawn,
                position: (degrees("ra").value(row), degrees("dec").value(row)),
                mags: ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"]
                    .map(|name| floats(name).value(row)),
                ebv: floats("ebv").value(row),
                z_spec: z_spec.is_valid(row).then(|| z_spec.value(row)),
                parent: parents.value(row),
                cutout: cutouts
                    .value(row)
                    .as_primitive::<Float32Type>()
                    .values()
                    .to_vec(),
            }
        })
        .collect()
}
