//! The operators of `loops` as libtorch computes them: for a GPU, and on a CPU to check the loops against.
//!
//! Shapes are those of [`Backend`](super::Backend).

mod attention;
mod convolution;
mod linear;
mod pcm;
mod pixels;
mod pooling;

pub(super) use self::attention::{attend, normalise};
pub(super) use self::convolution::JointConv;
pub(crate) use self::linear::cpu_capability;
pub(super) use self::linear::linear_activation;
pub(super) use self::pcm::BlockPcm;
pub(super) use self::pooling::{maximum_3x3, mean_2x2, padded_bands, patches, pool};
