//! Signals to processes, their children, and waiting for a condition.
use std::{fs, process::Command, time::Duration};

/// Waits until a condition holds; panics after two minutes, which is longer than the slowest machine needs.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited two minutes until {what}");
}

/// Sends a signal, for example `TERM`, to a process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(sent.expect("`kill` can be run").success());
}

/// Lists the processes that a process has started, by id.
pub fn children(process: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("processes can be listed");
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The parent is the second field after the name. The name is in brackets and may contain anything.
    let parent = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?
            .1
            .split(' ')
            .nth(1)?
            .parse::<u32>()
            .ok()
    };
    let mut children: Vec<u32> = ids.filter(|id| parent(id) == Some(process)).collect();
    children.sort_unstable();
    children
}
