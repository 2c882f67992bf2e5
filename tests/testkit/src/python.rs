//! Python scripts of the tests, run in a virtual environment that the Makefile makes.
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// The Python of a virtual environment at the root of the workspace, for example `.venv`.
pub fn python(environment: &str) -> PathBuf {
    workspace().join(environment).join("bin/python")
}

/// Runs a script of `tests/promises/` and returns its stdout. Panics if the script fails.
pub fn run_script<A: AsRef<OsStr>>(
    environment: &str,
    script: &str,
    args: impl IntoIterator<Item = A>,
) -> String {
    let python = python(environment);
    let output = Command::new(&python)
        .arg(workspace().join("tests/promises").join(script))
        .args(args)
        .output()
        .unwrap_or_else(|error| {
            let python = python.display();
            panic!("{python}: {error}; run `make test` or `make test-torch`")
        });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed: {errors}");
    String::from_utf8(output.stdout).expect("Python prints UTF-8")
}

fn workspace() -> &'static Path {
    let testkit = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = testkit.ancestors().nth(2);
    root.expect("the testkit lies in tests/testkit")
}
