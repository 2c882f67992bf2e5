//! One drop from galaxies to redshifts, with the library alone: a sample survey, a model, a job, and its predictions.
//!
//! ```text
//! cargo run --release --example 01_one_drop
//! ```
//! The model has initial weights, so its redshifts mean nothing, and the cutouts are rendered: this shows how things are
//! put together. Everything lies in a temporary folder.
use std::path::Path;

use anyhow::Result;
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Float32Type, Float64Type, Int64Type},
};
use connectors::Location;
use engine::{
    Job,
    sample::{SampleArgs, sample},
    settings::RunArgs,
};
use models::Config;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Runtime;

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let (catalog, out, model) = (place("catalog"), place("photoz"), place("model"));
    let runtime = Runtime::new()?;

    // A catalog: 300 galaxies in one drop, a bad row in a hundred, `catalog/drop-0001/part-0000.parquet`.
    let survey = SampleArgs {
        galaxies: 300,
        drops: 1,
        px: 32,
        bad_rows: 0.01,
        ..SampleArgs::default()
    };
    let folder = Location::open(&catalog, &[])?;
    println!(
        "{}\n",
        runtime.block_on(sample(folder.store, folder.prefix, &survey, |_rows| ()))?
    );

    // A model directory: AstroMAE with an encoder of one block in place of twelve.
    let mut config = Config::preset("astromae").expect("astromae is a preset");
    config.encoder.depth = 1;
    models::init::init(Path::new(&model), &config, "")?;

    // The job. Settings are the flags of `hubbleflow run`; the second argument would hold credentials of stores.
    let args = RunArgs::new(&catalog, &out, &model);
    let job = Job::new(&args, &[], runtime.handle())?;
    let summary = engine::run(job, runtime.handle())?;
    println!(
        "{} of {} rows are predicted, {} rejected\n",
        summary.rows_written, summary.rows_read, summary.rows_rejected
    );

    // What came of it: Parquet, for any reader.
    for file in std::fs::read_dir(dir.path().join("photoz/photoz/drop-0001"))? {
        let rows = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file?.path())?)?
            .build()?;
        for batch in rows.take(1) {
            show(&batch?.slice(0, 5));
        }
    }
    Ok(())
}

/// Prints rows of `photoz/`.
fn show(rows: &RecordBatch) {
    let object_id = rows["object_id"].as_primitive::<Int64Type>();
    let (ra, dec) = (
        rows["ra"].as_primitive::<Float64Type>(),
        rows["dec"].as_primitive::<Float64Type>(),
    );
    let (z_phot, z_spec) = (
        rows["z_phot"].as_primitive::<Float32Type>(),
        rows["z_spec"].as_primitive::<Float32Type>(),
    );
    println!(
        "{:>20} {:>10} {:>10} {:>8} {:>8}",
        "object_id", "ra", "dec", "z_phot", "z_spec"
    );
    for row in 0..rows.num_rows() {
        println!(
            "{:>20} {:>10.5} {:>10.5} {:>8.4} {:>8.4}",
            object_id.value(row),
            ra.value(row),
            dec.value(row),
            z_phot.value(row),
            z_spec.value(row)
        );
    }
}
