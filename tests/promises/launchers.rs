//! The files of `examples/deploy` are what their tools accept, and do what their pages say.
use std::{path::Path, process::Command};

use testkit::{
    program::program,
    python::run_script,
    tree::{folder, text},
};

/// Runs a check of launchers.py in a folder of its own. Prints what it skipped.
fn check(name: &str) {
    let place = folder();
    let words = match name {
        "assemble" => vec![text(place.path()), text(&program())],
        "aws" | "slurm" | "systemd" => vec![text(place.path())],
        _ => Vec::new(),
    };
    let words = [vec![name.to_owned()], words].concat();
    eprint!("{}", run_script(".venv", "launchers.py", words));
}

#[test]
fn kubernetes_accepts_the_job() {
    check("kubernetes");
}

#[test]
fn aws_batch_accepts_the_job_definitions_and_their_command_starts_a_process() {
    check("aws");
}

#[test]
fn systemd_accepts_the_unit() {
    check("systemd");
}

#[test]
fn slurm_queues_a_job_again_where_a_process_was_lost_or_the_time_is_over() {
    check("slurm");
}

#[test]
fn the_scripts_of_launchers_pass_shellcheck() {
    check("shell");
}

#[test]
fn both_containers_are_built_by_the_same_steps() {
    check("container");
}

#[test]
fn a_container_holds_all_that_the_program_needs() {
    check("assemble");
}

#[test]
fn launchers_use_settings_that_exist() {
    check("settings");
}

/// Takes half a minute where Slurm's programs are there, and no time elsewhere.
#[test]
fn a_slurm_of_one_node_runs_the_script() {
    let place = folder();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/slurm/try.sh");
    let output = Command::new(script)
        .current_dir(place.path())
        .output()
        .expect("bash is there");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    eprint!("{said}");
    // 77: there is no Slurm here.
    assert!(matches!(output.status.code(), Some(0 | 77)), "{said}");
}
