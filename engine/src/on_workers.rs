//! Work of one's own on the workers of a cluster, without a job.
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, OnceLock},
};

use operators::Shutdown;
use operators::offload::panic_message;
use serde_json::{Map, Value};
use timely::{WorkerConfig, communication::WorkerGuards, worker::Worker};
use tokio::runtime::Runtime;

use crate::{
    ClusterSettings, Error, Stopper,
    cluster::{Joined, Joining},
};

/// Runs `work` on each worker of this process, and returns what each gives. In a cluster every process calls this, with
/// the same number of workers and the same `purpose`; without settings this process is alone. The processes know each
/// other's addresses: there is no output below which they could meet.
///
/// This blocks until the workers of this process are done, and the other processes too.
///
/// ```
/// use hubbleflow::on_workers;
///
/// let indexes = on_workers(None, 2, "count", |worker| worker.index())?;
/// assert_eq!(indexes, [0, 1]);
/// # Ok::<(), hubbleflow::Error>(())
/// ```
///
/// # Errors
/// [`Error::Settings`] if the numbers do not fit, [`Error::Cluster`] if the processes do not come together,
/// [`Error::LostPeer`] if one is lost, [`Error::Worker`] if a worker panics.
pub fn on_workers<R: Send + 'static>(
    settings: Option<&ClusterSettings>,
    workers: usize,
    purpose: &str,
    work: impl Fn(&mut Worker) -> R + Send + Sync + 'static,
) -> Result<Vec<R>, Error> {
    settings.map_or(Ok(()), |settings| settings.check(workers))?;
    let runtime = Runtime::new().map_err(|source| Error::io("starting the runtime", source))?;
    let joining = Joining {
        settings,
        workers,
        rendezvous: None,
        agreement: Map::from_iter([
            ("purpose".to_owned(), Value::from(purpose)),
            ("workers".to_owned(), Value::from(workers)),
        ]),
        start: None,
        shutdown: Shutdown::default(),
        observer: Arc::new(()),
    };
    // Nobody tells it to end.
    let (_stopper, stop) = Stopper::new();
    let Joined {
        cluster,
        builders,
        guard,
        heartbeats,
        lost,
        ..
    } = runtime.block_on(joining.join(stop))?;
    let config = WorkerConfig::default();
    let panicked = Arc::new(OnceLock::new());
    let said = panicked.clone();
    let started = timely::execute::execute_from(builders, guard, config, move |worker| {
        let done = catch_unwind(AssertUnwindSafe(|| work(worker)));
        // Timely takes the panic down without its message.
        done.unwrap_or_else(|panic| {
            said.get_or_init(|| panic_message(panic.as_ref()).to_owned());
            resume_unwind(panic)
        })
    });
    let results = join(started.map_err(Error::worker)?);
    let reason = match &results {
        Ok(_) => None,
        Err(_) if cluster.processes() == 1 => None,
        Err(_) => lost.wait(),
    };
    if let Some(how) = reason {
        return Err(Error::LostPeer {
            how: how.to_owned(),
        });
    }
    if let Some(said) = panicked.get() {
        return Err(Error::worker(said.clone()));
    }
    let results = results?;
    heartbeats.end();
    Ok(results)
}

/// Waits for the workers of this process.
pub(crate) fn join<R: Send + 'static>(guards: WorkerGuards<R>) -> Result<Vec<R>, Error> {
    let joined = catch_unwind(AssertUnwindSafe(|| guards.join()));
    let results = joined.map_err(|_| Error::worker("a connection to another process was lost"))?;
    results
        .into_iter()
        .collect::<Result<_, String>>()
        .map_err(Error::worker)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        net::TcpListener,
        sync::mpsc::{Sender, channel},
    };

    use operators::collectives::{Reduce, Round};
    use timely::dataflow::operators::{Inspect, ToStream};

    use super::*;

    const RANKS: usize = 4;

    fn settings(processes: usize) -> Vec<ClusterSettings> {
        let listeners: Vec<_> = (0..processes)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let hosts = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().to_string());
        let hosts: Vec<String> = hosts.collect();
        let of = |process| ClusterSettings::at_hosts(hosts.clone(), process);
        (0..processes).map(of).collect()
    }

    fn fold(left: (String, f64), right: (String, f64)) -> (String, f64) {
        let (texts, numbers) = ([left.0, right.0], left.1 - right.1 / 3.0);
        (format!("({})", texts.join(" ")), numbers)
    }

    fn reduce(worker: &mut Worker, round: Round, got: Sender<(usize, String, u64)>) {
        let me = worker.index();
        let prefixes = got.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            let mine = (me.to_string(), 0.1 + me as f64);
            let mine = [mine].to_stream(scope).container::<Vec<_>>();
            let folded = mine.clone().allreduce(round, fold);
            folded.inspect(move |(text, number)| {
                got.send((me, text.clone(), number.to_bits())).unwrap();
            });
            mine.scan(round, fold).inspect(move |(text, number)| {
                let text = format!("scan {text}");
                prefixes.send((me, text, number.to_bits())).unwrap();
            });
        });
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
    }

    fn reduce_in(processes: usize, round: Round) -> Vec<(usize, String, u64)> {
        let (got, all) = channel();
        let start = |settings: ClusterSettings| {
            let got = got.clone();
            std::thread::spawn(move || {
                let settings = Some(settings).filter(|_| processes > 1);
                let work = move |worker: &mut Worker| reduce(worker, round, got.clone());
                on_workers(settings.as_ref(), RANKS / processes, "test", work).unwrap();
            })
        };
        let started: Vec<_> = settings(processes).into_iter().map(start).collect();
        started
            .into_iter()
            .for_each(|process| process.join().unwrap());
        drop(got);
        let mut all: Vec<_> = all.iter().collect();
        all.sort();
        all
    }

    #[test]
    fn folds_have_the_same_bits_in_any_number_of_processes() {
        for round in [Round::Time, Round::Item] {
            let alone = reduce_in(1, round);
            assert_eq!(alone.len(), 2 * RANKS);
            assert_eq!(alone[0].1, "(((0 1) 2) 3)");
            assert_eq!(reduce_in(2, round), alone);
            assert_eq!(reduce_in(4, round), alone);
        }
    }

    #[test]
    fn a_worker_that_panics_is_an_error() {
        let ended = on_workers(None, 1, "test", |_| panic!("no star is in sight"));
        let Err(Error::Worker { how }) = ended else {
            panic!("{ended:?}");
        };
        assert!(how.contains("no star is in sight"), "{how}");
    }
}
