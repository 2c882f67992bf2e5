//! The library inside your own program: it measures its own time, and never ends the process.
use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use hubbleflow::{
    ClusterSettings, Error, Job, Observer, Stopper, Watch, clock::clock, cluster::read_hosts,
};
use testkit::{
    galaxy_rows::{galaxies_with_ids, int64, parquet_bytes},
    hosts::HostsFile,
    outputs::drops,
    processes::wait_until,
    program::Program,
    survey::{model, survey},
    tree::{folder, text, write_file},
};

#[test]
fn each_of_two_runs_in_one_process_counts_its_own_seconds() {
    let (first_out, second_out) = (folder(), folder());
    let run = |out: &str| {
        let began = clock();
        let job = Job::builder(&text(survey()), out).model(&text(model()));
        let summary = job.build().unwrap().run().unwrap();
        let elapsed = (clock() - began).as_secs_f64();
        assert!(summary.seconds <= elapsed, "{} {elapsed}", summary.seconds);
        let rate = summary.rows_written as f64 / summary.seconds;
        assert_eq!(summary.galaxies_per_second, rate);
        summary
    };
    let first = run(&text(first_out.path()));
    std::thread::sleep(Duration::from_secs(1));
    let second = run(&text(second_out.path()));
    assert_eq!(first.rows_written, second.rows_written);
    assert!(first.rows_written > 0);
}

/// An observer that records lost processes.
#[derive(Clone, Default)]
struct Losses(Arc<Mutex<Vec<String>>>);

impl Observer for Losses {
    fn peer_lost(&self, how: &str) {
        self.0.lock().unwrap().push(how.to_owned());
    }
}

/// Regression: the library ended the whole process.
#[test]
fn a_lost_process_is_an_error_of_the_run() {
    let (catalog, out, cluster) = (folder(), folder(), HostsFile::new());
    let hosts = read_hosts(cluster.path()).unwrap();
    let losses = Losses::default();
    let (stopper, stop) = Stopper::new();
    let watch = Watch {
        poll: Duration::from_millis(50),
        settle: Duration::from_secs(10),
        stop,
    };
    let job = Job::builder(&text(catalog.path()), &text(out.path()))
        .model(&text(model()))
        .cluster(ClusterSettings::at_hosts(hosts, 0))
        .observer(losses.clone());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let _the_test_may_have_given_up = tell.send(job.build().unwrap().watch(watch));
    });
    let second = Program::on("watch", &text(catalog.path()), &text(out.path()), model());
    let second = second.args(cluster.flags(1)).start();
    write_file(
        catalog.path().join("a/1.parquet"),
        parquet_bytes(&galaxies_with_ids(int64(0..4)), 100),
    );
    write_file(catalog.path().join("a/_SUCCESS"), "");
    wait_until("the drop is committed", || drops(out.path()).len() == 1);
    second.signal("KILL");
    let ended = told.recv_timeout(Duration::from_secs(60));
    let error = ended.expect("the run ends").unwrap_err();
    let Error::LostPeer { how } = &error else {
        panic!("{error}");
    };
    assert!(how.starts_with("process 1 at 127.0.0.1:"), "{how}");
    assert_eq!(losses.0.lock().unwrap().as_slice(), [how.as_str()]);
    assert_eq!(drops(out.path()), ["a"]);
    drop(stopper);
}
