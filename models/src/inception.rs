//! The Inception network on cutouts.
//!
//! | part | shapes |
//! |---|---|
//! | stem | `[batch, band, y, x] -> [batch, 32, y, x]` |
//! | blocks | `[batch, 32, y, x] -> … -> [batch, 12, y/8, x/8]` |
//! | tail | `[batch, 12, y/8, x/8] -> [batch, 1096]` |
//!
//! AstroMAE takes it from Henghes et al. 2022, "Deep learning methods for obtaining photometric redshift estimations from
//! images" (doi:10.1093/mnras/stac480).

use tch::{TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::layers::{BatchNorm, Conv, Mlp};
use crate::layout::{INCEPTION_BLOCKS, LAST_BLOCK};

/// Convolutions of several sizes side by side, with pooling between them.
#[derive(Debug)]
pub(crate) struct VisInception {
    stem: Conv,
    blocks: Vec<InceptionBlock>,
    tail: Mlp,
}

impl VisInception {
    pub(crate) fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let path = "inception_model.vis_inception";
        let block = |(n, _, _): (usize, usize, usize)| {
            InceptionBlock::new(checkpoint, &format!("{path}.{n}"), n != LAST_BLOCK)
        };
        Ok(Self {
            stem: Conv::same(checkpoint, "inception_model.conv2d_init", 1)?,
            blocks: INCEPTION_BLOCKS
                .into_iter()
                .map(block)
                .collect::<Result<_, _>>()?,
            tail: Mlp::new(checkpoint, path, &[10, 12])?,
        })
    }

    /// `[batch, band, y, x] -> [batch, 1096]`.
    pub(crate) fn forward(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let mut x = self.stem.forward(cutouts)?;
        for (n, block) in self.blocks.iter().enumerate() {
            // The poolings are before the first, third and fifth block (positions 1, 4 and 7 of the sequence).
            if n % 2 == 0 {
                x = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
            }
            x = block.forward(&x)?;
        }
        self.tail.forward(&x.f_flatten(1, -1)?)
    }
}

/// Four branches, concatenated: 1x1; 1x1 and 3x3; 1x1 and 5x5 (not in the last block); maximum and 1x1.
#[derive(Debug)]
struct InceptionBlock {
    branches: Vec<Vec<ConvBlock>>,
    pooled: ConvBlock,
}

impl InceptionBlock {
    fn new(checkpoint: &Checkpoint, path: &str, with_5x5: bool) -> Result<Self, Error> {
        let conv = |name: &str| ConvBlock::new(checkpoint, &format!("{path}.{name}"));
        let mut branches = vec![
            vec![conv("branch1")?],
            vec![conv("branch2.0")?, conv("branch2.1")?],
        ];
        if with_5x5 {
            branches.push(vec![conv("branch3.0")?, conv("branch3.1")?]);
        }
        Ok(Self {
            branches,
            pooled: conv("branch4.1")?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let mut features = Vec::with_capacity(4);
        for branch in &self.branches {
            let first = x.shallow_clone();
            features.push(branch.iter().try_fold(first, |x, conv| conv.forward(&x))?);
        }
        let maximum = x.f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)?;
        features.push(self.pooled.forward(&maximum)?);
        Tensor::f_cat(&features, 1)
    }
}

/// A convolution, its batch normalisation and a ReLU.
#[derive(Debug)]
struct ConvBlock {
    conv: Conv,
    bn: BatchNorm,
}

impl ConvBlock {
    fn new(checkpoint: &Checkpoint, path: &str) -> Result<Self, Error> {
        Ok(Self {
            conv: Conv::same(checkpoint, &format!("{path}.conv"), 1)?,
            bn: BatchNorm::new(checkpoint, &format!("{path}.bn"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        self.bn.forward(&self.conv.forward(x)?)?.f_relu()
    }
}
