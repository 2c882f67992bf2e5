//! The memory of a process and of those that it has started, as Linux tells it.
use std::fs;

/// The resident bytes of a process and of all that it has started, added up. `None` if the system does not say.
///
/// Pages that processes share count for each of them.
pub(super) fn resident_bytes(process: u32) -> Option<u64> {
    let own = resident_bytes_of_one(process)?;
    // Those that have ended meanwhile hold nothing.
    let children = children(process)?.into_iter();
    Some(own + children.filter_map(resident_bytes).sum::<u64>())
}

fn resident_bytes_of_one(process: u32) -> Option<u64> {
    let pages = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let resident = pages.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(resident * page_bytes())
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

fn page_bytes() -> u64 {
    // SAFETY: sysconf only reads.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_to_is_resident() {
        let before = resident_bytes(std::process::id()).unwrap();
        let bytes = vec![1_u8; 64 << 20];
        let after = resident_bytes(std::process::id()).unwrap();
        assert!(after >= before + (60 << 20), "{before} {after}");
        assert_eq!(bytes[bytes.len() - 1], 1);
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing() {
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
