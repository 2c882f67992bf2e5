//! Killed at any time: processes of a cluster are killed at random moments and started again. The output equals that of an
//! undisturbed run.
//!
//! `make chaos` makes two hundred trials, `make test` ten. A trial follows from its seed, which it prints:
//! `HUBBLEFLOW_CHAOS_SEED=… HUBBLEFLOW_CHAOS_TRIALS=1 make chaos` repeats it.
use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hubbleflow::clock::clock;
use testkit::{
    Seeded,
    gate::{HoldPoint, Verdict, start_gate},
    hosts::HostsFile,
    outputs::{checkpoints, committed, committed_drops, ledger, staged_files},
    program::Program,
    rows::rows,
    running::Running,
    s3::S3,
    survey::{STORED_OFTEN, eventful_survey, run_catalog, undisturbed_run},
    tree::{Tree, assert_same, copy_tree, folder, text, tree},
};

/// Upper bound on the kills of a trial.
const KILLS_MAX: usize = 3;

/// The time in which a process must notice that the other process is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The seeds to try, from `first` on, unless the environment sets them.
fn seeds(first: u64) -> Vec<u64> {
    let asked = |name: &str| {
        #[expect(clippy::disallowed_methods, reason = "a test reads its settings")]
        let value = std::env::var(format!("HUBBLEFLOW_CHAOS_{name}"));
        value.ok().map(|value| value.parse::<u64>().unwrap())
    };
    let (first, trials) = (asked("SEED").unwrap_or(first), asked("TRIALS").unwrap_or(5));
    (first..first + trials).collect()
}

/// Results are stored often, and embeddings are written too.
fn flags() -> String {
    format!("{STORED_OFTEN} --embeddings")
}

fn undisturbed() -> &'static Tree {
    static UNDISTURBED: OnceLock<Tree> = OnceLock::new();
    UNDISTURBED.get_or_init(|| undisturbed_run(eventful_survey(), &flags()))
}

/// A cluster of two processes.
struct Cluster {
    processes: Vec<Running>,
    /// The addresses of the processes; the file must exist while they run.
    _hosts: HostsFile,
}

impl Cluster {
    fn start(run: impl Fn() -> Program) -> Self {
        let hosts = HostsFile::new();
        let process = |process| run().with("--threads 1").args(hosts.flags(process)).start();
        Self {
            processes: [0, 1].map(process).into(),
            _hosts: hosts,
        }
    }

    /// Waits until both processes have ended without an error.
    fn ends(self) {
        for process in self.processes {
            process.ends(0);
        }
    }

    fn is_over(&mut self) -> bool {
        self.processes.iter_mut().all(Running::has_ended)
    }

    /// Kills one process or both, and waits until the other has ended.
    fn kill(mut self, seeded: &mut Seeded) {
        let victim = seeded.below(0..3);
        for (place, process) in self.processes.iter_mut().enumerate() {
            if victim == place || victim == 2 {
                process.kill();
            }
        }
        for mut process in self.processes {
            let _ = process.has_ended_within(PATIENCE);
            // A process that has not connected yet would wait for its peer for a minute.
            process.kill();
            // The process has finished, has failed because its peer is gone, or was killed.
            let ended = process.wait();
            assert!(matches!(ended.code, 0 | 75 | 101 | -9), "{}", ended.stderr);
        }
    }
}

/// Asserts that the output equals that of an undisturbed run, and that each drop is committed once.
fn check(seed: u64, out: &Path) {
    println!("trial {seed}: {} entries", ledger(out).len());
    assert_same(undisturbed(), &committed(out));
    let names = committed_drops(out);
    let mut all: Vec<String> = tree(eventful_survey())
        .into_keys()
        .map(|name| name.split('/').next().unwrap().to_owned())
        .collect();
    all.dedup();
    assert_eq!(
        names, all,
        "trial {seed}: a drop is missing or committed twice"
    );
    for entry in ledger(out).iter().filter(|entry| entry["kind"] == "drop") {
        let drop = eventful_survey().join(entry["drop"].as_str().unwrap());
        let of = |door: &str| entry["rows"][door].as_u64().unwrap();
        assert_eq!(of("read"), rows(drop).num_rows() as u64);
        assert_eq!(of("read"), of("written") + of("learned") + of("rejected"));
    }
    let left = staged_files(out);
    assert!(
        left.is_empty(),
        "trial {seed}: staged files were left behind"
    );
    assert!(
        checkpoints(out).is_empty(),
        "trial {seed}: checkpoints were left behind"
    );
    // `verify` compares files, rows, the ledger's numbers and the metrics with a full recomputation.
    Program::new(["verify", &text(out)]).ends(0);
}

#[test]
fn a_cluster_on_local_files_is_killed_at_any_time() {
    // The time of an undisturbed run on this machine bounds the moment of a kill.
    let (began, out) = (clock(), folder());
    let run = |out: &Path| run_catalog(eventful_survey(), out).with(&flags());
    Cluster::start(|| run(out.path())).ends();
    let whole_ms = (clock() - began).as_millis() as usize;
    for seed in seeds(1) {
        println!("trial {seed} on local files");
        let (out, mut seeded) = (folder(), Seeded(seed));
        for _ in 0..seeded.below(1..KILLS_MAX + 1) {
            let cluster = Cluster::start(|| run(out.path()));
            let moment = seeded.below(0..whole_ms + 1) as u64;
            std::thread::sleep(Duration::from_millis(moment));
            cluster.kill(&mut seeded);
        }
        Cluster::start(|| run(out.path())).ends();
        check(seed, out.path());
    }
}

#[test]
fn a_cluster_on_a_bucket_is_killed_at_any_request() {
    let s3 = S3::start();
    copy_tree(eventful_survey(), &s3.bucket().join("survey"));
    let requests = count_requests(&s3);
    for seed in seeds(1001) {
        println!("trial {seed} on a bucket, of {requests} requests");
        let (out, mut seeded) = (format!("out-{seed}"), Seeded(seed));
        let url = format!("s3://sky/{out}");
        let run = || {
            let run = run_catalog("s3://sky/survey", &url).with(&flags());
            run.on_s3(&s3)
        };
        for _ in 0..seeded.below(1..KILLS_MAX + 1) {
            let (last, is_made) = (seeded.below(0..requests), seeded.below(0..2) == 1);
            let (hold_point, gate) = held_at(&s3, last, is_made);
            let mut cluster = Cluster::start(|| run().env("AWS_ENDPOINT_URL", &gate));
            while !hold_point.is_reached() && !cluster.is_over() {
                std::thread::sleep(Duration::from_millis(5));
            }
            cluster.kill(&mut seeded);
            hold_point.release();
        }
        Cluster::start(run).ends();
        check(seed, &s3.bucket().join(out));
    }
}

/// Counts the requests of an undisturbed run.
fn count_requests(s3: &S3) -> usize {
    let (count, endpoint) = (Arc::new(AtomicUsize::new(0)), s3.endpoint());
    let counted = count.clone();
    let gate = start_gate(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Verdict::Pass(endpoint.clone())
    });
    let run = || {
        let run = run_catalog("s3://sky/survey", "s3://sky/out").with(&flags());
        run.on_s3(s3)
    };
    Cluster::start(|| run().env("AWS_ENDPOINT_URL", &gate)).ends();
    count.load(Ordering::SeqCst)
}

/// Starts a gate that holds the request with the number `last` and all later requests. `is_made` says whether the store
/// still carries out the request `last`.
fn held_at(s3: &S3, last: usize, is_made: bool) -> (HoldPoint, String) {
    let (hold_point, endpoint) = (HoldPoint::default(), s3.endpoint());
    let (held, count) = (hold_point.clone(), AtomicUsize::new(0));
    let gate = start_gate(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number == last && is_made {
            // The process is killed before it receives the answer.
            held.mark_reached();
            return Verdict::LoseAnswer(endpoint.clone());
        }
        if number >= last {
            held.hold();
            return Verdict::Answer("503 Service Unavailable", "");
        }
        Verdict::Pass(endpoint.clone())
    });
    (hold_point, gate)
}
