//! Nothing silent: a mistake in the command or in a settings file is a usage error that names the setting.
use std::fs;

use testkit::{
    finished::{Finished, wait_for_exit},
    galaxy_rows::write_good_drop,
    hosts::HostsFile,
    outputs::committed,
    program::Program,
    protected::ProtectedOutput,
    survey::{command_on_survey, model, run_catalog, survey},
    tree::{folder, text, write_file},
};

#[test]
fn mistakes_in_the_command_are_usage_errors() {
    let protected = ProtectedOutput::new();
    write_good_drop(protected.catalog.path(), "drop-2", 200);
    let ends = |flags: &str| -> Finished { protected.run().with(flags).ends(2) };
    for (flags, words) in [
        ("--memroy 1GB", "--memroy"),
        ("--batch 0", "--batch"),
        ("--workers 0", "--workers"),
        ("--split-bytes 0", "--split-bytes"),
        ("--split-bytes 25parsecs", "parsecs"),
        ("--memory 50MB", "--memory 50.0 MB is less than four splits"),
        ("--device tpu", "tpu"),
        ("--precision half", "half"),
        ("--column cutout", "--column cutout=image"),
        ("--column colour=g_r", "colour"),
        ("--mag-min 30 --mag-max 20", "--mag-min 30"),
        ("--drop drop-9", "no drop drop-9; it has: drop-1, drop-2"),
        (
            "--local 2 --processes 2 --process 0 --hosts /dev/null",
            "--local",
        ),
        ("--local 0", "--local"),
        ("--threads 0", "--threads"),
        ("--limit 0", "--limit"),
        ("--processes 2 --process 5 --hosts /dev/null", "--process 5"),
    ] {
        ends(flags).says(&[words]);
    }
    Program::on(
        "run",
        "ftp://sky/survey",
        &text(protected.out.path()),
        model(),
    )
    .ends(2)
    .says(&["ftp", "known are s3, gs, az"]);
    Program::new(["run", &text(protected.catalog.path())])
        .ends(2)
        .says(&["--out", "--model"]);
    protected.holds(&["drop-1"]);
}

#[test]
fn bad_settings_files_are_usage_errors() {
    let protected = ProtectedOutput::new();
    let file = protected.out.path().join("settings.toml");
    for (content, word) in [
        ("memroy = '1GB'", "no setting memroy"),
        ("memory = ", "settings.toml"),
    ] {
        write_file(&file, content);
        protected
            .run()
            .args(["--settings", &text(&file)])
            .ends(2)
            .says(&[&text(&file), word]);
    }
    fs::remove_file(&file).unwrap();
    protected
        .run()
        .args(["--settings", &text(&file)])
        .ends(2)
        .says(&[&text(&file)]);
    protected.holds(&["drop-1"]);
}

#[test]
fn numbers_out_of_range_are_usage_errors() {
    let made = folder();
    for (command, said) in [
        ("bench read CATALOG --px 0", "--px"),
        ("train finetune CATALOG --out MADE --threads 0", "--threads"),
        ("train finetune CATALOG --out MADE --epochs 0", "--epochs"),
        (
            "train finetune CATALOG --out MADE --mag-min nan",
            "--mag-min",
        ),
        ("bench exchange --workers 5000", "--workers"),
        (
            "run CATALOG --out MADE --model m --workers 5000",
            "--workers",
        ),
        (
            "run CATALOG --out MADE --model m --threads 1000000",
            "--threads",
        ),
        ("run CATALOG --out MADE --model m --local 100000", "--local"),
        ("watch CATALOG --out MADE --model m --poll 0ms", "--poll"),
        ("demo --local 100000", "--local"),
        ("sample MADE --px 7", "--px <PX>': a number from 8 to 2048"),
        ("sample MADE --px 2049", "a number from 8 to 2048"),
        ("sample MADE --px 3x", "a number from 8 to 2048"),
        (
            "sample MADE --mag-noise 101",
            "--mag-noise 101: give a number from 0 to 100",
        ),
        (
            "sample MADE --mag-noise nan",
            "--mag-noise NaN: give a number from 0 to 100",
        ),
        (
            "train pretrain CATALOG --out MADE --drop drop-9",
            "no drop drop-9",
        ),
    ] {
        command_on_survey(command, made.path())
            .ends(2)
            .says(&[said]);
    }
}

#[test]
fn a_network_that_cannot_be_is_a_usage_error() {
    let made = folder();
    for (command, said) in [
        (
            "train pretrain CATALOG --out MADE --px 30",
            "`cutout_px` is 30, which is no multiple of `encoder.patch_px`, 8",
        ),
        (
            "train finetune CATALOG --out MADE --model-bands g,r,g",
            "`bands` names the band g twice",
        ),
        (
            "train finetune CATALOG --out MADE --depth 0",
            "`depth` must be from 1",
        ),
        ("model init MADE --mags g,,r", "`mags` has \"\""),
        ("model init MADE --px 4", "`cutout_px` is 4, below 8"),
    ] {
        command_on_survey(command, made.path())
            .ends(2)
            .says(&[said]);
    }
}

#[test]
fn bands_that_no_sample_survey_has_are_usage_errors() {
    let made = folder();
    for (bands, said) in [
        (
            "ugx",
            "--bands ugx: the survey has no band 'x'; give any of u, g, r, i and z",
        ),
        ("g,r,g", "--bands g,r,g: band g is there twice"),
    ] {
        let command = format!("sample MADE --bands {bands}");
        command_on_survey(&command, made.path())
            .ends(2)
            .says(&[said]);
    }
    let demo = command_on_survey("demo --bands griz", made.path());
    demo.ends(2).says(&["unexpected argument '--bands'"]);
}

#[test]
fn overlapping_training_and_validation_sets_are_reported() {
    let command =
        "train finetune CATALOG --out MADE --training 0:0.9 --validation 0.8:0.95 --drop drop-9";
    let made = folder();
    let said = command_on_survey(command, made.path()).ends(2);
    said.says(&["--training 0:0.9 and --validation 0.8:0.95 hold the same objects"]);
    assert!(!said.stderr.contains("--test"), "{}", said.stderr);
}

#[test]
fn a_bad_hosts_file_is_a_usage_error() {
    let (place, out) = (folder(), folder());
    let hosts = place.path().join("hosts");
    for (lines, said) in [
        (
            "# ours\n127.0.0.1:4001\n127.0.0.1:4002",
            "line 1: \"# ours\" is not HOST:PORT",
        ),
        (
            "127.0.0.1:4001\n127.0.0.1",
            "line 2: \"127.0.0.1\" is not HOST:PORT",
        ),
        (
            "127.0.0.1:4001\n\n127.0.0.1:4001",
            "line 3: \"127.0.0.1:4001\" stands there twice",
        ),
    ] {
        write_file(&hosts, lines);
        let run = run_catalog(survey(), &out).with("--processes 2 --process 0 --hosts");
        run.args([text(&hosts)])
            .ends(2)
            .says(&[&text(&hosts), said]);
    }
}

#[test]
fn processes_that_choose_different_drops_do_not_start() {
    let (hosts, out) = (HostsFile::new(), folder());
    let start = |process: usize, flags: &str| {
        let run = run_catalog(survey(), &out).with(flags);
        run.args(hosts.flags(process)).spawn()
    };
    let children = [start(0, "--drop drop-0001"), start(1, "")];
    let said = children.map(|child| wait_for_exit(child, 1, "a process that disagrees").stderr);
    assert!(
        said.iter().any(|said| said.contains("disagree: drop is")),
        "{said:?}"
    );
    assert!(committed(out.path()).is_empty());
}

#[test]
fn endless_and_missing_files_are_usage_errors() {
    let out = folder();
    for flags in [
        "--settings /dev/zero",
        "--processes 2 --process 0 --hosts /dev/zero",
        "--processes 2 --process 0 --hosts /no/such/file",
        "--settings /no/such/file",
    ] {
        let file = flags.rsplit(' ').next().unwrap();
        let run = run_catalog(survey(), &out).with(flags);
        run.ends(2).says(&[file]);
    }
}
