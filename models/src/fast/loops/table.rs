//! The tables of loops that `loops.cpp` exports, one for each instruction set. `table.h` declares the same structs in C++.

use std::ffi::c_void;

use tch::Kind;

use crate::instruction_set::InstructionSet;

/// The sizes of an attention: `HubbleflowAttention` in `table.h`.
#[repr(C)]
pub(super) struct AttentionSizes {
    pub(super) tokens: usize,
    pub(super) batch: usize,
    pub(super) heads: usize,
    /// Channels of a head.
    pub(super) depth: usize,
}

/// The weights of a parallel convolution module: `HubbleflowPcm` in `table.h`.
#[repr(C)]
pub(super) struct PcmWeights {
    pub(super) grid: usize,
    pub(super) kernel: usize,
    pub(super) groups: usize,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    pub(super) step: usize,
    pub(super) widen: *const c_void,
    pub(super) widen_bias: *const f32,
    pub(super) narrow: *const c_void,
    pub(super) narrow_bias: *const f32,
}

/// The weights of a convolution of few channels: `HubbleflowConv` in `table.h`.
#[repr(C)]
pub(super) struct ConvWeights {
    pub(super) side: usize,
    pub(super) kernel: usize,
    pub(super) channels: usize,
    pub(super) weight: *const c_void,
    pub(super) bias: *const f32,
}

/// The weights of a linear layer: `HubbleflowLinear` in `table.h`.
#[repr(C)]
pub(super) struct LinearWeights {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) weight: *const c_void,
    pub(super) bias: *const f32,
}

/// The loops for one kind of numbers in memory: `HubbleflowLoops` in `table.h`.
#[repr(C)]
pub(super) struct Loops {
    pub(super) lanes: usize,
    pub(super) asinh: unsafe extern "C" fn(*const f32, *mut c_void, usize, f32, f32),
    pub(super) quantiles: unsafe extern "C" fn(*const f32, *mut f32, usize, usize),
    pub(super) normalise: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize),
    pub(super) attend:
        unsafe extern "C" fn(*const c_void, *mut c_void, *const AttentionSizes, *mut f32),
    pub(super) add_pcm: unsafe extern "C" fn(*mut c_void, usize, *const PcmWeights, *mut f32),
    pub(super) convolve:
        unsafe extern "C" fn(*mut c_void, usize, usize, *const ConvWeights, *mut c_void),
    pub(super) maximum_3x3: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize),
    pub(super) mean_2x2: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize),
    pub(super) patches:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize, usize),
    pub(super) pool: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize),
    pub(super) step: usize,
    pub(super) together: usize,
    pub(super) panel: usize,
    pub(super) linear: Option<LinearLoop>,
}

/// Arguments: weights, x, rows, other, y, numbers from one row of y to the next, activation.
type LinearLoop = unsafe extern "C" fn(
    *const LinearWeights,
    *const c_void,
    usize,
    *const c_void,
    *mut c_void,
    usize,
    usize,
);

unsafe extern "C" {
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_amx: [Loops; 2];
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_avx512_bf16: [Loops; 2];
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_avx512: [Loops; 2];
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_avx2: [Loops; 2];
    static hubbleflow_loops_any: [Loops; 2];
}

/// The loops of an instruction set that this processor has, for numbers of `kind` in memory.
pub(super) fn loops(set: InstructionSet, kind: Kind) -> &'static Loops {
    let of_kind = match kind {
        Kind::BFloat16 => 1,
        _ => 0,
    };
    // SAFETY: constants of loops.cpp.
    let tables = unsafe {
        match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Amx => &hubbleflow_loops_amx,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Bf16 => &hubbleflow_loops_avx512_bf16,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => &hubbleflow_loops_avx512,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => &hubbleflow_loops_avx2,
            _ => &hubbleflow_loops_any,
        }
    };
    &tables[of_kind]
}
