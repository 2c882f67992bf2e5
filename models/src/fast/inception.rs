//! The Inception network, folded. Channels come last, so that 1x1 convolutions are linear layers.
//!
//! | | shapes |
//! |---|---|
//! | stem | `[batch, band, y, x]`, the mean of 2x2 pixels `-> [batch * y/2 * x/2, 32]` |
//! | a block | `[batch * y * x, in] -> [batch * y * x, out]` |
//! | tail | `[batch, y/8 * x/8 * 12] -> [batch, 1096]` |

use tch::{TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::convolution::FoldedConvs;
use super::linear::FoldedLinear;
use super::weight::Affine;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::layout::{INCEPTION_BLOCKS, LAST_BLOCK};

/// The Inception network up to the ReLU of its tail.
#[derive(Debug, Clone)]
pub(super) struct FoldedInception {
    on: Backend,
    stem: FoldedLinear,
    blocks: Vec<FoldedInceptionBlock>,
    tail: FoldedLinear,
}

/// A block of convolutions side by side.
#[derive(Debug, Clone)]
struct FoldedInceptionBlock {
    on: Backend,
    /// The 1x1 convolutions of the block's input, as one layer.
    first: FoldedLinear,
    /// The 3x3 convolution after the second of them, and the 5x5 convolution after the third, if any.
    second: FoldedConvs,
    pooled: FoldedLinear,
    branches: i64,
    /// Channels of each branch.
    each: i64,
}

impl FoldedInception {
    pub(super) fn new(c: &Checkpoint, cutout_px: usize, on: Backend) -> Result<Self, Error> {
        let vis = "inception_model.vis_inception";
        let mut stem = Affine::read(c, "inception_model.conv2d_init")?;
        let bands = stem.weight.size()[1];
        stem.weight = stem.weight.f_flatten(1, -1)?;
        stem.weight = stem
            .weight
            .f_constant_pad_nd([0, on.padded_bands(bands) - bands])?;
        let mut tail = Affine::read(c, &format!("{vis}.10"))?;
        // The plain network flattens [channel, y, x], this one [y, x, channel].
        let side = (cutout_px / 8) as i64;
        let (out, _) = tail.weight.size2()?;
        let by_channel = tail.weight.f_view([out, -1, side, side])?;
        tail.weight = by_channel.f_permute([0, 2, 3, 1])?.f_reshape([out, -1])?;
        let block = |(at, _, each): (usize, usize, usize)| {
            let path = format!("{vis}.{at}");
            FoldedInceptionBlock::new(c, &path, at != LAST_BLOCK, each as i64, on)
        };
        let blocks = INCEPTION_BLOCKS.into_iter().map(block);
        let blocks = blocks.collect::<Result<_, Error>>()?;
        Ok(Self {
            stem: FoldedLinear::new(&stem, on)?,
            on,
            blocks,
            tail: FoldedLinear::new(&tail, on)?,
        })
    }

    /// `[batch, band, y, x] -> [batch, 1096]`.
    pub(super) fn forward(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let (batch, _, px, _) = cutouts.size4()?;
        let mut side = px / 2;
        // The mean comes first: it commutes with the 1x1 convolution, and leaves a quarter of the pixels.
        let mut x = self
            .stem
            .forward(&self.on.pool(cutouts)?, Activation::Identity)?;
        for (n, block) in self.blocks.iter().enumerate() {
            if n > 0 && n % 2 == 0 {
                x = self.on.mean_2x2(&x, side)?;
                side /= 2;
            }
            x = block.forward(&x, side)?;
        }
        self.tail.forward(&x.f_view([batch, -1])?, Activation::Relu)
    }
}

impl FoldedInceptionBlock {
    fn new(
        c: &Checkpoint,
        path: &str,
        with_5x5: bool,
        each: i64,
        on: Backend,
    ) -> Result<Self, Error> {
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
            on,
            first: FoldedLinear::new(&Affine::side_by_side(&first)?, on)?,
            second: FoldedConvs::new(&second, on)?,
            branches: first.len() as i64 + 1,
            pooled: FoldedLinear::new(&linear("branch4.1")?, on)?,
            each,
        })
    }

    fn forward(&self, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
        let shape = [x.size()[0], self.branches * self.each];
        let mut y = Tensor::f_empty(shape, (x.kind(), x.device()))?;
        self.first.write(x, Activation::Relu, &mut y, 0)?;
        self.second.forward(&mut y, self.each, side)?;
        let pooled = self.on.maximum_3x3(x, side)?;
        let last = shape[1] - self.each;
        self.pooled.write(&pooled, Activation::Relu, &mut y, last)?;
        Ok(y)
    }
}
