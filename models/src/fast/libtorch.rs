//! The operators of `loops.rs` as libtorch has them, for a GPU; on a CPU they are what those loops are checked against.

use tch::{Device, Kind, TchError, Tensor};

use super::backend::Backend;
use super::weight::{Affine, PcmLayers, Weight};

/// See [`super::Backend::patches`].
pub(super) fn patches(x: &Tensor, px: i64) -> Result<Tensor, TchError> {
    let (batch, bands, side, _) = x.size4()?;
    let grid = side / px;
    x.f_view([batch, bands, grid, px, grid, px])?
        .f_permute([2, 4, 0, 1, 3, 5])?
        .f_reshape([grid * grid * batch, bands * px * px])
}

/// See [`super::Backend::pool`].
pub(super) fn pool(x: &Tensor) -> Result<Tensor, TchError> {
    let bands = x.size()[1];
    let pooled = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
    let pooled = pooled.f_constant_pad_nd([0, 0, 0, 0, 0, whole_rows(bands) - bands])?;
    pixels(&pooled)
}

/// So many bands and more that rows of bfloat16 begin where a GPU's products want them: 16 bytes apart, or a multiple.
pub(super) fn whole_rows(bands: i64) -> i64 {
    bands.unsigned_abs().next_multiple_of(8) as i64
}

/// See [`Backend::normalise`].
pub(super) fn normalise(x: &Tensor) -> Result<Tensor, TchError> {
    let width = x.size2()?.1;
    x.f_layer_norm([width], None::<Tensor>, None::<Tensor>, 1e-6, false)
}

/// See [`Backend::attend`].
pub(super) fn attend(qkv: &Tensor, batch: i64, heads: usize) -> Result<Tensor, TchError> {
    let (rows, width) = qkv.size2()?;
    let (tokens, width, heads) = (rows / batch, width / 3, heads as i64);
    let qkv = qkv.f_view([tokens, batch, 3, heads, width / heads])?;
    let [q, k, v] = [0, 1, 2].map(|n| qkv.f_select(2, n)?.f_permute([1, 2, 0, 3]));
    let (q, k, v) = (&q?, &k?, &v?);
    let mask = None::<Tensor>;
    let mixed = Tensor::f_scaled_dot_product_attention(q, k, v, mask, 0.0, false, 1.0, false)?;
    mixed.f_permute([2, 0, 1, 3])?.f_reshape([rows, width])
}

/// A PCM in which patches see each other, as products of matrices.
///
/// Groups of a few channels make poor products, so some are taken together: a block's matrix holds theirs on its diagonal.
#[derive(Debug, Clone)]
pub(super) struct PcmBlocks {
    grid: i64,
    widen: Blocks,
    narrow: Blocks,
}

/// A grouped convolution, some groups to a block.
#[derive(Debug, Clone)]
struct Blocks {
    kernel: i64,
    /// `[block, y * x * in, out]`.
    weight: Weight,
    /// `[block, 1, out]`.
    bias: Weight,
}

impl PcmBlocks {
    /// Channels of a block.
    const CHANNELS: usize = 16;

    /// See [`super::backend::Pcm::new`].
    pub(super) fn new(layers: &PcmLayers, on: Backend) -> Result<Self, TchError> {
        let (groups, inputs) = (layers.groups, layers.widen.weight.size()[1] as usize);
        let fits = |&each: &usize| groups.is_multiple_of(each) && each * inputs <= Self::CHANNELS;
        let each = (1..=groups).filter(fits).max().unwrap_or(1);
        let blocks = |layer: &Affine| Blocks::new(layer, (groups / each) as i64, each as i64, on);
        Ok(Self {
            grid: layers.grid as i64,
            widen: blocks(&layers.widen)?,
            narrow: blocks(&layers.narrow)?,
        })
    }

    /// See [`super::backend::Pcm::add_to`].
    pub(super) fn add_to(&self, x: &mut Tensor) -> Result<(), TchError> {
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

impl Blocks {
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

    /// `[block, y, x, batch, in] -> [block, y * x * batch, out]`, with zeros about the grid.
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

/// Cutouts of `[batch * y * x, channel]` as libtorch has them, `[batch, channel, y, x]`, the channels last in memory.
fn cutouts(x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    let channels = x.size2()?.1;
    x.f_view([-1, side, side, channels])?
        .f_permute([0, 3, 1, 2])
}

/// The reverse of [`cutouts`].
fn pixels(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_reshape([-1, x.size()[1]])
}

/// Convolutions beside each other as one, which has theirs on its diagonal: a GPU's are made for more channels than these have.
#[derive(Debug, Clone)]
pub(super) struct JointConv {
    /// `[channel, channel, y, x]`, the channels last in memory.
    weight: Weight,
    bias: Weight,
}

impl JointConv {
    /// See [`super::backend::Convs::new`].
    pub(super) fn new(layers: &[Affine], on: Backend) -> Result<Self, TchError> {
        let kernel = |layer: &Affine| layer.weight.size()[3];
        let largest = layers.iter().map(kernel).max().unwrap_or(1);
        let weights = layers.iter().map(|layer| {
            let about = (largest - kernel(layer)) / 2;
            layer.weight.f_constant_pad_nd([about; 4])
        });
        let weights: Vec<Tensor> = weights.collect::<Result<_, _>>()?;
        let channels = weights.iter().map(|weight| weight.size()[0]);
        let shape = [channels.clone().sum(), channels.sum(), largest, largest];
        let joint = Tensor::f_zeros(shape, (Kind::Double, Device::Cpu))?;
        let mut from = 0;
        for weight in &weights {
            let channels = weight.size()[0];
            let rows = joint.f_narrow(0, from, channels)?;
            rows.f_narrow(1, from, channels)?.f_copy_(weight)?;
            from += channels;
        }
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        let channels_last = on.weight(&joint.f_permute([0, 2, 3, 1])?)?;
        Ok(Self {
            weight: Weight(channels_last.f_permute([0, 3, 1, 2])?),
            bias: on.weight(&Tensor::f_cat(&biases, 0)?)?,
        })
    }

    /// See [`super::backend::Convs::forward`].
    pub(super) fn forward(&self, x: &mut Tensor, from: i64, side: i64) -> Result<(), TchError> {
        let (_, channels, kernel, _) = self.weight.size4()?;
        let margin = kernel / 2;
        let x = x.f_narrow(1, from, channels)?;
        let y = cutouts(&x, side)?.f_conv2d(
            &self.weight,
            Some(&self.bias.0),
            [1, 1],
            [margin, margin],
            [1, 1],
            1,
        )?;
        // A ReLU that writes where it is wanted.
        let _ = pixels(&y)?.f_clamp_min_out(&x, 0.0)?;
        Ok(())
    }
}

/// See [`Backend::maximum_3x3`].
pub(super) fn maximum_3x3(x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    pixels(&cutouts(x, side)?.f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)?)
}

/// See [`Backend::mean_2x2`].
pub(super) fn mean_2x2(x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    pixels(&cutouts(x, side)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?)
}
