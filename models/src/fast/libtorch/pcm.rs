//! The parallel convolution module (PCM) with kernels above one pixel, as products of matrices.

use tch::{TchError, Tensor};

use crate::fast::backend::Backend;
use crate::fast::weight::{Affine, PcmLayers, Weight};

/// A PCM whose groups are joined into blocks: products of a few channels are slow, so the matrix of a block holds those
/// of several groups on its diagonal.
#[derive(Debug, Clone)]
pub(in crate::fast) struct BlockPcm {
    grid: i64,
    widen: BlockConv,
    narrow: BlockConv,
}

/// A grouped convolution, several groups a block.
#[derive(Debug, Clone)]
struct BlockConv {
    kernel: i64,
    /// `[block, y * x * in, out]`.
    weight: Weight,
    /// `[block, 1, out]`.
    bias: Weight,
}

impl BlockPcm {
    /// Upper bound on the input channels of a block.
    const CHANNELS_MAX: usize = 16;

    /// Joins as many groups into a block as fit.
    pub(in crate::fast) fn new(layers: &PcmLayers, on: Backend) -> Result<Self, TchError> {
        let (groups, inputs) = (layers.groups, layers.widen.weight.size()[1] as usize);
        let fits =
            |&each: &usize| groups.is_multiple_of(each) && each * inputs <= Self::CHANNELS_MAX;
        let each = (1..=groups).filter(fits).max().unwrap_or(1);
        let joined =
            |layer: &Affine| BlockConv::new(layer, (groups / each) as i64, each as i64, on);
        Ok(Self {
            grid: layers.grid as i64,
            widen: joined(&layers.widen)?,
            narrow: joined(&layers.narrow)?,
        })
    }

    /// Adds the module to its input, `[patch * batch, width]`.
    pub(in crate::fast) fn add_to(&self, x: &mut Tensor) -> Result<(), TchError> {
        let (rows, width) = x.size2()?;
        let (grid, blocks) = (self.grid, self.widen.weight.size()[0]);
        let batch = rows / grid / grid;
        let mut x = x.f_view([grid, grid, batch, blocks, width / blocks])?;
        let hidden = self
            .widen
            .forward(&x.f_permute([3, 0, 1, 2, 4])?)?
            .f_silu_()?;
        let hidden = hidden.f_view([blocks, grid, grid, batch, -1])?;
        let added = self.narrow.forward(&hidden)?;
        let added = added.f_view([blocks, grid, grid, batch, width / blocks])?;
        let _ = x.f_add_(&added.f_permute([1, 2, 3, 0, 4])?)?;
        Ok(())
    }
}

impl BlockConv {
    fn new(layer: &Affine, blocks: i64, each: i64, on: Backend) -> Result<Self, TchError> {
        let Affine { weight, bias } = layer;
        let (out, inputs, kernel, _) = weight.size4()?;
        let out = out / blocks / each;
        // [block, group, out, in, y, x] -> [block, group, y, x, in, out]
        let grouped = weight.f_view([blocks, each, out, inputs, kernel, kernel])?;
        let grouped = grouped.f_permute([0, 1, 4, 5, 3, 2])?;
        let diagonal = Tensor::f_zeros(
            [blocks, kernel, kernel, each, inputs, each, out],
            (weight.kind(), weight.device()),
        )?;
        for group in 0..each {
            let mut place = diagonal.f_select(5, group)?.f_select(3, group)?;
            place.f_copy_(&grouped.f_select(1, group)?)?;
        }
        Ok(Self {
            kernel,
            weight: on.weight(&diagonal.f_view([blocks, -1, each * out])?)?,
            bias: on.weight(&bias.f_view([blocks, 1, each * out])?)?,
        })
    }

    /// `[block, y, x, batch, in] -> [block, y * x * batch, out]`, with zeros around the grid.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let margin = self.kernel / 2;
        let padded = x.f_constant_pad_nd([0, 0, 0, 0, margin, margin, margin, margin])?;
        let windows = padded
            .f_unfold(1, self.kernel, 1)?
            .f_unfold(2, self.kernel, 1)?
            .f_permute([0, 1, 2, 3, 5, 6, 4])?;
        let (blocks, taps) = (self.weight.size()[0], self.weight.size()[1]);
        let windows = windows.f_reshape([blocks, -1, taps])?;
        self.bias.f_baddbmm(&windows, &self.weight, 1.0, 1.0)
    }
}
