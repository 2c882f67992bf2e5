//! The tensors of another program.

use std::collections::BTreeMap;

/// The tensors of a network and the plain numbers among the attributes of its modules, by their names.
#[derive(Debug, Default)]
pub struct ImportedTensors {
    /// Row-major shapes and numbers, by the names of the public checkpoint: `blocks.0.attn.qkv.weight` and so on. All
    /// names may begin with one prefix.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// `blocks.0.attn.num_heads` and so on, with the same prefix.
    pub numbers: BTreeMap<String, f64>,
}

impl ImportedTensors {
    /// Name, shape and numbers of each tensor.
    pub(super) fn arrays(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        let tensors = self.tensors.iter();
        tensors
            .map(|(name, (shape, numbers))| (name.as_str(), shape.as_slice(), numbers.as_slice()))
    }
}
