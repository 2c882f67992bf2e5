//! Linear layers with weights that are packed once.

use std::ffi::c_void;
use std::ptr;

use tch::{Device, Kind, TchError, Tensor};

use super::memory::{kind_bytes, numbers, whole};
use super::table::{LinearWeights, loops};
use crate::fast::activation::Activation;
use crate::fast::weight::Weight;
use crate::instruction_set::InstructionSet;

/// Whether [`linear`] handles this number of inputs: whole steps, or any number if the loop pads the last inputs.
pub(in crate::fast) fn has_linear(set: InstructionSet, inputs: i64, kind: Kind) -> bool {
    let loops = loops(set, kind);
    loops.linear.is_some() && (loops.together > 1 || inputs % loops.step as i64 == 0)
}

/// The weights of a linear layer in panels: the outputs that are summed side by side.
#[derive(Debug, Clone)]
pub(in crate::fast) struct PackedLinear {
    set: InstructionSet,
    kind: Kind,
    inputs: i64,
    outputs: i64,
    /// `[panel, step, outputs of the panel, inputs of a step]`, contiguous and aligned for vectors. Steps are padded to
    /// whole multiples of the steps that one instruction takes.
    weight: Weight,
    /// The biases of all panels, float32.
    bias: Weight,
}

impl PackedLinear {
    /// Packs a weight, `[out, in]`, and a bias, `[out]`.
    pub(in crate::fast) fn new(
        set: InstructionSet,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Self, TchError> {
        let ((outputs, inputs), kind) = (weight.size2()?, weight.kind());
        let loops = loops(set, kind);
        let (lanes, step) = (loops.lanes as i64, loops.step as i64);
        let padding = whole(outputs, loops.lanes) - outputs;
        let more = whole(inputs, loops.step * loops.together) - inputs;
        let padded = weight.f_constant_pad_nd([0, more, 0, padding])?;
        let panels = padded.f_split(loops.panel as i64 * lanes, 0)?;
        let runs = panels.iter().map(|panel| {
            let steps = panel.f_view([-1, (inputs + more) / step, step])?;
            steps.f_transpose(0, 1)?.f_flatten(0, -1)
        });
        let runs: Vec<Tensor> = runs.collect::<Result<_, TchError>>()?;
        let bias = bias.f_constant_pad_nd([0, padding])?;
        Ok(Self {
            set,
            kind,
            inputs,
            outputs,
            weight: Weight(Tensor::f_cat(&runs, 0)?),
            bias: Weight(bias.f_to_kind(Kind::Float)?),
        })
    }
}

/// `activation(x W^T + b)`: `[rows, in] -> [rows, out]`.
pub(in crate::fast) fn linear(
    layer: &PackedLinear,
    x: &Tensor,
    activation: Activation,
) -> Result<Tensor, TchError> {
    let mut y = Tensor::f_empty([x.size2()?.0, layer.outputs], (layer.kind, Device::Cpu))?;
    write_linear(layer, x, activation, &mut y, 0)?;
    Ok(y)
}

/// Writes `activation(x W^T + b)` to the columns of `y` from `to` on.
pub(in crate::fast) fn write_linear(
    layer: &PackedLinear,
    x: &Tensor,
    activation: Activation,
    y: &mut Tensor,
    to: i64,
) -> Result<(), TchError> {
    multiply(layer, x, None, y, to, activation)
}

/// Adds `x W^T + b` to `sum`.
pub(in crate::fast) fn add_linear(
    layer: &PackedLinear,
    x: &Tensor,
    sum: &mut Tensor,
) -> Result<(), TchError> {
    multiply(layer, x, Some(sum), sum, 0, Activation::Identity)
}

/// Writes `activation(x W^T + b + other)` to the columns of `y` from `to` on. `other` has the shape of `y`, and may be
/// `y` itself.
fn multiply(
    layer: &PackedLinear,
    x: &Tensor,
    other: Option<&Tensor>,
    y: &Tensor,
    to: i64,
    activation: Activation,
) -> Result<(), TchError> {
    // For a batch of one galaxy, libtorch gives a view where it copies otherwise.
    let x = &x.f_contiguous()?;
    let ((rows, y_row), kind) = (y.size2()?, layer.kind);
    assert!(
        to + layer.outputs <= y_row,
        "invariant: columns that are there"
    );
    let linear = loops(layer.set, kind)
        .linear
        .expect("invariant: has_linear said yes");
    let columns = |tensor: &Tensor| {
        let start = numbers(tensor, kind, rows * y_row).cast::<u8>();
        start.wrapping_add(to as usize * kind_bytes(kind)).cast()
    };
    let weights = LinearWeights {
        inputs: layer.inputs as usize,
        outputs: layer.outputs as usize,
        weight: layer.weight.data_ptr(),
        bias: layer.bias.data_ptr().cast(),
    };
    let from = numbers(x, kind, rows * layer.inputs);
    let other = other.map_or(ptr::null_mut::<c_void>(), columns);
    let (y, rows, y_row) = (columns(y), rows as usize, y_row as usize);
    // SAFETY: the tensors hold these rows and columns, the weights are those of `PackedLinear::new`, and the callers have
    // made `y` or borrow it mutably.
    unsafe { linear(&weights, from, rows, other, y, y_row, activation as usize) };
    Ok(())
}
