//! How many galaxies and how many threads suit a device, and how a thread begins and ends.

use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

use tch::Device;

/// The default number of galaxies in a batch.
///
/// On a CPU, enough to keep a core's multipliers busy and few enough for its caches. On a GPU, enough to keep all of it
/// busy.
///
/// ```
/// assert_eq!(hubbleflow_models::device::batch(tch::Device::Cpu), 128);
/// ```
pub fn batch(device: Device) -> usize {
    match device {
        Device::Cpu => 128,
        _ => 1024,
    }
}

/// The default number of threads that run a model, in a process with this number of cores.
///
/// On a CPU, one for each core. A GPU needs three: it computes the batch of one thread while the next batch is on its way
/// to the GPU, and the third thread fills another.
///
/// ```
/// use hubbleflow_models::device::threads;
/// assert_eq!((threads(tch::Device::Cpu, 8), threads(tch::Device::Cuda(0), 8)), (8, 3));
/// ```
pub fn threads(device: Device, cores: usize) -> usize {
    match device {
        Device::Cpu => cores.max(1),
        _ => 3,
    }
}

/// Makes libtorch compute with one thread.
///
/// Every thread that runs a model must call this. One network a core is faster than one network on several cores, and
/// sums are then always taken in the same order.
pub fn single_threaded() {
    tch::set_num_threads(1);
}

/// Waits for the result of a thread, and passes on its panic.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
