//! What the tests share: small catalogs in memory, and models that are a line of arithmetic.
use std::{
    sync::{Arc, LazyLock, Mutex, mpsc::Receiver},
    time::Duration,
};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    },
    datatypes::Float32Type,
};
use connectors::{
    Catalog, DropBy, DropPlan, Location, Output, Split,
    budget::Budget,
    checkpoint::Checkpoints,
    galaxy::{MagRequest, Request},
};
use hubbleflow_operators::{
    Checkpointer, Clock, DropId, Flow, Infer, Inference, Predictions, Read, Reader, Rules,
    Shutdown, Validate, Writer,
};
use models::{Error, Inputs, Model, Needs};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use parquet::arrow::ArrowWriter;
use tch::Tensor;
use timely::dataflow::{
    Scope,
    operators::{ToStream, capture::Event},
};
use tokio::runtime::Runtime;

/// Side of a cutout.
pub const PX: usize = 2;

pub static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    needs: Needs::of_mags(["u", "g", "r", "i", "z"]),
    mag_min: 0.0,
    mag_max: 40.0,
    z_spec_min: -0.01,
    z_spec_max: 10.0,
});

/// A clock that stands still.
pub const CLOCK: Clock = || Duration::ZERO;

/// A row of a catalog.
#[derive(Clone, Debug)]
pub struct Row {
    pub object_id: Option<i64>,
    pub ra: Option<f64>,
    pub dec: Option<f64>,
    pub mags: [Option<f32>; 5],
    pub cutout: Option<Vec<Option<f32>>>,
    pub z_spec: Option<f32>,
    pub deleted: bool,
}

impl Row {
    /// A galaxy that nothing is wrong with.
    pub fn galaxy(object_id: i64) -> Self {
        Self {
            object_id: Some(object_id),
            ra: Some(180.0),
            dec: Some(20.0),
            mags: [Some(19.0), Some(18.0), Some(17.0), Some(16.5), Some(16.0)],
            cutout: Some(vec![Some(1.0); 5 * PX * PX]),
            z_spec: Some(0.1),
            deleted: false,
        }
    }

    /// The same, with an r magnitude, which models below can tell rows by.
    pub fn with_mag_r(object_id: i64, mag_r: f32) -> Self {
        let mut row = Self::galaxy(object_id);
        row.mags[2] = Some(mag_r);
        row
    }
}

/// Rows as a file has them.
pub fn batch(rows: &[Row]) -> RecordBatch {
    let mag = |band: usize| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| row.mags[band])
                .collect::<Float32Array>(),
        )
    };
    let cutouts = ListArray::from_iter_primitive::<Float32Type, _, _>(
        rows.iter().map(|row| row.cutout.clone()),
    );
    let columns: [(&str, ArrayRef); 11] = [
        (
            "object_id",
            Arc::new(rows.iter().map(|row| row.object_id).collect::<Int64Array>()),
        ),
        (
            "ra",
            Arc::new(rows.iter().map(|row| row.ra).collect::<Float64Array>()),
        ),
        (
            "dec",
            Arc::new(rows.iter().map(|row| row.dec).collect::<Float64Array>()),
        ),
        ("mag_u", mag(0)),
        ("mag_g", mag(1)),
        ("mag_r", mag(2)),
        ("mag_i", mag(3)),
        ("mag_z", mag(4)),
        ("cutout", Arc::new(cutouts)),
        (
            "z_spec",
            Arc::new(rows.iter().map(|row| row.z_spec).collect::<Float32Array>()),
        ),
        (
            "deleted",
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.deleted))
                    .collect::<BooleanArray>(),
            ),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A catalog and an output in memory.
pub struct Survey {
    pub runtime: Runtime,
    pub store: Arc<InMemory>,
    pub catalog: Arc<Catalog>,
    pub output: Output,
}

impl Survey {
    pub fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let place = |prefix: &str| Location {
            store: store.clone(),
            prefix: Path::from(prefix),
            url: format!("memory:/{prefix}"),
            folder: None,
            pages: None,
        };
        let request = Request {
            mags: MagRequest::required(["u", "g", "r", "i", "z"], "r"),
            ..Request::default()
        };
        let catalog = Arc::new(Catalog::new(place("catalog"), DropBy::Child, request));
        let output = Output::new(place("out"));
        Self {
            runtime: Runtime::new().unwrap(),
            store,
            catalog,
            output,
        }
    }

    /// Writes an object of a drop.
    pub fn put(&self, path: &str, rows: &[Row]) {
        let rows = batch(rows);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let path = Path::from(format!("catalog/{path}"));
        self.runtime
            .block_on(self.store.put(&path, bytes.into()))
            .unwrap();
    }

    /// The drops, each object a split.
    pub fn plan(&self) -> Vec<DropPlan> {
        self.runtime.block_on(async {
            let mut plans = Vec::new();
            for drop in self.catalog.drops().await.unwrap() {
                let attempt = format!("attempt-{}", plans.len());
                plans.push(
                    self.catalog
                        .plan(&drop, &attempt, 1, 1 << 30, 128)
                        .await
                        .unwrap(),
                );
            }
            plans
        })
    }

    pub fn reader(&self) -> Reader {
        let runtime = self.runtime.handle().clone();
        Reader {
            catalog: self.catalog.clone(),
            budget: Budget::new(1 << 20),
            runtime,
            splits_in_hand: 3,
            shutdown: Shutdown::default(),
            clock: CLOCK,
        }
    }

    pub fn writer(&self, held_bytes: u64) -> Writer {
        let (output, runtime) = (self.output.clone(), self.runtime.handle().clone());
        Writer {
            output,
            model_id: "0123456789abcdef".to_owned(),
            reference_band: Some("r".to_owned()),
            held_bytes,
            runtime,
            clock: CLOCK,
        }
    }

    /// Stores results beyond `held_bytes`.
    pub fn checkpointer(&self, held_bytes: u64) -> Checkpointer {
        let digest = "0123456789abcdef".to_owned();
        Checkpointer {
            checkpoints: Checkpoints::new(self.output.clone(), "0123456789abcdef", digest),
            every: Duration::ZERO,
            held_bytes,
            budget: Budget::new(1 << 20),
            shutdown: Shutdown::default(),
            runtime: self.runtime.handle().clone(),
            clock: CLOCK,
        }
    }

    /// Objects below the output, with their bytes.
    pub fn written(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        use futures::TryStreamExt;
        let folder = Path::from(format!("out/{folder}"));
        self.runtime.block_on(async {
            let mut listed: Vec<_> = self.store.list(Some(&folder)).try_collect().await.unwrap();
            listed.sort_by(|a, b| a.location.cmp(&b.location));
            let mut objects = Vec::new();
            for meta in listed {
                let bytes = self
                    .store
                    .get(&meta.location)
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap()
                    .to_vec();
                objects.push((meta.location.to_string(), bytes));
            }
            objects
        })
    }
}

/// The dataflow from splits to predictions.
pub fn photoz<'s>(
    scope: Scope<'s, DropId>,
    splits: Vec<Split>,
    reader: &Reader,
    inference: &Inference,
) -> Flow<'s, Predictions> {
    let splits = splits.to_stream(scope).container::<Vec<_>>();
    splits
        .read(reader)
        .validate(RULES.clone(), CLOCK)
        .infer(inference)
}

/// What came out of a dataflow, with its times.
pub fn items<D>(events: Receiver<Event<u64, Vec<D>>>) -> Vec<(u64, D)> {
    let mut all = Vec::new();
    for event in events {
        if let Event::Messages(time, items) = event {
            all.extend(items.into_iter().map(|item| (time, item)));
        }
    }
    all
}

/// A model that answers for the r magnitudes of a batch, on as many threads as are given.
pub fn inference(
    threads: usize,
    batch: usize,
    answer: impl Fn(&[f32]) -> Result<Vec<f32>, Error> + Send + Sync + 'static,
) -> Inference {
    let model = Arithmetic(Arc::new(answer));
    let replicas = (0..threads).map(|_| model.replica().unwrap());
    Inference::new(
        replicas.collect(),
        &[models::ModelOutput::ZPhot],
        batch,
        CLOCK,
    )
    .unwrap()
}

/// A tenth of the r magnitude.
pub fn tenth(mag_r: &[f32]) -> Result<Vec<f32>, Error> {
    Ok(mag_r.iter().map(|mag| mag / 10.0).collect())
}

/// Notes the batches it is asked about.
pub fn noting(
    batches: &Arc<Mutex<Vec<Vec<f32>>>>,
) -> impl Fn(&[f32]) -> Result<Vec<f32>, Error> + Send + Sync + 'static {
    let batches = batches.clone();
    move |mag_r| {
        batches.lock().unwrap().push(mag_r.to_vec());
        tenth(mag_r)
    }
}

type Answer = Arc<dyn Fn(&[f32]) -> Result<Vec<f32>, Error> + Send + Sync>;

struct Arithmetic(Answer);

impl Model for Arithmetic {
    fn id(&self) -> &str {
        "arithmetic"
    }

    fn name(&self) -> &str {
        "arithmetic"
    }

    fn needs(&self) -> &Needs {
        &RULES.needs
    }

    fn forward(
        &self,
        inputs: &Inputs,
        _wanted: &[models::ModelOutput],
    ) -> Result<Vec<Tensor>, Error> {
        let mag_r = inputs.mags.as_ref().unwrap().f_select(1, 2)?;
        let answer = (self.0)(&Vec::<f32>::try_from(mag_r)?)?;
        Ok(vec![Tensor::from_slice(&answer)])
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Self(self.0.clone())))
    }
}
