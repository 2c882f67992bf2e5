//! What libtorch's MKL asks of the program that links it.

/// MKL, which is linked into libtorch, asks this function of its own whether it runs on Intel's processor, and takes
/// kernels for older ones where it does not, though AMD's have the same instructions. A program's symbols come before
/// those of its libraries: this answer is the one that it gets. What a kernel then needs, it asks the processor itself.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
// SAFETY: replaces a function of the same signature, without arguments or effects.
#[unsafe(no_mangle)]
pub extern "C" fn mkl_serv_intel_cpu_true() -> libc::c_int {
    1
}
