//! Runs the model on the rows to predict, in batches that never cross a split.
//!
//! A process has one queue of batches, which all its threads share, so a chunk finishes as early as possible.
use std::sync::{Arc, Mutex, PoisonError};

use connectors::{
    galaxy::Galaxies,
    part::{Door, ModelColumn},
};
use models::{Error, Model, ModelOutput};
use rayon::ThreadPool;
use tch::Tensor;
use timely::dataflow::channels::pact::Pipeline;

use crate::{
    Clock, Failure, Flow, Judged, Predictions,
    inputs::inputs,
    offload::{Reply, caught, offload},
};

/// The model on its threads: one for a process, shared by the workers of the process.
#[derive(Clone)]
pub struct Inference {
    threads: Arc<Threads>,
    wanted: Arc<[ModelOutput]>,
    /// Whether lists of quantiles are stored. The bounds of intervals are stored anyway.
    stores_quantiles: bool,
    /// The bands of the magnitudes that the model knows.
    mag_bands: Arc<[String]>,
    batch: usize,
    clock: Clock,
}

struct Threads {
    pool: ThreadPool,
    /// A replica of the model for each thread of the pool.
    replicas: Vec<Mutex<Box<dyn Model>>>,
}

impl Inference {
    /// Starts a thread for each replica of a model. A thread takes `batch` rows at a time. The model gives `wanted`, some of its
    /// [`outputs`](Model::outputs).
    ///
    /// # Errors
    /// [`rayon::ThreadPoolBuildError`] if the threads cannot be started.
    pub fn new(
        replicas: Vec<Box<dyn Model>>,
        wanted: &[ModelOutput],
        batch: usize,
        clock: Clock,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let mag_bands = replicas.first().map(|model| model.needs().mags.clone());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(replicas.len())
            .thread_name(|thread| format!("infer-{thread}"))
            .start_handler(|_thread| models::device::single_threaded())
            // A panic drops the reply, and the dropped reply stops the run.
            .panic_handler(|_panic| {})
            .build()?;
        let replicas = replicas.into_iter().map(Mutex::new).collect();
        Ok(Self {
            threads: Arc::new(Threads { pool, replicas }),
            wanted: wanted.into(),
            stores_quantiles: true,
            mag_bands: mag_bands.unwrap_or_default().into(),
            batch,
            clock,
        })
    }

    /// The threads that run the model.
    pub fn threads(&self) -> usize {
        self.threads.replicas.len()
    }

    /// Sets whether lists of quantiles are stored.
    pub fn with_quantiles(self, are_stored: bool) -> Self {
        Self {
            stores_quantiles: are_stored,
            ..self
        }
    }
}

/// Predicts rows.
///
/// Two galaxies go in. The model predicts the first; the second has no position on the sky, so it is rejected:
/// ```
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::{Night, TenthOfMagR, rules};
/// # use connectors::part::Folder;
/// use arrow::{array::AsArray, datatypes::Float32Type};
/// use hubbleflow_operators::{Infer, Inference, Predictions, Read, Validate};
/// use models::ModelOutput;
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let night = Night::of_two_galaxies();
/// # let (splits, reader, clock) = (night.splits().collect::<Vec<_>>(), night.reader(), night.reader().clock);
///
/// // A model whose photo-z is a tenth of the r magnitude, on one thread, 256 rows a batch.
/// let inference = Inference::new(vec![Box::new(TenthOfMagR)], &[ModelOutput::ZPhot], 256, clock)?;
/// timely::example(move |scope| {
///     let splits = splits.to_stream(scope).container::<Vec<_>>();
///     splits.read(&reader).validate(rules(), clock).infer(&inference).inspect(|predictions| {
///         let Predictions::Chunk(chunk) = predictions else { unreachable!() };
///         for piece in chunk.pieces.as_ref().unwrap() {
///             match piece.folder {
///                 Folder::Photoz => assert_eq!(piece.rows["z_phot"].as_primitive::<Float32Type>().values(), &[1.7]),
///                 Folder::Rejects => assert_eq!(piece.rows.num_rows(), 1),
///                 _ => unreachable!(),
///             }
///         }
///     });
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Infer<'s> {
    /// Runs the model beside the workers. The memory of a chunk is given back when its predictions leave.
    ///
    /// # Panics
    /// On the worker, if the model panics or its device has failed: such a fault is not of a drop, and would end every chunk.
    fn infer(self, inference: &Inference) -> Flow<'s, Predictions>;
}

impl<'s> Infer<'s> for Flow<'s, Result<Judged, Failure>> {
    fn infer(self, inference: &Inference) -> Flow<'s, Predictions> {
        let inference = inference.clone();
        // Enough chunks that no thread waits for a worker's next step.
        let in_flight = 2 * inference.threads.replicas.len();
        offload(
            self,
            Pipeline,
            "Infer",
            in_flight,
            move |judged, reply| match judged {
                Ok(judged) => inference.hand_out(judged, reply),
                Err(failure) => {
                    reply.send(Predictions::failed(failure, true));
                    reply.finish();
                }
            },
        )
    }
}

/// A chunk whose batches are with the threads.
struct ChunkInFlight {
    judged: Judged,
    mag_bands: Arc<[String]>,
    reply: Reply<Predictions>,
    predicted: Mutex<Result<Predicted, Fault>>,
}

/// The predictions of a chunk so far.
struct Predicted {
    /// A column for each output that is wanted.
    columns: Vec<ModelColumn>,
    /// Thread seconds that the model ran.
    seconds: f64,
}

/// Why a chunk has no predictions.
enum Fault {
    /// The model returned this error.
    Model(Error),
    /// No other chunk can be predicted either: the model panicked, or its device has failed.
    Ended(String),
}

impl Inference {
    /// The columns of the outputs for a number of rows, none of which is predicted yet.
    fn columns(&self, rows: usize) -> Vec<ModelColumn> {
        let columns = self.wanted.iter().map(|output| match output {
            ModelOutput::ZPhot => ModelColumn::of_numbers(output.name(), rows),
            ModelOutput::ZQuantiles { levels } => {
                ModelColumn::of_quantiles(levels, self.stores_quantiles, rows)
            }
            lists => ModelColumn::of_lists(lists.name(), lists.width(), rows),
        });
        columns.collect()
    }

    /// Hands the batches of a chunk to the threads. The thread that finishes the last batch sends the chunk on.
    fn hand_out(&self, judged: Judged, reply: Reply<Predictions>) {
        let doors = judged.doors.iter().enumerate();
        let rows = doors.filter(|(_, door)| **door == Door::Predicted);
        let rows: Vec<usize> = rows.map(|(row, _)| row).collect();
        let predicted = Predicted {
            columns: self.columns(judged.doors.len()),
            seconds: 0.0,
        };
        let chunk = Arc::new(ChunkInFlight {
            judged,
            mag_bands: self.mag_bands.clone(),
            reply,
            predicted: Mutex::new(Ok(predicted)),
        });
        for rows in rows.chunks(self.batch) {
            let (inference, chunk, rows) = (self.clone(), chunk.clone(), rows.to_vec());
            self.threads.pool.spawn(move || {
                chunk.predict(&rows, &inference);
                send_if_last(chunk);
            });
        }
        // A chunk without rows to predict is sent from here.
        self.threads.pool.spawn(move || send_if_last(chunk));
    }
}

fn send_if_last(chunk: Arc<ChunkInFlight>) {
    if let Some(chunk) = Arc::into_inner(chunk) {
        chunk.send();
    }
}

impl Threads {
    /// Predicts one batch, on a thread of the pool: the values of each output.
    fn predict(
        &self,
        galaxies: &Galaxies,
        rows: &[usize],
        wanted: &[ModelOutput],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let thread = rayon::current_thread_index()
            .expect("invariant: batches are predicted on threads of the pool");
        let replica = &self.replicas[thread];
        let model = replica.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = |shape: &[i64]| model.host_tensor(shape);
        let inputs = inputs(model.needs(), galaxies, rows, memory)?;
        let given = model.forward(&inputs, wanted)?;
        let shapes = wanted.iter().map(|output| output.shape(rows.len()));
        if !shapes.eq(given.iter().map(Tensor::size)) {
            let shapes: Vec<_> = given.iter().map(Tensor::size).collect();
            return Err(Error::Outputs(format!(
                "the model gave {shapes:?} for {} galaxies",
                rows.len()
            )));
        }
        let values = given.iter().map(|tensor| {
            let mut values = vec![0_f32; tensor.numel()];
            let count = values.len();
            tensor.f_contiguous()?.f_copy_data(&mut values, count)?;
            Ok(values)
        });
        values.collect()
    }
}

impl ChunkInFlight {
    /// Predicts these rows.
    fn predict(&self, rows: &[usize], inference: &Inference) {
        let galaxies = &self.judged.rows.chunk.galaxies;
        let began = (inference.clock)();
        // Nothing that a panic leaves half done is used again: the run stops.
        let wanted = &inference.wanted;
        let outcome = match caught(|| inference.threads.predict(galaxies, rows, wanted)) {
            Ok(predicted) => predicted.map_err(|error| match error {
                Error::Device(failed) => Fault::Ended(format!("the model stopped: {failed}")),
                error => Fault::Model(error),
            }),
            Err(panic) => Err(Fault::Ended(format!("the model panicked: {panic}"))),
        };
        let seconds = ((inference.clock)() - began).as_secs_f64();
        let mut predicted = self
            .predicted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (&mut *predicted, outcome) {
            (Ok(all), Ok(outputs)) => {
                all.seconds += seconds;
                for (column, values) in all.columns.iter_mut().zip(outputs) {
                    column.set(rows, &values);
                }
            }
            (Ok(_), Err(fault)) => *predicted = Err(fault),
            (Err(_), _) => {}
        }
    }

    /// Sends the results of the chunk, or why it has no predictions.
    fn send(self) {
        let Self {
            judged,
            mag_bands,
            reply,
            predicted,
        } = self;
        let predicted = predicted
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match predicted {
            Ok(Predicted { columns, seconds }) => {
                let predictions = Predictions::of(judged, &columns, &mag_bands, seconds);
                reply.send(predictions);
            }
            Err(Fault::Model(error)) => reply.send(Predictions::missing(&judged.rows, &error)),
            Err(Fault::Ended(message)) => {
                let object = &judged.rows.split.object.path;
                reply.lose(format!("rows of {object}: {message}"));
                return;
            }
        }
        reply.finish();
    }
}
