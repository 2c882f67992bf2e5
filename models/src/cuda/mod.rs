//! CUDA, on machines that have it: its half of libtorch, which is opened at run time, streams, and kernels.
//!
//! | file | purpose |
//! |---|---|
//! | `gpu.rs` | opens libtorch_cuda, counts GPUs |
//! | `library.rs` | opens libraries |
//! | `shim.rs`, `shim.cpp` | streams, graphs and pinned memory |
//! | `kernels.rs`, `compiled.rs` | kernels of our own |

mod compiled;
mod gpu;
mod kernels;
mod library;
mod shim;
#[cfg(test)]
mod tests;

pub(crate) use self::gpu::{count, device};
pub(crate) use self::kernels::Kernels;
pub(crate) use self::shim::{Entered, Stream, pinned, wait};
