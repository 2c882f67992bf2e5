//! The network folded and packed for fast predictions. It computes the same function as `network.rs`, which its tests
//! compare it with.
//!
//! It is built from the plain weights when a model is loaded. Linear layers that follow each other become one layer, in
//! float64: batch normalisations are folded into their convolutions, scales and shifts of layer normalisations into the
//! next layer, and the last layer of each branch into the head's first layer. On a CPU, weights are packed once,
//! activations are fused into linear layers, and our own loops compute what libtorch computes slowly at these sizes. On a
//! GPU, libtorch computes everything.
//!
//! | file | purpose |
//! |---|---|
//! | `network.rs` | the whole network |
//! | `encoder.rs`, `inception.rs`, `magnitude.rs`, `head.rs` | the branches and the head |
//! | `weight.rs` | folding |
//! | `backend.rs` | device, numbers, instructions |
//! | `linear.rs`, `activation.rs`, `pcm.rs`, `convolution.rs`, `asinh.rs` | layers with weights, on a backend |
//! | `operators.rs` | operators without weights: normalisation, attention, pooling |
//! | `loops/` | our own loops, in C++ |
//! | `libtorch/` | the same operators by libtorch |

mod activation;
mod asinh;
mod backend;
mod convolution;
mod encoder;
mod head;
mod inception;
mod libtorch;
mod linear;
mod loops;
mod magnitude;
mod network;
mod operators;
mod pcm;
#[cfg(test)]
mod tests;
mod weight;

pub(crate) use self::backend::Backend;
pub(crate) use self::libtorch::cpu_capability;
pub(crate) use self::network::FoldedNetwork;
