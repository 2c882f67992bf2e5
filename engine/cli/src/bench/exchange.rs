//! Exchanging alone: predictions on their way to the workers that write them, as bytes, as between processes.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::{
    array::{
        ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, UInt32Array,
        UInt64Array,
    },
    error::ArrowError,
};
use clap::Args;
use connectors::{
    codec,
    part::{Folder, Piece},
};
use hubbleflow::settings::{WORKERS_MAX, cores};
use operators::{Content, DropId, Parcel, Tally};
use timely::{
    CommunicationConfig, Config, WorkerConfig,
    container::CapacityContainerBuilder,
    dataflow::{
        InputHandle,
        operators::{Exchange, Input, Inspect, Probe},
    },
    worker::Worker,
};

use super::rounds::{Timing, Work};
use crate::Error;

/// Predictions of a parcel: those of a split of 25 MB.
const ROWS: usize = 1_220;

/// Settings of `bench exchange`.
#[derive(Args)]
pub struct ExchangeArgs {
    /// Predictions that are exchanged in a round
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    galaxies: u64,
    /// Workers that exchange them [default: the cores]
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    workers: Option<u32>,
    /// How often they do
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn stopped(reason: String) -> Error {
    hubbleflow::Error::worker(reason).into()
}

/// Exchanges made-up predictions some times over.
pub(super) fn bench(args: &ExchangeArgs) -> Result<Timing, Error> {
    let workers = args.workers.map_or_else(cores, |workers| workers as usize);
    let fail = |error: ArrowError| stopped(error.to_string());
    let piece = piece().map_err(fail)?;
    let sent = codec::encode(std::slice::from_ref(&piece)).map_err(fail)?;
    let each = args.galaxies.div_ceil((ROWS * workers) as u64);
    let what = format!("predictions exchanged by {workers} workers, as bytes");
    Timing::of(what, args.rounds as usize, || {
        let galaxies = exchange(workers, each, &piece)?;
        let bytes = galaxies / ROWS as u64 * sent.len() as u64;
        Ok(Work { galaxies, bytes })
    })
}

/// Exchanges a number of pieces of each worker by their parts; returns the galaxies that arrived.
fn exchange(workers: usize, pieces: u64, piece: &Piece) -> Result<u64, Error> {
    let came = Arc::new(AtomicU64::new(0));
    let config = Config {
        communication: CommunicationConfig::ProcessBinary(workers),
        worker: WorkerConfig::default(),
    };
    let (counted, piece) = (came.clone(), piece.clone());
    let work = move |worker: &mut Worker| {
        let mut input = InputHandle::<DropId, CapacityContainerBuilder<Vec<Parcel>>>::new();
        let counted = counted.clone();
        let came = worker.dataflow(|scope| {
            let parcels = scope.input_from(&mut input);
            let parcels = parcels.exchange(|parcel: &Parcel| u64::from(parcel.part));
            let count = move |_: &Parcel| {
                counted.fetch_add(ROWS as u64, Ordering::Relaxed);
            };
            parcels.inspect(count).probe().0
        });
        for n in 0..pieces {
            let part = (n + worker.index() as u64) % workers as u64;
            input.send(parcel(&piece, part as u32));
            worker.step();
        }
        input.close();
        while !came.done() {
            worker.step_or_park(None);
        }
    };
    let guards = timely::execute(config, work).map_err(stopped)?;
    let ended: Result<Vec<()>, String> = guards.join().into_iter().collect();
    ended.map_err(stopped)?;
    Ok(came.load(Ordering::Relaxed))
}

fn parcel(piece: &Piece, part: u32) -> Parcel {
    Parcel {
        drop: "drop-0001".to_owned(),
        attempt: "0123456789abcdef-0".to_owned(),
        part,
        content: Content::Rows(Piece {
            part,
            ..piece.clone()
        }),
        tally: Tally::default(),
    }
}

/// Predictions as a run makes them.
fn piece() -> Result<Piece, ArrowError> {
    let each = 0..ROWS as u32;
    let degrees = || Arc::new(Float64Array::from_iter_values(each.clone().map(f64::from)));
    let values = || {
        let values = each.clone().map(|row| 1e-4 * row as f32);
        Arc::new(Float32Array::from_iter_values(values))
    };
    let ids = Int64Array::from_iter_values(each.clone().map(i64::from));
    let rows = UInt64Array::from_iter_values(each.clone().map(u64::from));
    let columns: [(&str, ArrayRef, bool); 9] = [
        ("object_id", Arc::new(ids), false),
        ("ra", degrees(), true),
        ("dec", degrees(), true),
        ("z_phot", values(), true),
        ("z_spec", values(), true),
        ("__mag", values(), true),
        ("z_flags", Arc::new(Int32Array::from(vec![0; ROWS])), false),
        (
            "__row_group",
            Arc::new(UInt32Array::from(vec![0; ROWS])),
            false,
        ),
        ("__row", Arc::new(rows), false),
    ];
    Ok(Piece {
        part: 0,
        folder: Folder::Photoz,
        object: "drop-0001/part-0.parquet".to_owned(),
        object_index: 0,
        rows: RecordBatch::try_from_iter_with_nullable(columns)?,
    })
}
