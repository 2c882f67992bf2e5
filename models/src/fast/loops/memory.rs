//! Where the numbers of a tensor lie, and the sizes that the loops round up to.

use std::ffi::c_void;

use tch::{Device, Kind, Tensor};

use super::table::loops;
use crate::instruction_set::InstructionSet;

/// The address of the first number of a tensor.
///
/// # Panics
/// If the tensor is not a contiguous one on the CPU, of `elements` numbers of `kind`: a loop would access memory beyond
/// it.
pub(super) fn numbers(tensor: &Tensor, kind: Kind, elements: i64) -> *mut c_void {
    let fits = tensor.kind() == kind
        && tensor.device() == Device::Cpu
        && tensor.is_contiguous()
        && tensor.numel() as i64 == elements;
    assert!(fits, "invariant: {elements} {kind:?} in one run of memory");
    tensor.data_ptr()
}

/// The size of a number of `kind` in bytes.
pub(super) fn kind_bytes(kind: Kind) -> usize {
    match kind {
        Kind::BFloat16 => 2,
        _ => 4,
    }
}

/// The kind of weights that are multiplied in steps of `step` inputs.
pub(super) fn multiplied(step: i64) -> Kind {
    match step {
        1 => Kind::Float,
        _ => Kind::BFloat16,
    }
}

/// Rounds `n` up to a multiple of `of`.
pub(super) fn whole(n: i64, of: usize) -> i64 {
    n.unsigned_abs().next_multiple_of(of as u64) as i64
}

/// Rounds a number of inputs of `kind` up to whole steps.
pub(in crate::fast) fn whole_steps(set: InstructionSet, inputs: i64, kind: Kind) -> i64 {
    whole(inputs, loops(set, kind).step)
}
