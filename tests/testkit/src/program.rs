//! The program `hubbleflow` as a process: its arguments, its environment, and its start.
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    finished::{Finished, wait_for_exit},
    running::Running,
    s3::{KEY, S3, SECRET},
    tree::text,
};

/// The folder of the build profile in which the running test lies: `target/release`.
pub fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent);
    profile
        .expect("tests lie in target/<profile>/deps")
        .to_owned()
}

/// The path of the program that `make build` has built.
pub fn program() -> PathBuf {
    let program = profile_folder().join("hubbleflow");
    assert!(
        program.exists(),
        "{} does not exist: run `make build` first",
        program.display()
    );
    program
}

/// One run of the program. It does not inherit the environment of the test.
pub struct Program(Command);

impl Program {
    /// A run with these arguments.
    pub fn new<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Self {
        Self(with_clean_environment(Command::new(program()))).args(args)
    }

    /// A run of a command that takes a catalog, an output and a model.
    pub fn on(command: &str, catalog: &str, out: &str, model: &Path) -> Self {
        Self::new([command, catalog, "--out", out, "--model", &text(model)])
    }

    /// Adds arguments that are separated by spaces.
    pub fn with(self, args: &str) -> Self {
        self.args(args.split_whitespace())
    }

    /// Adds arguments.
    pub fn args<A: AsRef<str>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0
            .args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(self, name: &str, value: &str) -> Self {
        self.os_env(OsStr::new(name), OsStr::new(value))
    }

    /// Sets an environment variable whose name or value may not be UTF-8.
    pub fn os_env(mut self, name: &OsStr, value: &OsStr) -> Self {
        self.0.env(name, value);
        self
    }

    /// Sets the current folder.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Redirects stdout.
    pub fn stdout_to(mut self, place: Stdio) -> Self {
        self.0.stdout(place);
        self
    }

    /// Sets the endpoint and the keys of an S3 server.
    pub fn on_s3(self, s3: &S3) -> Self {
        self.env("AWS_ENDPOINT_URL", &s3.endpoint())
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "us-east-1")
    }

    /// Limits the size of the files that the program may write, as a full disk does. Variables set before are lost.
    pub fn with_file_size_limit_kib(self, kib: u32) -> Self {
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        self.through(&["/bin/bash", "-c", &script])
    }

    /// Has another program start it: `ip netns exec NAME`, for example. Variables set before are lost.
    pub fn through(self, words: &[&str]) -> Self {
        let mut command = with_clean_environment(Command::new(words[0]));
        command
            .args(&words[1..])
            .arg(self.0.get_program())
            .args(self.0.get_args());
        Self(command)
    }

    /// Starts the program, as a plain process.
    pub fn spawn(mut self) -> Child {
        self.0.spawn().expect("the program starts")
    }

    /// Starts the program, and reads its messages while it runs.
    pub fn start(self) -> Running {
        Running::new(self.spawn())
    }

    /// Runs the program to its end, and asserts its exit code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Finished {
        let command = format!("{:?}", self.0);
        wait_for_exit(self.spawn(), code, &command)
    }
}

fn with_clean_environment(mut command: Command) -> Command {
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
