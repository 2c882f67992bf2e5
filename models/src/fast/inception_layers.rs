//! The layers of a block of the Inception network.

use super::weight::Affine;
use crate::checkpoint::Checkpoint;
use crate::error::Error;

/// The layers of a block, with their batch normalisations folded in.
#[derive(Debug)]
pub(super) struct InceptionLayers {
    /// The 1x1 convolutions of the block's input, as one layer.
    pub(super) first: Affine,
    /// The 3x3 convolution after the second of them, and the 5x5 convolution after the third, if any.
    pub(super) second: Vec<Affine>,
    /// The 1x1 convolution of the maximum.
    pub(super) pooled: Affine,
}

impl InceptionLayers {
    /// Reads the block at `path`.
    pub(super) fn read(c: &Checkpoint, path: &str, with_5x5: bool) -> Result<Self, Error> {
        let folded = |name: &str| -> Result<Affine, Error> {
            let path = format!("{path}.{name}");
            Affine::read(c, &format!("{path}.conv"))?.then_batch_norm(c, &format!("{path}.bn"))
        };
        let linear = |name: &str| -> Result<Affine, Error> {
            let mut layer = folded(name)?;
            layer.weight = layer.weight.f_flatten(1, -1)?;
            Ok(layer)
        };
        let mut first = vec![linear("branch1")?, linear("branch2.0")?];
        let mut second = vec![folded("branch2.1")?];
        if with_5x5 {
            first.push(linear("branch3.0")?);
            second.push(folded("branch3.1")?);
        }
        let first: Vec<&Affine> = first.iter().collect();
        Ok(Self {
            first: Affine::side_by_side(&first)?,
            second,
            pooled: linear("branch4.1")?,
        })
    }
}
