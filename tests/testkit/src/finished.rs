//! How a run of the program ended: its exit code, and what it printed.
use std::process::Child;

use serde_json::Value;

/// The exit code and the output of a process that has ended.
pub struct Finished {
    /// The exit code, or the negative number of the signal that killed the process.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Asserts that stderr contains all of these words.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "stderr does not contain {word:?}:\n{}",
                self.stderr
            );
        }
    }

    /// Parses the last line of stdout as JSON.
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| {
            panic!(
                "the last line of stdout is not JSON ({error}):\n{}",
                self.stdout
            )
        })
    }
}

/// Waits for a process to end, and asserts its exit code.
#[track_caller]
pub fn wait_for_exit(child: Child, code: i32, what: &str) -> Finished {
    let output = child
        .wait_with_output()
        .expect("the program can be waited for");
    let finished = Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("the program prints UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("the program logs UTF-8"),
    };
    assert_eq!(
        finished.code, code,
        "exit code of {what}\n{}{}",
        finished.stdout, finished.stderr
    );
    finished
}
