//! CUDA, on machines that have it: its half of libtorch, opened at run time, and lanes to compute in.
//!
//! | file | |
//! |---|---|
//! | `library.rs` | opens libtorch_cuda and the shim |
//! | `shim.rs`, `shim.cpp` | streams, graphs and pinned memory |
//! | `lane.rs` | the network on a stream |

mod lane;
mod library;
mod shim;
#[cfg(test)]
mod tests;

pub(crate) use self::lane::Lane;
pub(crate) use self::library::{count, device};
pub(crate) use self::shim::pinned;
