//! The Inception network, folded. Channels come last, so that 1x1 convolutions are linear layers.
//!
//! | | shapes |
//! |---|---|
//! | stem | `[batch, band, y, x]`, the mean of 2x2 pixels `-> [batch * y/2 * x/2, 32]` |
//! | a block | `[batch * y * x, in] -> [batch * y * x, out]` |
//! | tail | `[batch, y/8 * x/8 * 12] -> [batch, 1096]` |

use std::sync::Arc;

use tch::{TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::convolution::FoldedConvs;
use super::cutouts::Image;
use super::inception_layers::InceptionLayers;
use super::kernels::KernelPixels;
use super::linear::FoldedLinear;
use super::weight::Affine;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::cuda::Kernels;
use crate::error::Error;
use crate::layout::{INCEPTION_BLOCKS, LAST_BLOCK};

/// The Inception network up to the ReLU of its tail.
#[derive(Debug, Clone)]
pub(super) struct FoldedInception {
    pixels: Pixels,
    tail: FoldedLinear,
}

/// From cutouts to the pixels of the last block.
#[derive(Debug, Clone)]
enum Pixels {
    Layers(Layers),
    /// Kernels for a GPU.
    Kernels(KernelPixels),
}

/// The stem and the blocks, an operator after the other.
#[derive(Debug, Clone)]
struct Layers {
    on: Backend,
    stem: FoldedLinear,
    blocks: Vec<FoldedInceptionBlock>,
}

/// A block of convolutions side by side.
#[derive(Debug, Clone)]
struct FoldedInceptionBlock {
    on: Backend,
    first: FoldedLinear,
    second: FoldedConvs,
    pooled: FoldedLinear,
    branches: i64,
    /// Channels of each branch.
    each: i64,
}

impl FoldedInception {
    /// The network of `config`, by `kernels` if there are some and the cutouts suit them.
    pub(super) fn new(
        c: &Checkpoint,
        config: &Config,
        on: Backend,
        kernels: Option<&Arc<Kernels>>,
    ) -> Result<Self, Error> {
        let vis = "inception_model.vis_inception";
        let mut stem = Affine::read(c, "inception_model.conv2d_init")?;
        stem.weight = stem.weight.f_flatten(1, -1)?;
        let mut tail = Affine::read(c, &format!("{vis}.10"))?;
        // The plain network flattens [channel, y, x], this one [y, x, channel].
        let side = (config.cutout_px / 8) as i64;
        let (out, _) = tail.weight.size2()?;
        let by_channel = tail.weight.f_view([out, -1, side, side])?;
        tail.weight = by_channel.f_permute([0, 2, 3, 1])?.f_reshape([out, -1])?;
        let block = |(at, _, _): (usize, usize, usize)| {
            InceptionLayers::read(c, &format!("{vis}.{at}"), at != LAST_BLOCK)
        };
        let blocks = INCEPTION_BLOCKS.into_iter().map(block);
        let blocks: Vec<_> = blocks.collect::<Result<_, Error>>()?;
        let kernels = kernels.filter(|_| KernelPixels::suit(config.cutout_px));
        Ok(Self {
            pixels: match kernels {
                Some(kernels) => Pixels::Kernels(KernelPixels::new(&stem, &blocks, on, kernels)?),
                None => Pixels::Layers(Layers::new(stem, &blocks, on)?),
            },
            tail: FoldedLinear::new(&tail, on)?,
        })
    }

    /// Whether it takes cutouts that are scaled.
    pub(super) fn takes_scaled(&self) -> bool {
        matches!(self.pixels, Pixels::Layers(_))
    }

    /// The features for the head: `[batch, 1096]`.
    pub(super) fn forward(&self, image: &Image<'_>) -> Result<Tensor, TchError> {
        let pixels = match &self.pixels {
            Pixels::Layers(layers) => layers.forward(image.scaled())?,
            Pixels::Kernels(kernels) => kernels.forward(image)?,
        };
        self.tail.forward(&pixels, Activation::Relu)
    }
}

impl Layers {
    fn new(mut stem: Affine, blocks: &[InceptionLayers], on: Backend) -> Result<Self, TchError> {
        let bands = stem.weight.size()[1];
        let padding = [0, on.padded_bands(bands) - bands];
        stem.weight = stem.weight.f_constant_pad_nd(padding)?;
        let blocks = blocks
            .iter()
            .map(|layers| FoldedInceptionBlock::new(layers, on));
        Ok(Self {
            on,
            stem: FoldedLinear::new(&stem, on)?,
            blocks: blocks.collect::<Result<_, _>>()?,
        })
    }

    /// `[batch, band, y, x] -> [batch, y/8 * x/8 * 12]`.
    fn forward(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
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
        x.f_view([batch, -1])
    }
}

impl FoldedInceptionBlock {
    fn new(layers: &InceptionLayers, on: Backend) -> Result<Self, TchError> {
        Ok(Self {
            on,
            first: FoldedLinear::new(&layers.first, on)?,
            second: FoldedConvs::new(&layers.second, on)?,
            branches: layers.second.len() as i64 + 2,
            pooled: FoldedLinear::new(&layers.pooled, on)?,
            each: layers.pooled.bias.size()[0],
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
