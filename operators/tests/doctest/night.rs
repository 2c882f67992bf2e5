// What doctests share: a catalog with one drop, and a model that is a line of arithmetic. Doctests include this file.
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
use connectors::{
    Catalog, DropBy, Location,
    budget::Budget,
    galaxy::{MagRequest, Request},
    split::Splits,
};
use hubbleflow_operators::{Reader, Rules, Shutdown};
use models::{Error, Inputs, Model, Needs, ModelOutput};
use parquet::arrow::ArrowWriter;

static NEEDS: LazyLock<Needs> = LazyLock::new(|| Needs::of_mags(["u", "g", "r", "i", "z"]));

pub struct Night {
    runtime: tokio::runtime::Runtime,
    catalog: Arc<Catalog>,
    _folder: tempfile::TempDir,
}

impl Night {
    /// Two galaxies with an r magnitude of 17; the second has a declination of 95 degrees.
    pub fn of_two_galaxies() -> Self {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("object_id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("ra", Arc::new(Float64Array::from(vec![180.0, 180.0]))),
            ("dec", Arc::new(Float64Array::from(vec![20.0, 95.0]))),
        ];
        for mag in ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"] {
            columns.push((mag, Arc::new(Float32Array::from(vec![17.0, 17.0]))));
        }
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let night = folder.path().join("night-1");
        std::fs::create_dir(&night).unwrap();
        let file = std::fs::File::create(night.join("a.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let place = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
        let request = Request {
            mags: MagRequest::required(["u", "g", "r", "i", "z"], "r"),
            ..Request::default()
        };
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            catalog: Arc::new(Catalog::new(place, DropBy::Child, request)),
            _folder: folder,
        }
    }

    pub fn splits(&self) -> Splits {
        self.runtime.block_on(async {
            let drops = self.catalog.drops().await.unwrap();
            let plan = self.catalog.plan(&drops[0], "first", 1, 1 << 30, 128);
            plan.await.unwrap().splits
        })
    }

    pub fn reader(&self) -> Reader {
        Reader {
            catalog: self.catalog.clone(),
            budget: Budget::new(1 << 20),
            runtime: self.runtime.handle().clone(),
            splits_in_hand: 2,
            shutdown: Shutdown::default(),
            clock: || Duration::ZERO,
        }
    }
}

pub fn rules() -> Rules {
    Rules {
        needs: NEEDS.clone(),
        mag_min: 0.0,
        mag_max: 40.0,
        z_spec_min: -0.01,
        z_spec_max: 10.0,
    }
}

/// Predicts a tenth of the r magnitude.
pub struct TenthOfMagR;

impl Model for TenthOfMagR {
    fn id(&self) -> &str {
        "a tenth of r"
    }

    fn name(&self) -> &str {
        "a tenth of r"
    }

    fn needs(&self) -> &Needs {
        &NEEDS
    }

    fn forward(&self, inputs: &Inputs, _wanted: &[ModelOutput]) -> Result<Vec<tch::Tensor>, Error> {
        let mag_r = inputs.mags.as_ref().unwrap().f_select(1, 2)?;
        Ok(vec![mag_r.f_div_scalar(10.0)?])
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Self))
    }
}
