//! The branches of a network by kernels of our own for GPUs, in bfloat16: sums that libtorch keeps in memory between its
//! operators stay in a core here. The kernels are in `models/kernels`.

mod encoder;
mod inception;

pub(super) use self::encoder::KernelTokens;
pub(super) use self::inception::KernelPixels;
