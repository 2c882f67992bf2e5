//! A cluster that may change its size: it begins with what has come, goes on after a loss, and takes newcomers in. The answer
//! does not change by a bit.
use std::{path::Path, time::Duration};

use hubbleflow::clock::clock;
use testkit::{
    Seeded,
    outputs::{committed, committed_drops, committed_with_metrics, drops},
    processes::wait_until,
    program::Program,
    running::Running,
    survey::{STORED_OFTEN, eventful_survey, model, run_catalog, survey, undisturbed_run},
    tree::{assert_same, copy_tree, folder, text},
};

fn process(catalog: &Path, out: &Path, flags: &str) -> Program {
    let run = run_catalog(catalog, out)
        .with("--threads 1")
        .with(STORED_OFTEN);
    run.with(flags)
}

#[test]
fn a_cluster_begins_with_what_has_come() {
    let (out, alone) = (folder(), undisturbed_run(survey(), STORED_OFTEN));
    let run = || process(survey(), out.path(), "--processes 2..8 --gather 15s").start();
    let processes = [run(), run(), run()];
    for process in processes {
        process.ends(0).says(&["of a cluster of 3"]);
    }
    assert_same(&alone, &committed(out.path()));
}

#[test]
fn one_process_is_too_few_for_a_cluster() {
    let out = folder();
    let alone = process(survey(), out.path(), "--processes 2..8 --gather 1s");
    alone.ends(75).says(&["1 of 2 processes came", "--gather"]);
}

#[test]
fn a_process_for_which_nothing_is_left_to_do_waits_for_nobody() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let late = process(survey(), out.path(), "--processes 2..8 --gather 10m --json");
    assert_eq!(late.ends(0).json()["drops_committed"], 0);
}

/// Starts processes that watch a catalog, and waits until all of them have met.
fn watching(catalog: &Path, out: &Path, count: usize) -> Vec<Running> {
    let watch = || {
        let watch = Program::on("watch", &text(catalog), &text(out), model());
        watch
            .with("--threads 1 --processes 2..4 --gather 5s")
            .start()
    };
    let processes: Vec<Running> = (0..count).map(|_| watch()).collect();
    for process in &processes {
        process.wait_for_message(&format!("of a cluster of {count}"));
    }
    processes
}

#[test]
fn a_cluster_goes_on_after_a_loss_and_takes_newcomers_in() {
    let (catalog, out) = (folder(), folder());
    let mut processes = watching(catalog.path(), out.path(), 3);
    let arrives = |drop: &str| copy_tree(&survey().join(drop), &catalog.path().join(drop));
    arrives("drop-0001");
    wait_until("the first drop is committed", || {
        drops(out.path()).len() == 1
    });
    // The leader, as often as not: whoever came first.
    processes.remove(0).signal("KILL");
    for process in &processes {
        process.wait_for_message("of a cluster of 2");
    }
    arrives("drop-0002");
    wait_until("the second drop is committed", || {
        drops(out.path()).len() == 2
    });
    let watch = Program::on("watch", &text(catalog.path()), &text(out.path()), model());
    let newcomer = watch
        .with("--threads 1 --processes 2..4 --gather 60s")
        .start();
    newcomer.wait_for_message("of a cluster of 3");
    arrives("drop-0003-specz");
    wait_until("all drops are committed", || drops(out.path()).len() == 3);
    processes.push(newcomer);
    processes.iter().for_each(|process| process.signal("TERM"));
    for process in processes {
        process.ends(0);
    }
    let alone = folder();
    run_catalog(survey(), &alone).ends(0);
    assert_same(
        &committed_with_metrics(alone.path()),
        &committed_with_metrics(out.path()),
    );
}

/// Processes of which one is killed every few seconds and started again, until the survey is through.
#[test]
fn killed_again_and_again_a_cluster_loses_no_row() {
    let (every, until) = (Duration::from_secs(3), Duration::from_secs(20));
    kill_again_and_again(eventful_survey(), 4, every, until);
}

/// `cargo test --release --test promises -- --ignored --nocapture five_minutes`
#[test]
#[ignore = "takes five minutes"]
fn eight_processes_killed_for_five_minutes() {
    let catalog = folder();
    let sample = Program::new(["sample", &text(catalog.path())]);
    sample.with("--galaxies 300000 --drops 20 --px 32").ends(0);
    let (every, until) = (Duration::from_secs(7), Duration::from_secs(300));
    kill_again_and_again(catalog.path(), 8, every, until);
}

/// Kills one of `count` processes `every` so often `until` so much time has passed, then lets them come to an end.
fn kill_again_and_again(catalog: &Path, count: usize, every: Duration, until: Duration) {
    let (out, began) = (folder(), clock());
    let alone = undisturbed_run(catalog, STORED_OFTEN);
    println!("undisturbed: {:?}", clock() - began);
    let flags = format!("--processes 2..{count} --gather 20s");
    let run = || process(catalog, out.path(), &flags).start();
    let mut processes: Vec<Running> = (0..count).map(|_| run()).collect();
    let (mut seeded, began, mut kills) = (Seeded(7), clock(), 0);
    let mut committed_at = Vec::new();
    while clock() - began < until && processes.iter_mut().any(|process| !process.has_ended()) {
        std::thread::sleep(every);
        let victim = seeded.below(0..count);
        kills += u32::from(!processes[victim].has_ended());
        processes[victim].kill();
        processes[victim] = run();
        committed_at.push(committed_drops(out.path()).len());
    }
    println!(
        "{kills} kills in {:?}; drops committed after each: {committed_at:?}",
        clock() - began
    );
    for mut process in processes {
        assert!(
            process.has_ended_within(Duration::from_secs(90)),
            "a process hangs"
        );
        process.ends(0);
    }
    assert_same(&alone, &committed(out.path()));
}
