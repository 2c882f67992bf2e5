//! An output in memory, and commits to it as the engine makes them.
use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch};
use connectors::{
    Ledger, Location, Output,
    ledger::{Entry, EntryKind, FORMAT, FileRecord, RowCounts},
};
use hubbleflow_operators::{
    Metrics, Scorer,
    score::{newest, score_up_to},
};
use object_store::{memory::InMemory, path::Path};
use testkit::galaxy_rows::parquet_bytes;
use tokio::{runtime::Runtime, sync::Mutex};

use crate::intervals;

/// What a committed row says.
#[derive(Clone, Debug)]
pub enum Says {
    Predicted {
        z_phot: f32,
        z_spec: Option<f32>,
        mag_r: Option<f32>,
        cell: i64,
    },
    Withdrawn,
}

/// The rows of a drop by object. Rejected rows are left out.
#[derive(Clone, Debug)]
pub enum Content {
    Photoz(BTreeMap<i64, Says>),
    SpecZ(BTreeMap<i64, f32>),
}

/// An output in memory, and its ledger.
pub struct Committed {
    pub runtime: Runtime,
    pub output: Output,
    pub ledger: Arc<Mutex<Ledger>>,
}

impl Committed {
    pub fn new() -> Self {
        let location = Location {
            store: Arc::new(InMemory::new()),
            prefix: Path::from("out"),
            url: "memory:/out".to_owned(),
            folder: None,
            pages: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let ledger = runtime.block_on(Ledger::open(&location)).unwrap();
        Self {
            runtime,
            output: Output::new(location),
            ledger: Arc::new(Mutex::new(ledger)),
        }
    }

    /// Commits a drop as the engine does: staged, entered, published; files of an earlier entry are gone after.
    pub fn commit(&self, attempt: usize, drop: &str, content: &Content) -> u64 {
        let (attempt, mut files) = (format!("attempt-{attempt}"), Vec::new());
        for (part, rows) in content.parts(drop).into_iter().enumerate() {
            let bytes = parquet_bytes(&rows, 2);
            let path = format!(
                "{}/{drop}/part-{part:04}-{attempt}.parquet",
                content.folder()
            );
            let record = FileRecord {
                path: path.clone(),
                rows: rows.num_rows() as u64,
                bytes: bytes.len() as u64,
                sha256: String::new(),
            };
            files.push(record);
            let staged = self.output.stage(&attempt, &path, bytes);
            self.runtime.block_on(staged).unwrap();
        }
        let entry = Entry {
            kind: EntryKind::Drop,
            drop: drop.to_owned(),
            files,
            rows: RowCounts::default(),
            format: FORMAT,
            settings: intervals::settings(drop),
            ..Entry::abandoned(&attempt, "0.0.0")
        };
        self.runtime.block_on(async {
            let mut ledger = self.ledger.lock().await;
            let began = ledger.next();
            self.output.commit(&mut ledger, entry, began).await.unwrap();
            newest(&ledger).unwrap()
        })
    }

    /// The metrics of all that is committed, made from nothing.
    pub fn rebuilt(&self) -> Metrics {
        let ledger = self
            .runtime
            .block_on(async { self.ledger.lock().await.clone() });
        let last = newest(&ledger).unwrap();
        score_up_to(&self.output, ledger, last, self.runtime.handle()).unwrap()
    }

    pub fn scorer(&self, first: Vec<u64>) -> Scorer {
        Scorer {
            output: self.output.clone(),
            ledger: self.ledger.clone(),
            first,
            runtime: self.runtime.handle().clone(),
        }
    }
}

impl Content {
    pub fn folder(&self) -> &str {
        match self {
            Self::Photoz(_) => "photoz",
            Self::SpecZ(_) => "specz",
        }
    }

    /// Odd objects in one file, even ones in another; a file without rows is not written.
    pub fn parts(&self, drop: &str) -> Vec<RecordBatch> {
        let parts = [0, 1].map(|part| match self {
            Self::Photoz(rows) => {
                let rows: Vec<_> = rows.iter().filter(|(id, _)| *id % 2 == part).collect();
                photoz(drop, &rows)
            }
            Self::SpecZ(rows) => {
                let rows = rows.iter().filter(|(id, _)| *id % 2 == part);
                let (ids, z): (Vec<i64>, Vec<f32>) = rows.unzip();
                batch(vec![
                    ("object_id", Arc::new(Int64Array::from(ids))),
                    ("z_spec", Arc::new(Float32Array::from(z))),
                ])
            }
        });
        parts
            .into_iter()
            .filter(|part| part.num_rows() > 0)
            .collect()
    }
}

pub fn photoz(drop: &str, rows: &[(&i64, &Says)]) -> RecordBatch {
    let floats = |of: &dyn Fn(&Says) -> Option<f32>| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|(_, says)| of(says))
                .collect::<Float32Array>(),
        )
    };
    let cells = rows.iter().map(|(_, says)| match says {
        Says::Predicted { cell, .. } => Some(*cell),
        Says::Withdrawn => None,
    });
    let flags = rows
        .iter()
        .map(|(_, says)| i32::from(matches!(says, Says::Withdrawn)));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "object_id",
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|(id, _)| **id),
            )),
        ),
        ("_healpix_29", Arc::new(cells.collect::<Int64Array>())),
        (
            "z_phot",
            floats(&|says| match says {
                Says::Predicted { z_phot, .. } => Some(*z_phot),
                Says::Withdrawn => None,
            }),
        ),
        (
            "z_spec",
            floats(&|says| match says {
                Says::Predicted { z_spec, .. } => *z_spec,
                Says::Withdrawn => None,
            }),
        ),
        (
            "mag_r",
            floats(&|says| match says {
                Says::Predicted { mag_r, .. } => *mag_r,
                Says::Withdrawn => None,
            }),
        ),
        ("z_flags", Arc::new(Int32Array::from_iter_values(flags))),
    ];
    columns.extend(intervals::columns(drop, rows));
    batch(columns)
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, of)| (name, of, true)))
        .unwrap()
}
