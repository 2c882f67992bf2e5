//! A process that runs: its messages so far, signals to it, and its end.
use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::Child,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{finished::Finished, processes::signal};

/// A process whose stderr is read while it runs. It is killed when its test ends.
pub struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts to read the stderr of a process.
    pub fn new(mut child: Child) -> Self {
        let stderr = Arc::new(Mutex::new(String::new()));
        let (lines, all) = (
            child.stderr.take().expect("stderr is piped"),
            stderr.clone(),
        );
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut all = all.lock().unwrap();
                all.push_str(&line);
                all.push('\n');
            }
        });
        Self {
            child,
            stderr,
            listener: Some(listener),
        }
    }

    /// Whether stderr contains these words so far.
    pub fn has_said(&self, words: &str) -> bool {
        self.stderr.lock().unwrap().contains(words)
    }

    /// Waits until stderr contains these words; panics after two minutes.
    #[track_caller]
    pub fn wait_for_message(&self, words: &str) {
        for _ in 0..6000 {
            if self.has_said(words) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let stderr = self.stderr.lock().unwrap();
        panic!("waited two minutes for {words:?} in:\n{stderr}");
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Kills the process, unless it has ended.
    pub fn kill(&mut self) {
        self.child
            .kill()
            .expect("a child of this process can be killed");
    }

    /// Waits at most `patience` for the process to end. Returns whether it has ended.
    pub fn has_ended_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.has_ended()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("the process can be waited for").is_some()
    }

    /// Waits for the process to end, and asserts its exit code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Finished {
        let finished = self.wait();
        assert_eq!(
            finished.code, code,
            "{}{}",
            finished.stdout, finished.stderr
        );
        finished
    }

    /// Waits for the process to end.
    pub fn wait(mut self) -> Finished {
        let mut stdout = String::new();
        let pipe = self.child.stdout.as_mut().expect("stdout is piped");
        pipe.read_to_string(&mut stdout)
            .expect("the program prints UTF-8");
        let status = self.child.wait().expect("the process can be waited for");
        let listener = self.listener.take().expect("a process ends once");
        listener.join().expect("the program logs UTF-8");
        let signal = status.signal().unwrap_or(0);
        Finished {
            code: status.code().unwrap_or(-signal),
            stdout,
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if the process has ended already. Then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
