//! Small surveys and small models, made once by the program for all tests, and runs on them.
use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{
    outputs::committed,
    program::{Program, profile_folder},
    rows::rows,
    tree::{Tree, folder, text},
};

/// The drops of [`survey`], in order.
pub const SURVEY_DROPS: [&str; 3] = ["drop-0001", "drop-0002", "drop-0003-specz"];

/// `hubbleflow run CATALOG --out OUT` with the small model.
pub fn run_catalog(catalog: impl AsRef<Path>, out: impl AsRef<Path>) -> Program {
    let (catalog, out) = (text(catalog.as_ref()), text(out.as_ref()));
    Program::on("run", &catalog, &out, model())
}

/// Flags for few rows a split and more workers than cores, so that rows arrive in any order.
pub const SCATTERED: &str = "--split-bytes 60kB --memory 1MB --workers 4";

/// Flags for few rows a split, whose results are stored as soon as may be.
pub const STORED_OFTEN: &str = "--split-bytes 60kB --memory 1MB --checkpoint 100ms";

/// Flags that fix the device and the arithmetic, so that runs in a process of their own equal runs in the test.
pub const CPU_FLOAT32: &str = "--precision fp32 --device cpu";

/// The committed files of a run that nothing disturbs.
pub fn undisturbed_run(catalog: &Path, flags: &str) -> Tree {
    let out = folder();
    run_catalog(catalog, &out).with(flags).ends(0);
    committed(out.path())
}

/// A command in which CATALOG stands for the survey, and MADE for the path that the command would make.
pub fn command_on_survey(command: &str, place: &Path) -> Program {
    let (catalog, made) = (text(survey()), text(&place.join("made")));
    Program::new(command.split(' ').map(|word| match word {
        "CATALOG" => &catalog,
        "MADE" => &made,
        word => word,
    }))
}

/// A model of one block.
pub fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    make_once(&MODEL, "model", "model init HERE --depth 1")
}

/// A model of one block with different weights.
pub fn other_model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    make_once(
        &MODEL,
        "other-model",
        "model init HERE --depth 1 --seed other",
    )
}

/// A survey of two drops of galaxies and one drop of spec-z, with corrections, withdrawals and bad rows.
pub fn survey() -> &'static Path {
    static SURVEY: OnceLock<PathBuf> = OnceLock::new();
    let command = "sample HERE --px 32 --galaxies 300 --drops 2 --corrections 0.1 --withdrawals 0.05 --bad-rows 0.05 \
                   --without-spec-z 0.3 --specz-drops 1";
    make_once(&SURVEY, "survey", command)
}

/// The number of rows of a drop of [`survey`].
pub fn survey_rows(drop: &str) -> u64 {
    rows(survey().join(drop)).num_rows() as u64
}

/// A smaller survey with more events: four drops of galaxies and one of spec-z, with corrections, withdrawals and bad rows.
pub fn eventful_survey() -> &'static Path {
    static SURVEY: OnceLock<PathBuf> = OnceLock::new();
    let command = "sample HERE --px 32 --galaxies 120 --drops 4 --corrections 0.2 --withdrawals 0.1 --bad-rows 0.05 \
                   --without-spec-z 0.3 --specz-drops 1 --seed 7";
    make_once(&SURVEY, "eventful-survey", command)
}

/// A survey of one drop that takes some seconds.
pub fn long_survey() -> &'static Path {
    static SURVEY: OnceLock<PathBuf> = OnceLock::new();
    let command = "sample HERE --px 32 --galaxies 6000 --drops 1 --bad-rows 0.01 --seed 5";
    make_once(&SURVEY, "long-survey", command)
}

/// A survey of one drop, with as many galaxies as a training needs to learn what its rows are like.
pub fn training_survey() -> &'static Path {
    static SURVEY: OnceLock<PathBuf> = OnceLock::new();
    let command = "sample HERE --px 32 --galaxies 1400 --drops 1 --bad-rows 0 --seed 11";
    make_once(&SURVEY, "training-survey", command)
}

/// A model that was fine-tuned a little on [`training_survey`], and says what its training rows were like.
pub fn trained_model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    let catalog = text(training_survey());
    let command = format!("train finetune {catalog} --out HERE --training 0:0.9 {BRIEFLY}");
    make_once(&MODEL, "trained-model", &command)
}

/// Flags of a training of seconds.
pub const BRIEFLY: &str = "--depth 1 --branches encoder,magnitude --encoder frozen --head point --loss mse --epochs 1 \
                           --batch 64 --threads 2 --learn-preprocess --validation 0.9:1 --test 1:1";

/// Runs a command of the program once; `HERE` in it stands for the path that it makes.
fn make_once(cell: &'static OnceLock<PathBuf>, name: &str, command: &str) -> &'static Path {
    cell.get_or_init(|| {
        let path = shared_folder().join(name);
        let place = text(&path);
        let args = command.split_whitespace();
        Program::new(args.map(|arg| if arg == "HERE" { place.as_str() } else { arg })).ends(0);
        path
    })
}

/// A folder for all tests of a test binary. The next test binary removes it.
fn shared_folder() -> &'static Path {
    static SHARED: OnceLock<PathBuf> = OnceLock::new();
    SHARED.get_or_init(|| {
        let profile = profile_folder();
        let target = profile.parent().expect("a profile lies in target");
        let all = target.join("tmp/promises");
        for old in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                // This fails if a second test binary removes the folder at the same time.
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let shared = all.join(std::process::id().to_string());
        fs::create_dir_all(&shared).expect("a folder can be made");
        shared
    })
}
