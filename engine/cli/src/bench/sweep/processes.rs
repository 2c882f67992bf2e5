//! The memory of a process and of those that it has started, as Linux tells it.
use std::fs;

use crate::bench::usage::resident_bytes;

/// The resident bytes of a process and of all that it has started, added up. `None` if the system does not say.
///
/// Pages that processes share count for each of them.
pub(super) fn resident_bytes_of_all(process: u32) -> Option<u64> {
    let own = resident_bytes(process)?;
    // Processes that have ended meanwhile hold nothing.
    let children = children(process)?.into_iter();
    Some(own + children.filter_map(resident_bytes_of_all).sum::<u64>())
}

/// The processes that the first thread of a process has started: the thread that supervises a cluster.
fn children(process: u32) -> Option<Vec<u32>> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).ok()?;
    Some(
        children
            .split(' ')
            .filter_map(|id| id.parse().ok())
            .collect(),
    )
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use hubbleflow::clock::clock;

    use super::*;

    /// The memory is that of a child: tests beside this one take and free memory of this process.
    #[test]
    fn memory_that_a_child_has_written_to_is_resident() {
        let script = r"x=$(head -c 33554432 /dev/zero | tr '\0' a); read line";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(Stdio::piped()).spawn();
        let mut shell = shell.unwrap();
        let until = clock() + Duration::from_secs(60);
        let held = loop {
            let held = resident_bytes_of_all(shell.id()).unwrap();
            if held > 32 << 20 || clock() > until {
                break held;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(held > 32 << 20, "{held}");
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing() {
        assert_eq!(resident_bytes_of_all(u32::MAX), None);
    }
}
