//! How this process gives memory back.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use hubbleflow::settings::cores;

/// Blocks of this size and above go back to the system when they are freed: bytes and rows of a split. What the model
/// needs for a batch is smaller, and is needed again at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_BYTES_MIN: libc::c_int = 12 << 20;
/// What a heap keeps for the next batch.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_BYTES_MIN: libc::c_int = 128 << 20;

/// The cores that share a heap. A thread that makes a block larger copies the block while it holds the heap's lock: a
/// machine of 16 cores with a single heap kept 3.3 cores busy with reading. Each heap keeps the most that its threads ever
/// held at once: two heaps held 0.15 GB more than a single heap at `--memory 512MB`, the library's own number (eight a
/// core) 0.7 GB more.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const CORES_OF_A_HEAP: usize = 2;

/// While rows are read to be kept, blocks of this size and above go back when they are freed: rows as they were read, once
/// they are laid out anew. Nothing is computed meanwhile that needs blocks again and again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const READING_BYTES_MIN: libc::c_int = 1 << 20;
/// The library's own limit, once it has seen large blocks.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LEARNED_BYTES_MIN: libc::c_int = 32 << 20;

/// Makes the C library give even smaller blocks back, as long as rows are read to be kept. The rows of a training took twice
/// their bytes without.
pub fn give_back_while_reading(is_reading: bool) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt may be called at any time; it only sets limits of the allocator.
    unsafe {
        let bytes_min = match is_reading {
            true => READING_BYTES_MIN,
            false => LEARNED_BYTES_MIN,
        };
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes_min);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * bytes_min);
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = is_reading;
}

/// Makes the C library give memory back, so that what `--memory` bounds is what the process holds. To be called before
/// the first thread is started.
///
/// Left to itself glibc raises the limit with every large block that is freed, and then keeps them, a heap for each
/// thread: after an hour a process would hold several times what is in flight.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let heaps = cores().div_ceil(CORES_OF_A_HEAP) as libc::c_int;
        // SAFETY: mallopt may be called at any time; it only sets limits of the allocator.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_BYTES_MIN);
            libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES_MIN);
            libc::mallopt(libc::M_ARENA_MAX, heaps);
        }
    }
}
