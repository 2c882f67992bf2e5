//! Time and memory of processes and threads.
use std::time::Duration;

/// What this process has taken since it was started, all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time of its cores, its own and the system's for it.
    pub cpu: Duration,
    /// The most memory that it held at once.
    pub peak_rss_bytes: u64,
}

/// What this process has taken.
pub fn usage() -> Usage {
    of(libc::RUSAGE_SELF)
}

/// Time that the processes have computed which this process has started and waited for, with those that they have started.
pub fn children_cpu() -> Duration {
    of(libc::RUSAGE_CHILDREN).cpu
}

fn of(whom: libc::c_int) -> Usage {
    // SAFETY: all zeros is a valid rusage, and the call writes to nothing else.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(whom, &mut used);
        used
    };
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
    };
    // Linux counts in kibibytes, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Usage {
        cpu: time(used.ru_utime) + time(used.ru_stime),
        peak_rss_bytes: used.ru_maxrss as u64 * unit,
    }
}

/// The bytes of memory that a process holds now. `None` if the system does not say.
pub fn resident_bytes(process: u32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: the call takes and returns numbers.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(resident * u64::try_from(page_bytes).ok()?)
}

/// The time that this thread has computed.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to `time` alone.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
