//! One drop from galaxies to redshifts, with the library alone: a sample survey, a model, a job, and its predictions.
//!
//! ```text
//! cargo run --release --example 01_one_drop
//! ```
//! The model has initial weights, so its redshifts mean nothing, and the cutouts are rendered: this example shows how the
//! parts fit together. Everything lies in a temporary folder.
use hubbleflow::{Job, Location};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use sample::{SampleSettings, sample};

fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (catalog, photoz, model) = (path("catalog"), path("photoz"), path("model"));

    // A catalog: 300 galaxies in three drops, `catalog/drop-0001/part-0000.parquet` and so on.
    let mut survey = SampleSettings::default();
    (survey.galaxies, survey.px) = (300, 32);
    let folder = Location::open(&catalog, &[])?;
    let made = sample(folder.store, folder.prefix, &survey, |_rows| ());
    println!("{}\n", tokio::runtime::Runtime::new()?.block_on(made)?);

    // A model directory: AstroMAE with an encoder of one block instead of twelve.
    let mut config = models::Config::preset("astromae").expect("astromae is a preset");
    config.encoder.depth = 1;
    models::init::init(model.as_ref(), &config, "")?;

    // The job.
    let job = Job::builder(&catalog, &photoz).model(&model).build()?;
    println!("{} galaxies are predicted", job.run()?.rows_written);

    // The predictions of the first drop: Parquet, for any reader.
    for file in std::fs::read_dir(path("photoz/photoz/drop-0001"))? {
        let file = std::fs::File::open(file?.path())?;
        for rows in ParquetRecordBatchReader::try_new(file, 5)?.take(1) {
            println!("{:?}", rows?["z_phot"]);
        }
    }
    Ok(())
}
