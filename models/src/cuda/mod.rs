//! CUDA, on machines that have it: its half of libtorch, which is opened at run time, and lanes to compute in.
//!
//! | file | purpose |
//! |---|---|
//! | `gpu.rs` | opens libtorch_cuda, counts GPUs |
//! | `library.rs` | opens libraries |
//! | `shim.rs`, `shim.cpp` | streams, graphs and pinned memory |
//! | `lane.rs` | the network on a stream |

mod gpu;
mod lane;
mod library;
mod shim;
#[cfg(test)]
mod tests;

pub(crate) use self::gpu::{count, device};
pub(crate) use self::lane::Lane;
pub(crate) use self::shim::pinned;
