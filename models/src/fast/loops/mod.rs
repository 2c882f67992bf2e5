//! Our own loops on tensors, for operators that libtorch computes slowly at these sizes. `loops.cpp` has the arithmetic.
//!
//! | file | function | shapes |
//! |---|---|---|
//! | `asinh` | [`asinh`] | `[batch, band, y, x]` |
//! | `quantiles` | [`quantiles`] | `[batch, level]` |
//! | `normalise` | [`normalise`] | `[rows, width]` |
//! | `attention` | [`attend`] | `[token * batch, 3 * width] -> [token * batch, width]` |
//! | `pcm` | [`add_pcm`] | `[patch * batch, width]`, in place |
//! | `convolution` | [`convolve`] | `[batch * y * x, channel]`, some of the channels, in place |
//! | `pooling` | [`maximum_3x3`], [`mean_2x2`] | `[batch * y * x, channel]` |
//! | `pooling` | [`patches`] | `[batch, band, y, x] -> [patch * batch, band * y * x]` |
//! | `pooling` | [`pool`] | `[batch, band, y, x] -> [batch * y/2 * x/2, band]` |
//! | `linear` | [`linear`] | `[rows, in] -> [rows, out]` |
//!
//! Each operator has a `.rs` and a `.h` of one name. `table.rs` and `table.h` declare what the two languages share,
//! `memory.rs` checks the tensors. The other headers are parts of `loops.cpp`: vectors, functions of vectors, steps of a
//! sum, and tiles (AMX).
//!
//! `loops.cpp` is compiled for each [`InstructionSet`](crate::instruction_set::InstructionSet). Numbers in memory are
//! float32 or bfloat16, arithmetic is float32. A processor that multiplies pairs or tiles of bfloat16 does so in products
//! of activations and weights, and sums them in float32.

mod asinh;
mod attention;
mod convolution;
mod linear;
mod memory;
mod normalise;
mod pcm;
mod pooling;
mod quantiles;
mod table;

pub(super) use self::asinh::asinh;
pub(super) use self::attention::attend;
pub(super) use self::convolution::{PackedConv, convolve};
pub(super) use self::linear::{PackedLinear, add_linear, has_linear, linear, write_linear};
pub(super) use self::memory::whole_steps;
pub(super) use self::normalise::normalise;
pub(super) use self::pcm::{PackedPcm, add_pcm, pcm_channels};
pub(super) use self::pooling::{maximum_3x3, mean_2x2, patches, pool};
pub(super) use self::quantiles::quantiles;
