//! Exchanging alone: predictions on their way to the workers that write them, as bytes.
use std::{cell::Cell, rc::Rc, sync::Arc};

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
use hubbleflow::{
    ClusterKey, ClusterSettings, on_workers,
    settings::{WORKERS_MAX, cores},
};
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
use crate::{Error, supervise::free_ports};

/// Predictions of a parcel: those of a split of 25 MB.
const ROWS: usize = 1_220;

/// Settings of `bench exchange`.
#[derive(Args)]
pub struct ExchangeArgs {
    /// Predictions that are exchanged in a round
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    galaxies: u64,
    /// Workers of a process that exchange them [default: the cores]
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    workers: Option<u32>,
    /// As if they were in this many processes: over TCP of this machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: u32,
    /// Encrypt what passes between processes, as with a --cluster-key
    #[arg(long, requires = "processes")]
    encrypted: bool,
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
    let processes = args.processes as usize;
    let workers = args
        .workers
        .map_or_else(|| cores().div_ceil(processes), |workers| workers as usize);
    let key = args.encrypted.then(ClusterKey::generate).transpose()?;
    let fail = |error: ArrowError| stopped(error.to_string());
    let piece = piece().map_err(fail)?;
    let sent = codec::encode(std::slice::from_ref(&piece)).map_err(fail)?;
    let all = workers * processes;
    let each = args.galaxies.div_ceil((ROWS * all) as u64);
    let what = match processes {
        1 => format!("predictions exchanged by {workers} workers, as bytes"),
        _ => format!(
            "predictions exchanged by {processes} times {workers} workers over TCP, {}",
            if args.encrypted {
                "encrypted"
            } else {
                "in clear"
            }
        ),
    };
    Timing::of(what, args.rounds as usize, || {
        let came = match processes {
            1 => exchange_here(workers, each, &piece)?,
            _ => exchange_over_tcp(processes, workers, key.as_ref(), each, &piece)?,
        };
        let bytes = came / ROWS as u64 * sent.len() as u64;
        Ok(Work {
            galaxies: came,
            bytes,
        })
    })
}

/// Exchanges pieces between the workers of this process.
fn exchange_here(workers: usize, pieces: u64, piece: &Piece) -> Result<u64, Error> {
    let config = Config {
        communication: CommunicationConfig::ProcessBinary(workers),
        worker: WorkerConfig::default(),
    };
    let piece = piece.clone();
    let work = move |worker: &mut Worker| exchange(worker, pieces, &piece);
    let guards = timely::execute(config, work).map_err(stopped)?;
    let came: Result<Vec<u64>, String> = guards.join().into_iter().collect();
    Ok(came.map_err(stopped)?.into_iter().sum())
}

/// Exchanges pieces between clusters of workers that are in this process, and have the connections of processes.
fn exchange_over_tcp(
    processes: usize,
    workers: usize,
    key: Option<&ClusterKey>,
    pieces: u64,
    piece: &Piece,
) -> Result<u64, Error> {
    let ports = free_ports(processes).map_err(|source| Error::io("finding free ports", source))?;
    let hosts: Vec<_> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let run = |process| {
        let mut cluster = ClusterSettings::at_hosts(hosts.clone(), process);
        cluster.key = key.cloned();
        let piece = piece.clone();
        let work = move |worker: &mut Worker| exchange(worker, pieces, &piece);
        on_workers(Some(&cluster), workers, "bench exchange", work)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..processes)
            .map(|process| scope.spawn(move || run(process)))
            .collect();
        let mut came = 0;
        for process in running {
            let each = process
                .join()
                .map_err(|_| stopped("a process panicked".to_owned()))?;
            came += each?.into_iter().sum::<u64>();
        }
        Ok(came)
    })
}

/// Exchanges a number of pieces of each worker by their parts; returns the galaxies that came to this one.
fn exchange(worker: &mut Worker, pieces: u64, piece: &Piece) -> u64 {
    let (workers, counted) = (worker.peers() as u64, Rc::new(Cell::new(0)));
    let count = counted.clone();
    let mut input = InputHandle::<DropId, CapacityContainerBuilder<Vec<Parcel>>>::new();
    let came = worker.dataflow(|scope| {
        let parcels = scope.input_from(&mut input);
        let parcels = parcels.exchange(|parcel: &Parcel| u64::from(parcel.part));
        let count = move |_: &Parcel| count.set(count.get() + ROWS as u64);
        parcels.inspect(count).probe().0
    });
    for n in 0..pieces {
        let part = (n + worker.index() as u64) % workers;
        input.send(parcel(piece, part as u32));
        worker.step();
    }
    input.close();
    while !came.done() {
        worker.step_or_park(None);
    }
    counted.get()
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
