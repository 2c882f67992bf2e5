//! The Inception network by kernels: `models/kernels/inception.py`.

use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

use crate::cuda::Kernels;
use crate::fast::backend::Backend;
use crate::fast::cutouts::Image;
use crate::fast::inception_layers::InceptionLayers;
use crate::fast::weight::{Affine, Weight};

/// Cutouts have a side of a multiple of this.
const PX_STEP: usize = 16;

/// From cutouts to the pixels of the last block.
#[derive(Debug, Clone)]
pub(in crate::fast) struct KernelPixels {
    kernels: Arc<Kernels>,
    /// `[band, 32]` and `[32]` of float32.
    stem: [Weight; 2],
    blocks: Vec<KernelBlock>,
}

/// A block of convolutions side by side. Biases are of float32.
#[derive(Debug, Clone)]
struct KernelBlock {
    /// The columns of a pixel's output, and those of a branch.
    channels: i64,
    each: i64,
    /// `[2, in, 4 * each]`: of the pixels and of their maximum, in the columns of their outputs.
    first: Weight,
    first_bias: Weight,
    /// The 3x3 convolution, and the 5x5 convolution or the other again: see [`shifted`].
    second: [[Weight; 2]; 2],
}

impl KernelPixels {
    /// Whether the kernels compute cutouts of this side.
    pub(in crate::fast) fn suit(cutout_px: usize) -> bool {
        cutout_px.is_multiple_of(PX_STEP)
    }

    /// The network of a stem, a convolution of one pixel, and these blocks.
    pub(in crate::fast) fn new(
        stem: &Affine,
        blocks: &[InceptionLayers],
        on: Backend,
        kernels: &Arc<Kernels>,
    ) -> Result<Self, TchError> {
        let exact = on.with_kind(Kind::Float);
        let blocks = blocks.iter().map(|layers| KernelBlock::new(layers, on));
        Ok(Self {
            kernels: Arc::clone(kernels),
            stem: [
                exact.weight(&stem.weight.f_transpose(0, 1)?)?,
                exact.weight(&stem.bias)?,
            ],
            blocks: blocks.collect::<Result<_, _>>()?,
        })
    }

    /// The pixels of the last block, `[batch, px/8 * px/8 * channel]`.
    pub(in crate::fast) fn forward(&self, image: &Image<'_>) -> Result<Tensor, TchError> {
        let (batch, _, px, _) = image.cutouts.flux.size4()?;
        let mut side = px / 2;
        let mut x = self.stem(image, side)?;
        for (n, block) in self.blocks.iter().enumerate() {
            // The mean of 2x2 pixels after the second and the fourth block is part of the block.
            let halves = n % 2 == 1;
            let names = ["first", "second"].map(|part| format!("inception_{part}_{n}"));
            x = self.block(block, names, &x, [batch, side], halves)?;
            side /= if halves { 2 } else { 1 };
        }
        x.f_view([batch, -1])
    }

    /// The scaled cutouts' means of 2x2 pixels, convolved: `[batch * side * side, 32]`.
    fn stem(&self, image: &Image<'_>, side: i64) -> Result<Tensor, TchError> {
        let flux = image.cutouts.flux;
        let (batch, bands, px, _) = flux.size4()?;
        let [weight, bias] = &self.stem;
        let options = (Kind::BFloat16, flux.device());
        let made = Tensor::f_empty([batch * side * side, bias.size()[0]], options)?;
        let dereddening = image.dereddening()?;
        // Without a scale, its arguments are not read.
        let (name, [slope, factor]) = match image.scales() {
            Some(scales) => ("stem_scaled", scales),
            None => ("stem", [&**bias; 2]),
        };
        let tensors = [flux, &dereddening, slope, factor, weight, bias, &made];
        let numbers = [bands, px];
        let kernel = self.kernels.named(name);
        // SAFETY: these are the arguments of `stem`, of the shapes that it names.
        unsafe { kernel.launch([kernel.programs(side * side), batch], &tensors, &numbers)? };
        Ok(made)
    }

    /// A block on pixels of `side` by `side`; with `halves`, the mean of each 2x2 pixels of its output.
    fn block(
        &self,
        block: &KernelBlock,
        names: [String; 2],
        x: &Tensor,
        [batch, side]: [i64; 2],
        halves: bool,
    ) -> Result<Tensor, TchError> {
        let [first, second] = names.map(|name| self.kernels.named(&name));
        let options = (x.kind(), x.device());
        let side_out = if halves { side / 2 } else { side };
        let branches = block.channels / block.each;
        let y = Tensor::f_empty([batch * side_out * side_out, block.channels], options)?;
        let inner = Tensor::f_empty([branches - 2, batch * side * side, block.each], options)?;
        let tensors = [x, &block.first, &block.first_bias, &y, &inner];
        let numbers = [batch, side];
        let by = |step: i64| (side + step - 1) / step;
        let squares = batch * by(2) * by(2);
        // SAFETY: these are the arguments of `inception_first`, of the shapes that it names.
        unsafe { first.launch([first.programs(squares), 1], &tensors, &numbers)? };
        let [[weight_3, bias_3], [weight_5, bias_5]] = &block.second;
        let tensors = [&inner, weight_3, bias_3, weight_5, bias_5, &y];
        let numbers = [batch, side];
        // The 3x3 convolution takes twice as many blocks of pixels a program as the 5x5 convolution, which has larger ones.
        let of_3x3 = second.programs((squares + 1) / 2);
        let of_5x5 = match branches {
            4 => second.programs(batch * by(2) * by(4)),
            _ => 0,
        };
        // SAFETY: these are the arguments of `inception_second`, of the shapes that it names.
        unsafe { second.launch([of_3x3 + of_5x5, 1], &tensors, &numbers)? };
        Ok(y)
    }
}

impl KernelBlock {
    fn new(layers: &InceptionLayers, on: Backend) -> Result<Self, TchError> {
        let InceptionLayers {
            first,
            second,
            pooled,
        } = layers;
        let exact = on.with_kind(Kind::Float);
        let (each, inputs) = pooled.weight.size2()?;
        let of_first = first.weight.size()[0];
        let columns = Tensor::f_zeros([2, inputs, 4 * each], (Kind::Double, Device::Cpu))?;
        let bias = Tensor::f_zeros([4 * each], (Kind::Double, Device::Cpu))?;
        for (n, (from, layer)) in [(0, first), (of_first, pooled)].into_iter().enumerate() {
            let count = layer.weight.size()[0];
            let mut place = columns.f_select(0, n as i64)?.f_narrow(1, from, count)?;
            place.f_copy_(&layer.weight.f_transpose(0, 1)?)?;
            bias.f_narrow(0, from, count)?.f_copy_(&layer.bias)?;
        }
        let conv = |layer: &Affine| {
            let weight = on.weight(&shifted(&layer.weight)?)?;
            Ok::<_, TchError>([weight, exact.weight(&layer.bias)?])
        };
        // A block without a 5x5 convolution does not read its weights.
        let of_5x5 = second.get(1).unwrap_or(&second[0]);
        Ok(Self {
            channels: of_first + each,
            each,
            first: on.weight(&columns)?,
            first_bias: exact.weight(&bias)?,
            second: [conv(&second[0])?, conv(of_5x5)?],
        })
    }
}

/// Lays out a square convolution for products with the pixels of a row that `size - 1` neighbouring outputs need, of which
/// there are `2 (size - 1)`: `[out, in, size, size] -> [size, 2 (size - 1) * in, (size - 1) * out]`.
fn shifted(weight: &Tensor) -> Result<Tensor, TchError> {
    let (out, inputs, size, _) = weight.size4()?;
    let wide = size - 1;
    let by_row = weight.f_permute([2, 3, 1, 0])?;
    let options = (weight.kind(), weight.device());
    let laid_out = Tensor::f_zeros([size, 2 * wide, inputs, wide, out], options)?;
    for output in 0..wide {
        let mut place = laid_out.f_select(3, output)?.f_narrow(1, output, size)?;
        place.f_copy_(&by_row)?;
    }
    laid_out.f_view([size, 2 * wide * inputs, wide * out])
}
