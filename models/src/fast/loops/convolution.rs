//! Square convolutions of few channels, in place, each followed by a ReLU.
//!
//! libtorch would copy the input, the weights and the output, for a tenth of a millisecond of arithmetic.

use tch::{Kind, TchError, Tensor};

use super::memory::{kind_bytes, multiplied, numbers, whole, whole_steps};
use super::table::{ConvWeights, loops};
use crate::fast::weight::{Affine, Weight};
use crate::instruction_set::InstructionSet;

/// The weights of a square convolution with as many outputs as inputs, with its batch normalisation folded in.
#[derive(Debug, Clone)]
pub(in crate::fast) struct PackedConv {
    set: InstructionSet,
    kernel: usize,
    channels: usize,
    /// `[y, x and step, out, inputs of a step]`, in the numbers that are multiplied. Inputs are padded to whole steps,
    /// outputs to whole vectors, and the steps of a row to whole multiples of the steps that one instruction takes.
    weight: Weight,
    /// float32.
    bias: Weight,
}

impl PackedConv {
    /// Upper bound on the vectors of outputs that the loop can hold.
    const VECTORS_MAX: usize = 4;

    /// Packs the weights for inputs of `kind`.
    pub(in crate::fast) fn new(
        set: InstructionSet,
        Affine { weight, bias }: &Affine,
        kind: Kind,
    ) -> Result<Self, TchError> {
        let (outputs, channels, kernel, _) = weight.size4()?;
        let loops = loops(set, kind);
        let (lanes, step) = (loops.lanes, loops.step as i64);
        let vectors = (outputs as usize).div_ceil(lanes).next_power_of_two();
        let fits = outputs == channels && vectors <= Self::VECTORS_MAX;
        assert!(fits, "invariant: few channels, and as many come out");
        let more_outputs = (vectors * lanes) as i64 - channels;
        let more_inputs = whole_steps(set, channels, kind) - channels;
        let weight = weight.f_constant_pad_nd([0, 0, 0, 0, 0, more_inputs, 0, more_outputs])?;
        let steps = [
            channels + more_outputs,
            (channels + more_inputs) / step,
            step,
            kernel,
            kernel,
        ];
        let weight = weight.f_view(steps)?.f_permute([3, 4, 1, 0, 2])?;
        let weight = weight.f_flatten(1, 2)?;
        let more = whole(weight.size()[1], loops.together) - weight.size()[1];
        let weight = weight.f_constant_pad_nd([0, 0, 0, 0, 0, more])?;
        let bias = bias.f_constant_pad_nd([0, more_outputs])?;
        Ok(Self {
            set,
            kernel: kernel as usize,
            channels: channels as usize,
            weight: Weight(weight.f_to_kind(multiplied(step))?.f_contiguous()?),
            bias: Weight(bias.f_to_kind(Kind::Float)?),
        })
    }

    /// The number of channels that it takes and gives.
    pub(in crate::fast) fn channels(&self) -> i64 {
        self.channels as i64
    }
}

/// Convolves the channels of `x` from `from` on, in place.
///
/// `x` is `[batch * y * x, channel]`, cutouts of `side` by `side` pixels.
pub(in crate::fast) fn convolve(
    conv: &PackedConv,
    x: &mut Tensor,
    from: i64,
    side: i64,
) -> Result<(), TchError> {
    let ((pixels, x_row), kind) = (x.size2()?, x.kind());
    let fits = from + conv.channels() <= x_row && pixels % (side * side) == 0;
    assert!(fits, "invariant: channels and pixels that are there");
    let weights = ConvWeights {
        side: side as usize,
        kernel: conv.kernel,
        channels: conv.channels,
        weight: conv.weight.data_ptr(),
        bias: conv.bias.data_ptr().cast(),
    };
    let loops = loops(conv.set, kind);
    let padded = side as usize + conv.kernel - 1;
    let inputs = conv.channels.next_multiple_of(loops.step);
    // A loop that takes several steps together reads that number of steps beyond the last.
    let mut scratch = vec![0.0_f32; padded * padded * inputs + loops.step * loops.together];
    let batch = (pixels / side / side) as usize;
    let x = numbers(x, kind, pixels * x_row).cast::<u8>();
    // SAFETY: the channels are there, `x` is borrowed mutably, and the scratch holds a cutout with its margin.
    unsafe {
        let x = x.add(from as usize * kind_bytes(kind)).cast();
        let scratch = scratch.as_mut_ptr().cast();
        (loops.convolve)(x, x_row as usize, batch, &weights, scratch);
    }
    Ok(())
}
