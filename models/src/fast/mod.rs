//! The network folded and packed for fast predictions. It computes the same function as `network.rs`, which its tests
//! compare it with.
//!
//! It is built from the plain weights when a model is loaded. Linear layers that follow each other become one layer, in
//! float64: batch normalisations are folded into their convolutions, scales and shifts of layer normalisations into the
//! next layer, and the last layer of each branch into the head's first layer. On a CPU, weights are packed once,
//! activations are fused into linear layers, and our own loops compute what libtorch computes slowly at these sizes. On a
//! GPU, kernels of our own compute the branches of cutouts in bfloat16, and libtorch everything else.
//!
//! | file | purpose |
//! |---|---|
//! | `network.rs` | the whole network |
//! | `encoder.rs`, `inception.rs`, `magnitude.rs`, `head.rs` | the branches and the head |
//! | `block.rs` | a block of a transformer |
//! | `embedding.rs`, `inception_layers.rs` | layers that are read from a checkpoint |
//! | `astroclip.rs`, `picture.rs` | the network of [`AstroClip`](crate::AstroClip) |
//! | `weight.rs` | folding |
//! | `backend.rs` | device, numbers, instructions |
//! | `dense.rs` | dense layers alone, for [`Head`](crate::Head) |
//! | `linear.rs`, `activation.rs`, `pcm.rs`, `convolution.rs`, `asinh.rs` | layers with weights, on a backend |
//! | `operators.rs` | operators without weights: normalisation, attention, pooling |
//! | `cutouts.rs` | cutouts as the branches take them |
//! | `loops/` | our own loops, in C++ |
//! | `kernels/` | our own kernels for a GPU |
//! | `libtorch/` | the same operators by libtorch |

mod activation;
mod asinh;
mod astroclip;
mod backend;
mod block;
mod convolution;
mod cutouts;
mod dense;
mod embedding;
mod encoder;
mod head;
mod inception;
mod inception_layers;
mod kernels;
mod libtorch;
mod linear;
mod loops;
mod magnitude;
mod network;
mod operators;
mod pcm;
mod picture;
#[cfg(test)]
mod tests;
mod weight;

pub use self::astroclip::AstroClipTaps;
pub(crate) use self::astroclip::FoldedAstroClip;
pub(crate) use self::backend::Backend;
pub(crate) use self::cutouts::Cutouts;
pub(crate) use self::dense::FoldedDense;
pub(crate) use self::libtorch::cpu_capability;
pub(crate) use self::network::FoldedNetwork;
