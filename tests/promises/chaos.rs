//! Killed anywhere: processes of a cluster are killed at random moments, and started again; what comes out is what an
//! undisturbed run gives.
//!
//! `make chaos` makes two hundred trials, `make test` ten. A trial follows from its seed, which it prints:
//! `HUBBLEFLOW_CHAOS_SEED=… HUBBLEFLOW_CHAOS_TRIALS=1 make chaos` makes it again.
use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::clock::clock;

use crate::{
    conformance::common::Seeded,
    gate::{Moment, Verdict, gate},
    same_answer::Hosts,
    survey::{
        Program, Running, S3, Tree, assert_same, committed, copy, drops, eventful_survey, folder,
        ledger, rows, text, tree,
    },
};

/// At most so many times the cluster of a trial is killed.
const KILLS_MAX: usize = 3;

/// How long a process may take to notice that the other is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The seeds to try: these, or those that the environment asks for.
fn seeds(first: u64) -> Vec<u64> {
    let asked = |name: &str| {
        #[expect(clippy::disallowed_methods, reason = "a test asks for its settings")]
        let value = std::env::var(format!("HUBBLEFLOW_CHAOS_{name}"));
        value.ok().map(|value| value.parse::<u64>().unwrap())
    };
    let (first, trials) = (asked("SEED").unwrap_or(first), asked("TRIALS").unwrap_or(5));
    (first..first + trials).collect()
}

fn undisturbed() -> &'static Tree {
    static UNDISTURBED: OnceLock<Tree> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let out = folder();
        Program::run(eventful_survey(), &out).ends(0);
        committed(out.path())
    })
}

/// A cluster of two processes.
struct Cluster {
    processes: Vec<Running>,
    /// Where they meet.
    _hosts: Hosts,
}

impl Cluster {
    fn start(run: impl Fn() -> Program) -> Self {
        let hosts = Hosts::new();
        let process = |process| run().with("--threads 1").args(hosts.flags(process)).runs();
        Self {
            processes: [0, 1].map(process).into(),
            _hosts: hosts,
        }
    }

    /// Waits until it has done its work.
    fn ends(self) {
        for process in self.processes {
            process.ends(0);
        }
    }

    fn is_over(&mut self) -> bool {
        self.processes.iter_mut().all(Running::is_over)
    }

    /// Kills one process or both, and waits for the end of the other.
    fn kill(mut self, seeded: &mut Seeded) {
        let victim = seeded.below(0..3);
        for (place, process) in self.processes.iter_mut().enumerate() {
            if victim == place || victim == 2 {
                process.kill();
            }
        }
        for mut process in self.processes {
            let _ = process.is_over_within(PATIENCE);
            // One that has not found the other yet would wait for it for a minute.
            process.kill();
            // It is done, has failed for the lack of the other, or was killed.
            let ended = process.ended();
            assert!(matches!(ended.code, 0 | 1 | 101 | -9), "{}", ended.stderr);
        }
    }
}

/// All is as if nothing had happened.
fn check(seed: u64, out: &Path) {
    println!("trial {seed}: {} entries", ledger(out).len());
    assert_same(undisturbed(), &committed(out));
    let mut names = drops(out);
    names.retain(|name| !name.is_empty());
    names.sort();
    let mut all: Vec<String> = tree(eventful_survey())
        .into_keys()
        .map(|name| name.split('/').next().unwrap().to_owned())
        .collect();
    all.dedup();
    assert_eq!(names, all, "trial {seed}: each drop is committed once");
    for entry in ledger(out).iter().filter(|entry| entry["kind"] == "drop") {
        let drop = eventful_survey().join(entry["drop"].as_str().unwrap());
        let of = |door: &str| entry["rows"][door].as_u64().unwrap();
        assert_eq!(of("read"), rows(drop).num_rows() as u64);
        assert_eq!(of("read"), of("written") + of("learned") + of("rejected"));
    }
    let left = tree(&out.join("_hubbleflow/staging"));
    assert!(left.is_empty(), "trial {seed}: a stage was left behind");
    // Files, rows, the ledger's numbers, and the metrics against a full recomputation.
    Program::new(["verify", &text(out)]).ends(0);
}

#[test]
fn a_cluster_on_local_files_is_killed_at_any_time() {
    // How long a run takes on this machine, now.
    let (began, out) = (clock(), folder());
    let run = |out: &Path| Program::run(eventful_survey(), out);
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
    copy(eventful_survey(), &s3.bucket().join("survey"));
    let requests = count_requests(&s3);
    for seed in seeds(1001) {
        println!("trial {seed} on a bucket, of {requests} requests");
        let (out, mut seeded) = (format!("out-{seed}"), Seeded(seed));
        let url = format!("s3://sky/{out}");
        let run = || Program::run("s3://sky/survey", &url).at(&s3);
        for _ in 0..seeded.below(1..KILLS_MAX + 1) {
            let (last, is_made) = (seeded.below(0..requests), seeded.below(0..2) == 1);
            let (moment, gate) = held_at(&s3, last, is_made);
            let mut cluster = Cluster::start(|| run().env("AWS_ENDPOINT_URL", &gate));
            while !moment.has_come() && !cluster.is_over() {
                std::thread::sleep(Duration::from_millis(5));
            }
            cluster.kill(&mut seeded);
            moment.end();
        }
        Cluster::start(run).ends();
        check(seed, &s3.bucket().join(out));
    }
}

/// How many requests an undisturbed run makes.
fn count_requests(s3: &S3) -> usize {
    let (count, endpoint) = (Arc::new(AtomicUsize::new(0)), s3.endpoint());
    let counted = count.clone();
    let gate = gate(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Verdict::Pass(endpoint.clone())
    });
    let run = || Program::run("s3://sky/survey", "s3://sky/out").at(s3);
    Cluster::start(|| run().env("AWS_ENDPOINT_URL", &gate)).ends();
    count.load(Ordering::SeqCst)
}

/// A gate that holds up a request, by its number, and all that come after it. That one is made all the same, or never.
fn held_at(s3: &S3, last: usize, is_made: bool) -> (Moment, String) {
    let (moment, endpoint) = (Moment::default(), s3.endpoint());
    let (held, count) = (moment.clone(), AtomicUsize::new(0));
    let gate = gate(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number == last && is_made {
            // Whoever asked is dead before the answer comes.
            held.come();
            return Verdict::Lose(endpoint.clone());
        }
        if number >= last {
            held.hold();
            return Verdict::Answer("503 Service Unavailable", "");
        }
        Verdict::Pass(endpoint.clone())
    });
    (moment, gate)
}
