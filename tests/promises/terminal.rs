//! The command as a process: its output pipes and its temporary files.
use std::{
    fs::{self, File},
    process::Stdio,
};

use testkit::{
    finished::wait_for_exit,
    outputs::drops,
    program::Program,
    survey::{model, run_catalog, survey},
    tree::{folder, text},
};

#[test]
fn a_closed_output_pipe_does_not_stop_a_run() {
    let out = folder();
    let mut run = run_catalog(survey(), &out).with("--json").spawn();
    // `| head -0` and `2>&1 | head -0` do this.
    drop((run.stdout.take(), run.stderr.take()));
    wait_for_exit(run, 0, "a run that nobody listens to");
    assert_eq!(drops(out.path()).len(), 3);
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let inspect = Program::new(["model", "inspect", &text(model())]);
    let child = inspect.stdout_to(Stdio::from(full)).spawn();
    let ended = wait_for_exit(child, 1, "a model that is printed to a full disk");
    ended.says(&["standard output", "No space left"]);
}

#[test]
fn a_local_cluster_leaves_nothing_in_the_temporary_folder() {
    let (out, temporary) = (folder(), folder());
    let run = run_catalog(survey(), &out).with("--local 2 --limit 10");
    run.env("TMPDIR", &text(temporary.path())).ends(0);
    let there: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
    assert!(there.is_empty(), "{there:?}");
}
