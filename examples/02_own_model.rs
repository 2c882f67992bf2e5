//! Runs a model of your own: a quadratic polynomial in colours and the r magnitude.
//!
//! ```text
//! cargo run --release --example 02_own_model
//! ```
//! Hubbleflow runs any type that implements [`Model`]. This model uses only magnitudes, so cutouts are not read. It is fitted
//! to a sample survey and scored on a second survey that is drawn from other real galaxies. A score on a sample survey is
//! not a score on SDSS, because the photometry is smoothed.
use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::Result;
use arrow::{array::AsArray, datatypes::Float32Type};
use hubbleflow::{Inputs, Job, Location, Model, ModelOutput, Needs};
use models::{
    Error,
    statistics::{median, sigma_nmad},
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use sample::{ParentSplit, SampleSettings, sample};
use tch::{Kind, Tensor};
use tokio::runtime::Runtime;

/// `z = c · (1, x, x ⊗ x)` with `x = (u-g, g-r, r-i, i-z, r)`.
struct Quadratic {
    id: String,
    needs: Needs,
    /// `[term, 1]` float64.
    coefficients: Tensor,
}

impl Quadratic {
    /// The least-squares fit to `mags` (`[galaxy, 5]`) and `z_spec` (`[galaxy]`).
    fn fit(mags: &Tensor, z_spec: &Tensor) -> Result<Self> {
        let (terms, z_spec) = (terms(mags)?, z_spec.to_kind(Kind::Double).f_unsqueeze(1)?);
        let (coefficients, ..) = terms.f_linalg_lstsq(&z_spec, 1e-10, "gelsd")?;
        let mut hasher = DefaultHasher::new();
        for coefficient in Vec::<f64>::try_from(coefficients.f_flatten(0, 1)?)? {
            coefficient.to_bits().hash(&mut hasher);
        }
        Ok(Self {
            id: format!("{:016x}", hasher.finish()),
            needs: Needs::of_mags(["u", "g", "r", "i", "z"]),
            coefficients,
        })
    }
}

/// `[galaxy, 5]` float32 -> `[galaxy, term]` float64.
fn terms(mags: &Tensor) -> Result<Tensor, tch::TchError> {
    let mags = mags.to_kind(Kind::Double);
    let colours = mags.f_narrow(1, 0, 4)? - mags.f_narrow(1, 1, 4)?;
    // Centred at the typical magnitude, so that all terms are of similar size.
    let mag_r = mags.f_narrow(1, 2, 1)? - 17.0;
    let x = Tensor::f_cat(&[colours, mag_r], 1)?;
    let products = (x.f_unsqueeze(2)? * x.f_unsqueeze(1)?).f_flatten(1, 2)?;
    Tensor::f_cat(&[x.f_narrow(1, 0, 1)?.f_ones_like()?, x, products], 1)
}

impl Model for Quadratic {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        "quadratic in colours"
    }

    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn forward(&self, inputs: &Inputs, _wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error> {
        let mags = inputs
            .mags
            .as_ref()
            .ok_or_else(|| Error::Inputs("no magnitudes".to_owned()))?;
        let z_phot = terms(mags)?
            .f_matmul(&self.coefficients)?
            .f_squeeze_dim(1)?
            .f_to_kind(Kind::Float)?;
        Ok(vec![z_phot])
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Self {
            id: self.id.clone(),
            needs: self.needs.clone(),
            coefficients: self.coefficients.shallow_clone(),
        }))
    }
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let runtime = Runtime::new()?;
    let survey = |name: &str, parents, bad_rows| {
        let settings = SampleSettings {
            galaxies: 1_500,
            px: 8,
            parents,
            bad_rows,
            ..SampleSettings::default()
        };
        let folder = Location::open(&place(name), &[])?;
        runtime.block_on(sample(folder.store, folder.prefix, &settings, |_rows| ()))?;
        anyhow::Ok(())
    };
    survey("known", ParentSplit::Train, 0.0)?;
    survey("catalog", ParentSplit::Test, 0.01)?;

    let model = fit(&dir.path().join("known"))?;
    let job = Job::builder(&place("catalog"), &place("photoz"))
        .own_model(model)
        .build()?;
    let summary = job.run()?;
    println!(
        "{} galaxies in {} drops, {} rows rejected",
        summary.rows_written, summary.drops_committed, summary.rows_rejected
    );
    score(&dir.path().join("photoz/photoz"))
}

/// Fits the model to all rows of a catalog.
fn fit(catalog: &Path) -> Result<Quadratic> {
    let columns = read(
        catalog,
        &["mag_u", "mag_g", "mag_r", "mag_i", "mag_z", "z_spec"],
    )?;
    let columns: Vec<Tensor> = columns
        .iter()
        .map(|column| Tensor::from_slice(column))
        .collect();
    Quadratic::fit(&Tensor::f_stack(&columns[..5], 1)?, &columns[5])
}

/// Prints how well the predictions agree with the spectra.
fn score(photoz: &Path) -> Result<()> {
    let columns = read(photoz, &["z_phot", "z_spec"])?;
    let dz: Vec<f32> = columns[0]
        .iter()
        .zip(&columns[1])
        .map(|(z_phot, z_spec)| (z_phot - z_spec) / (1.0 + z_spec))
        .collect();
    if let Some((bias_median, sigma_nmad)) = median(&dz).zip(sigma_nmad(&dz)) {
        println!(
            "sigma_nmad {sigma_nmad:.4}, bias_median {bias_median:+.4} over {} galaxies of a sample survey",
            dz.len()
        );
    }
    Ok(())
}

/// Columns of all Parquet files in the folders of a folder.
fn read(folder: &Path, names: &[&str]) -> Result<Vec<Vec<f32>>> {
    let mut columns = vec![Vec::new(); names.len()];
    for drop in std::fs::read_dir(folder)? {
        for file in std::fs::read_dir(drop?.path())? {
            let file: PathBuf = file?.path();
            if file
                .extension()
                .is_none_or(|extension| extension != "parquet")
            {
                continue;
            }
            let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
            let wanted = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
            for rows in builder.with_projection(wanted).build()? {
                let rows = rows?;
                for (name, column) in names.iter().zip(&mut columns) {
                    column.extend(rows[*name].as_primitive::<Float32Type>().values());
                }
            }
        }
    }
    Ok(columns)
}
