//! Run the model on the rows that may be predicted, in batches that never cross a split. A process has one queue of batches,
//! and each of its threads takes the next: a chunk is as soon done as all of them can do it.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use connectors::{
    galaxy::Galaxies,
    part::{Door, Outcomes, Piece, pieces},
};
use models::{Error, Inputs, Model, Needs};
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use timely::dataflow::channels::pact::Pipeline;

use crate::{
    Clock, Failure, Flow, Judged, Tally,
    offload::{Reply, offload, panic_message},
    read::Rows,
};

/// The model on its threads: one for a process, shared by its workers.
#[derive(Clone)]
pub struct Inference {
    threads: Arc<Threads>,
    batch: usize,
    clock: Clock,
}

struct Threads {
    pool: ThreadPool,
    /// One for each thread of the pool.
    replicas: Vec<Mutex<Box<dyn Model>>>,
}

impl Inference {
    /// Starts a thread for each replica of a model, which take `batch` rows at a time.
    ///
    /// # Errors
    /// Where the threads cannot be started.
    pub fn new(
        replicas: Vec<Box<dyn Model>>,
        batch: usize,
        clock: Clock,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(replicas.len())
            .thread_name(|thread| format!("infer-{thread}"))
            .start_handler(|_thread| models::device::single_threaded())
            // The reply that the panic has dropped stops the run.
            .panic_handler(|_panic| {})
            .build()?;
        let replicas = replicas.into_iter().map(Mutex::new).collect();
        Ok(Self {
            threads: Arc::new(Threads { pool, replicas }),
            batch,
            clock,
        })
    }
}

/// Rows of one part on their way to it, or why a split has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// The drop.
    pub drop: String,
    /// The attempt at it.
    pub attempt: String,
    /// The part; failures travel to the first.
    pub part: u32,
    /// The object that the split is of, by its place among the drop's.
    pub object_index: u32,
    /// Rows, or what happened to the split.
    pub content: Result<Piece, String>,
    /// Whether the split is done: of its last chunk it is the last parcel.
    pub ends_split: bool,
    /// What the rows of a chunk took, on one of its parcels.
    pub tally: Tally,
}

impl Parcel {
    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.content
            .as_ref()
            .map_or(0, |piece| piece.rows.num_rows() as u64)
    }
}

/// Predicts rows.
/// ```
/// use connectors::Split;
/// use operators::{Flow, Infer, Inference, Parcel, Read, Reader, Rules, Validate};
///
/// /// From splits to redshifts, on the worker that reads them.
/// fn photoz<'s>(splits: Flow<'s, Split>, reader: &Reader, rules: Rules, inference: &Inference) -> Flow<'s, Parcel> {
///     splits.read(reader).validate(rules, reader.clock).infer(inference)
/// }
/// ```
pub trait Infer<'s> {
    /// Runs the model beside the workers; a chunk's memory is given back when its predictions leave.
    ///
    /// # Panics
    /// On the worker, where the model does: that is a fault of the program, and of no drop.
    fn infer(self, inference: &Inference) -> Flow<'s, Parcel>;
}

impl<'s> Infer<'s> for Flow<'s, Result<Judged, Failure>> {
    fn infer(self, inference: &Inference) -> Flow<'s, Parcel> {
        let inference = inference.clone();
        // Enough that no thread waits for a worker's next step.
        let in_flight = 2 * inference.threads.replicas.len();
        offload(
            self,
            Pipeline,
            "Infer",
            in_flight,
            move |judged, reply| match judged {
                Ok(judged) => inference.hand_out(judged, reply),
                Err(failure) => {
                    reply.send(failed(failure, true));
                    reply.finish();
                }
            },
        )
    }
}

fn failed(Failure { split, reason }: Failure, ends_split: bool) -> Parcel {
    Parcel {
        ends_split,
        drop: split.drop,
        attempt: split.attempt,
        part: 0,
        object_index: split.object_index,
        content: Err(reason),
        tally: Tally::default(),
    }
}

/// A chunk whose batches are with the threads.
struct Work {
    judged: Judged,
    reply: Reply<Parcel>,
    predicted: Mutex<Result<Predicted, Fault>>,
}

/// What the batches of a chunk gave so far.
struct Predicted {
    /// One for each row; those that are not predicted have NaN.
    z_phot: Vec<f32>,
    /// Thread seconds that the model ran.
    seconds: f64,
}

/// Why a chunk has no predictions.
enum Fault {
    /// What the model said.
    Model(Error),
    /// What it panicked with.
    Panic(String),
}

impl Inference {
    /// Hands the batches of a chunk to the threads. Whoever is done with the last one sends the chunk on.
    fn hand_out(&self, judged: Judged, reply: Reply<Parcel>) {
        let doors = judged.doors.iter().enumerate();
        let rows = doors.filter(|(_, door)| **door == Door::Predicted);
        let rows: Vec<usize> = rows.map(|(row, _)| row).collect();
        let predicted = Predicted {
            z_phot: vec![f32::NAN; judged.doors.len()],
            seconds: 0.0,
        };
        let work = Arc::new(Work {
            judged,
            reply,
            predicted: Mutex::new(Ok(predicted)),
        });
        for rows in rows.chunks(self.batch) {
            let (inference, work, rows) = (self.clone(), work.clone(), rows.to_vec());
            self.threads.pool.spawn(move || {
                work.predict(&rows, &inference);
                send_if_last(work);
            });
        }
        // Where there was none to predict, too.
        self.threads.pool.spawn(move || send_if_last(work));
    }
}

fn send_if_last(work: Arc<Work>) {
    if let Some(work) = Arc::into_inner(work) {
        work.send();
    }
}

impl Threads {
    /// The redshifts of one batch, on a thread of the pool.
    fn z_phot(&self, galaxies: &Galaxies, rows: &[usize]) -> Result<Vec<f32>, Error> {
        let thread = rayon::current_thread_index().expect("batches are predicted in the pool");
        let replica = &self.replicas[thread];
        let model = replica.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = |shape: &[i64]| model.host_tensor(shape);
        let inputs = inputs(model.needs(), model.cutout_px(), galaxies, rows, memory)?;
        let predicted = model.forward(&inputs)?.contiguous();
        let mut z_phot = vec![0_f32; rows.len()];
        predicted.f_copy_data(&mut z_phot, rows.len())?;
        Ok(z_phot)
    }
}

impl Work {
    /// Predicts these rows.
    fn predict(&self, rows: &[usize], inference: &Inference) {
        let galaxies = &self.judged.rows.chunk.galaxies;
        let began = (inference.clock)();
        // Nothing that a panic leaves half done is used again: the run stops.
        let run = AssertUnwindSafe(|| inference.threads.z_phot(galaxies, rows));
        let outcome = match catch_unwind(run) {
            Ok(predicted) => predicted.map_err(Fault::Model),
            Err(panic) => Err(Fault::Panic(panic_message(panic.as_ref()).to_owned())),
        };
        let seconds = ((inference.clock)() - began).as_secs_f64();
        let mut predicted = self
            .predicted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (&mut *predicted, outcome) {
            (Ok(all), Ok(z_phot)) => {
                all.seconds += seconds;
                for (&row, z) in rows.iter().zip(z_phot) {
                    all.z_phot[row] = z;
                }
            }
            (Ok(_), Err(fault)) => *predicted = Err(fault),
            (Err(_), _) => {}
        }
    }

    /// Sends what has become of the chunk.
    fn send(self) {
        let Self {
            judged,
            reply,
            predicted,
        } = self;
        let predicted = predicted
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match predicted {
            Ok(predicted) => {
                for parcel in parcels(judged, predicted) {
                    reply.send(parcel);
                }
            }
            Err(Fault::Model(error)) => reply.send(unpredicted(&judged.rows, &error)),
            Err(Fault::Panic(said)) => {
                let object = &judged.rows.split.object.path;
                reply.lose(format!("the model panicked on rows of {object}: {said}"));
                return;
            }
        }
        reply.finish();
    }
}

/// Why rows have no predictions.
fn unpredicted(rows: &Rows, error: &dyn std::fmt::Display) -> Parcel {
    let object = &rows.split.object.path;
    let failure = Failure {
        split: rows.split.clone(),
        reason: format!("{object}: {error}"),
    };
    failed(failure, rows.is_last)
}

/// The parcels of a chunk; at least one, since a chunk has rows.
fn parcels(judged: Judged, predicted: Predicted) -> Vec<Parcel> {
    let Judged {
        rows,
        mut doors,
        flags,
    } = judged;
    for (door, z) in doors.iter_mut().zip(&predicted.z_phot) {
        if *door == Door::Predicted && !z.is_finite() {
            *door = Door::Rejected(format!("the model predicts {z}"));
        }
    }
    let outcomes = Outcomes {
        doors: &doors,
        flags: &flags,
        z_phot: &predicted.z_phot,
    };
    // A column to keep may be of a kind that Arrow cannot take rows of: that is the file's fault, and not the run's.
    let sorted = AssertUnwindSafe(|| pieces(&rows.chunk, outcomes, rows.split.parts));
    let pieces = match catch_unwind(sorted) {
        Ok(Ok(pieces)) => pieces,
        Ok(Err(error)) => return vec![unpredicted(&rows, &error)],
        Err(panic) => {
            let said = panic_message(panic.as_ref());
            let reason = format!("its rows cannot be sorted by part: {said}");
            return vec![unpredicted(&rows, &reason)];
        }
    };
    let mut tally = rows.tally;
    tally.infer_seconds += predicted.seconds;
    let count = pieces.len();
    let parcel = |(n, piece): (usize, Piece)| Parcel {
        drop: rows.split.drop.clone(),
        attempt: rows.split.attempt.clone(),
        part: piece.part,
        object_index: rows.split.object_index,
        content: Ok(piece),
        ends_split: rows.is_last && n + 1 == count,
        // The first parcel tells what the chunk took.
        tally: std::mem::take(&mut tally),
    };
    pieces.into_iter().enumerate().map(parcel).collect()
}

/// The batch of some rows, as a model takes it: the one copy of their cutouts, which crops them to the central
/// `cutout_px` and closes the gaps between them. `memory` makes the tensors, as [`Model::host_tensor`] does.
///
/// # Errors
/// Those of `memory`.
///
/// # Panics
/// If a row was rejected by these rules of what is needed: it has nothing to copy.
pub fn inputs(
    needs: Needs,
    cutout_px: usize,
    galaxies: &Galaxies,
    rows: &[usize],
    memory: impl Fn(&[i64]) -> Result<Tensor, Error>,
) -> Result<Inputs, Error> {
    let (px, batch) = (cutout_px, rows.len() as i64);
    let cutouts = needs.cutouts.then(|| {
        let cutouts = galaxies
            .cutouts
            .as_ref()
            .expect("rows without a cutout were rejected");
        let tensor = memory(&[batch, 5, px as i64, px as i64])?;
        Ok::<_, Error>(filled(tensor, |pixels| {
            for (&row, pixels) in rows.iter().zip(pixels.chunks_exact_mut(5 * px * px)) {
                cutouts
                    .get(row)
                    .expect("rows whose cutout is faulty were rejected")
                    .crop_into(px, pixels);
            }
        }))
    });
    let mags = needs.mags.then(|| {
        let mags = galaxies
            .mags
            .as_ref()
            .expect("rows without magnitudes were rejected");
        Ok::<_, Error>(filled(memory(&[batch, 5])?, |values| {
            for (&row, values) in rows.iter().zip(values.chunks_exact_mut(5)) {
                values
                    .iter_mut()
                    .zip(mags)
                    .for_each(|(value, band)| *value = band.value(row));
            }
        }))
    });
    Ok(Inputs {
        cutouts: cutouts.transpose()?,
        mags: mags.transpose()?,
    })
}

/// A new tensor, its values written by `fill`.
///
/// # Panics
/// If it is not of float32, contiguous and on the CPU.
fn filled(tensor: Tensor, fill: impl FnOnce(&mut [f32])) -> Tensor {
    let on_cpu = tensor.device() == Device::Cpu && tensor.is_contiguous();
    let fits = on_cpu && tensor.kind() == Kind::Float;
    assert!(fits, "a batch is float32 in one run of the CPU's memory");
    // SAFETY: the tensor is contiguous, of f32, on the CPU and has this many elements; it is ours alone, and every bit
    // pattern is an f32.
    let values =
        unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel()) };
    fill(values);
    tensor
}
