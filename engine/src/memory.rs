//! How this process gives memory back.

/// Blocks of this size and above go back to the system when they are freed: bytes and rows of a split. What the model
/// needs for a batch is smaller, and is needed again at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_BYTES_MIN: libc::c_int = 12 << 20;
/// What a heap keeps for the next batch.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_BYTES_MIN: libc::c_int = 128 << 20;

/// Heaps of the process. With one for each few threads, each keeps the most that its own threads ever held at once, and
/// libtorch's threads, tokio's and the workers' peak at different times: two heaps held 0.15 GB more than one at
/// `--memory 512MB`, the library's own number (eight a core) 0.7 GB more, all at the same speed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 1;

/// Makes the C library give memory back, so that what `--memory` bounds is what the process holds. To be called before
/// the first thread is started.
///
/// Left to itself glibc raises the limit with every large block that is freed, and then keeps them, a heap for each
/// thread: after an hour a process would hold several times what is in flight.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt may be called at any time; it only sets limits of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES_MIN);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX);
    }
}
