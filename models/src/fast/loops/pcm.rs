//! The parallel convolution module (PCM) with one group in each lane.
//!
//! libtorch makes thousands of small products of grouped convolutions on 4x4 patches. Groups do not mix, so here each
//! lane of a vector is a group, and all arithmetic is between whole vectors.

use tch::{Device, Kind, TchError, Tensor};

use super::memory::{multiplied, numbers};
use super::table::{PcmWeights, loops};
use crate::fast::weight::{Affine, PcmLayers, Weight};
use crate::instruction_set::InstructionSet;

/// The weights of a parallel convolution module, laid out in lanes of groups.
#[derive(Debug, Clone)]
pub(in crate::fast) struct PackedPcm {
    set: InstructionSet,
    grid: usize,
    kernel: usize,
    groups: usize,
    inputs: usize,
    hidden: usize,
    step: usize,
    widen: GroupedConv,
    narrow: GroupedConv,
}

/// The weights of a grouped convolution.
#[derive(Debug, Clone)]
struct GroupedConv {
    /// `[groups / lanes, out, y, x, step, lanes, inputs of a step]`, padded with groups of zeros to whole vectors.
    weight: Weight,
    /// `[groups / lanes, out, lanes]`, float32.
    bias: Weight,
}

impl PackedPcm {
    /// Packs the weights for inputs of `kind`.
    pub(in crate::fast) fn new(
        set: InstructionSet,
        layers: &PcmLayers,
        kind: Kind,
    ) -> Result<Self, TchError> {
        let (hidden, inputs, kernel, _) = layers.widen.weight.size4()?;
        let (groups, grid) = (layers.groups, layers.grid);
        let step = pcm_step(set, inputs as usize, kind);
        let packed = |layer| GroupedConv::new(set, layer, groups as i64, step as i64);
        Ok(Self {
            set,
            grid,
            kernel: kernel as usize,
            groups,
            inputs: inputs as usize,
            hidden: hidden as usize / groups,
            step,
            widen: packed(&layers.widen)?,
            narrow: packed(&layers.narrow)?,
        })
    }
}

impl GroupedConv {
    fn new(
        set: InstructionSet,
        Affine { weight, bias }: &Affine,
        groups: i64,
        step: i64,
    ) -> Result<Self, TchError> {
        let (out, inputs, kernel, _) = weight.size4()?;
        let lanes = loops(set, Kind::Float).lanes as i64;
        let shape = [groups, out / groups, inputs / step, step, kernel * kernel];
        let grouped = weight.f_reshape(shape)?.f_permute([0, 1, 4, 2, 3])?;
        let bias = bias.f_view([groups, out / groups, 1])?;
        Ok(Self {
            weight: in_lanes(&grouped, lanes, multiplied(step))?,
            bias: in_lanes(&bias, lanes, Kind::Float)?,
        })
    }
}

/// `[groups, …, inputs of a step] -> [groups / lanes, …, lanes, inputs of a step]`, with groups of zeros up to whole
/// vectors.
fn in_lanes(grouped: &Tensor, lanes: i64, kind: Kind) -> Result<Weight, TchError> {
    let mut shape = grouped.size();
    let groups = shape[0];
    let missing = groups.unsigned_abs().next_multiple_of(lanes as u64) as i64 - groups;
    shape[0] = missing;
    let zeros = Tensor::f_zeros(&shape[..], (grouped.kind(), Device::Cpu))?;
    let all = Tensor::f_cat(&[grouped, &zeros], 0)?;
    let step = shape[shape.len() - 1];
    let all = all.f_reshape([(groups + missing) / lanes, lanes, -1, step])?;
    let all = all.f_transpose(1, 2)?.f_to_kind(kind)?;
    Ok(Weight(all.f_contiguous()?))
}

/// The number of channels of a group that lie side by side in a lane: one step if the group has whole steps, else one
/// channel.
fn pcm_step(set: InstructionSet, inputs: usize, kind: Kind) -> usize {
    match loops(set, kind).step {
        step if inputs.is_multiple_of(step) => step,
        _ => 1,
    }
}

/// The order of channels in which each lane is a group of the PCM: `[step, group, channel of the step]`. Each element is
/// the number of a channel in the checkpoint's order, `[group, channel]`.
pub(in crate::fast) fn pcm_channels(
    set: InstructionSet,
    width: usize,
    groups: usize,
    kind: Kind,
) -> Vec<i64> {
    let each = width / groups;
    let step = pcm_step(set, each, kind);
    let channel = |place: usize| {
        let (group, in_step) = (place / step % groups, place % step);
        (group * each + place / step / groups * step + in_step) as i64
    };
    (0..width).map(channel).collect()
}

/// Adds a PCM to its input, `[patch * batch, width]` with channels in the order of [`pcm_channels`].
pub(in crate::fast) fn add_pcm(x: &mut Tensor, pcm: &PackedPcm) -> Result<(), TchError> {
    let ((rows, width), kind) = (x.size2()?, x.kind());
    let patches = pcm.grid * pcm.grid;
    let loops = loops(pcm.set, kind);
    let weights = PcmWeights {
        grid: pcm.grid,
        kernel: pcm.kernel,
        groups: pcm.groups,
        inputs: pcm.inputs,
        hidden: pcm.hidden,
        step: pcm.step,
        widen: pcm.widen.weight.data_ptr(),
        widen_bias: pcm.widen.bias.data_ptr().cast(),
        narrow: pcm.narrow.weight.data_ptr(),
        narrow_bias: pcm.narrow.bias.data_ptr().cast(),
    };
    // The patches of one galaxy with the kernel's margin beside each row: inputs, and hidden channels.
    let padded = pcm.grid * (pcm.grid + pcm.kernel - 1) + pcm.kernel - 1;
    let mut scratch = vec![0.0_f32; padded * (pcm.inputs + pcm.hidden) * loops.lanes];
    assert_eq!(
        width as usize,
        pcm.groups * pcm.inputs,
        "invariant: the width"
    );
    let x = numbers(x, kind, rows * width);
    // SAFETY: the tensor holds these patches and is borrowed mutably. Weights and scratch have the sizes that follow from
    // those of the module.
    unsafe { (loops.add_pcm)(x, rows as usize / patches, &weights, scratch.as_mut_ptr()) };
    Ok(())
}
