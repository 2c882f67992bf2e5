//! Attention for a few tokens.

use tch::{Device, TchError, Tensor};

use super::memory::numbers;
use super::table::{AttentionSizes, loops};
use crate::instruction_set::InstructionSet;

/// `softmax(q k^T) v` for each galaxy and head, with queries that are scaled already.
///
/// `[token * batch, 3 * width] -> [token * batch, width]`. libtorch's attention is made for thousands of tokens; with 17
/// tokens it spends its time on copies.
pub(in crate::fast) fn attend(
    set: InstructionSet,
    qkv: &Tensor,
    batch: i64,
    heads: usize,
) -> Result<Tensor, TchError> {
    let ((rows, width), kind) = (qkv.size2()?, qkv.kind());
    let width = width / 3;
    let mixed = Tensor::f_empty([rows, width], (kind, Device::Cpu))?;
    let sizes = AttentionSizes {
        tokens: (rows / batch) as usize,
        batch: batch as usize,
        heads,
        depth: width as usize / heads,
    };
    let loops = loops(set, kind);
    // Queries, keys, values, scores, weights and the result, each with room to be rounded up.
    let tokens = sizes.tokens + 6 + loops.lanes;
    let depth = sizes.depth + 2 * loops.lanes;
    let mut scratch = vec![0.0; 4 * tokens * depth + 2 * tokens * tokens];
    let (from, to) = (
        numbers(qkv, kind, 3 * rows * width),
        numbers(&mixed, kind, rows * width),
    );
    // SAFETY: the tensors have these sizes, the scratch has room, and nobody else has a handle on the new tensor.
    unsafe { (loops.attend)(from, to, &sizes, scratch.as_mut_ptr()) };
    Ok(mixed)
}
