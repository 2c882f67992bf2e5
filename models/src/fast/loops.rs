//! The loops of `loops.cpp`, on tensors: what libtorch does badly at these sizes.
//!
//! | | shapes |
//! |---|---|
//! | [`asinh`] | `[batch, y, x]` of one band after the other |
//! | [`normalise`] | `[rows, width]` |
//! | [`attend`] | `[token * batch, 3 * width] -> [token * batch, width]` |
//! | [`add_pcm`] | `[patch * batch, width]`, in place |
//! | [`convolve`] | `[batch * y * x, channel]`, some of the channels, in place |
//! | [`maximum_3x3`], [`mean_2x2`] | `[batch * y * x, channel]` |
//! | [`patches`] | `[batch, band, y, x] -> [patch * batch, band * y * x]` |
//! | [`pool`] | `[batch, band, y, x] -> [batch * y/2 * x/2, band]` |
//! | [`linear`] | `[rows, in] -> [rows, out]` |
//!
//! They are compiled for each [`InstructionSet`]. Numbers in memory are float32 or bfloat16, arithmetic is float32: where a
//! processor multiplies pairs or tiles of bfloat16, so do products of activations and weights, and their sums are float32.

use std::ffi::c_void;

use tch::{Device, Kind, TchError, Tensor};

use super::instruction_set::InstructionSet;
use super::linear::Then;
use super::weight::{Affine, PcmLayers, Weight};

/// The same in `loops.cpp`.
#[repr(C)]
struct Shape {
    tokens: usize,
    batch: usize,
    heads: usize,
    depth: usize,
}

/// The weights of a PCM for some galaxies; the same in `loops.cpp`.
#[repr(C)]
struct PcmWeights {
    grid: usize,
    kernel: usize,
    groups: usize,
    inputs: usize,
    hidden: usize,
    step: usize,
    widen: *const c_void,
    widen_bias: *const f32,
    narrow: *const c_void,
    narrow_bias: *const f32,
}

/// A convolution of few channels; the same in `loops.cpp`.
#[repr(C)]
struct ConvWeights {
    side: usize,
    kernel: usize,
    channels: usize,
    weight: *const c_void,
    bias: *const f32,
}

/// A linear layer; the same in `loops.cpp`.
#[repr(C)]
struct LinearWeights {
    inputs: usize,
    outputs: usize,
    weight: *const c_void,
    bias: *const f32,
}

/// The same in `loops.cpp`, for numbers of one kind.
#[repr(C)]
struct Loops {
    lanes: usize,
    asinh: unsafe extern "C" fn(*const f32, *mut c_void, usize, f32, f32),
    normalise: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize),
    attend: unsafe extern "C" fn(*const c_void, *mut c_void, *const Shape, *mut f32),
    add_pcm: unsafe extern "C" fn(*mut c_void, usize, *const PcmWeights, *mut f32),
    convolve: unsafe extern "C" fn(*mut c_void, usize, usize, *const ConvWeights, *mut c_void),
    maximum_3x3: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize),
    mean_2x2: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize),
    patches: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize, usize),
    pool: unsafe extern "C" fn(*const c_void, *mut c_void, usize, usize, usize),
    step: usize,
    together: usize,
    panel: usize,
    linear: Option<
        unsafe extern "C" fn(
            *const LinearWeights,
            *const c_void,
            usize,
            *const c_void,
            *mut c_void,
            usize,
            usize,
        ),
    >,
}

unsafe extern "C" {
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_amx: [Loops; 2];
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_avx512_bf16: [Loops; 2];
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_avx512: [Loops; 2];
    #[cfg(target_arch = "x86_64")]
    static hubbleflow_loops_avx2: [Loops; 2];
    static hubbleflow_loops_any: [Loops; 2];
}

/// The loops of an instruction set that this processor has, for numbers of `kind`.
fn loops(set: InstructionSet, kind: Kind) -> &'static Loops {
    let of_kind = match kind {
        Kind::BFloat16 => 1,
        _ => 0,
    };
    // SAFETY: constants of loops.cpp.
    let tables = unsafe {
        match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Amx => &hubbleflow_loops_amx,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Bf16 => &hubbleflow_loops_avx512_bf16,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => &hubbleflow_loops_avx512,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => &hubbleflow_loops_avx2,
            _ => &hubbleflow_loops_any,
        }
    };
    &tables[of_kind]
}

/// Where the numbers of a tensor begin.
///
/// # Panics
/// If it is not contiguous on the CPU, of `kind` and `elements` numbers: a loop would read beside them.
fn numbers(tensor: &Tensor, kind: Kind, elements: i64) -> *mut c_void {
    let fits = tensor.kind() == kind
        && tensor.device() == Device::Cpu
        && tensor.is_contiguous()
        && tensor.numel() as i64 == elements;
    assert!(fits, "invariant: {elements} {kind:?} in one run of memory");
    tensor.data_ptr()
}

/// `asinh(x / softening) / scale`, with the reciprocals of both for each band: `[batch, band, y, x]` of float32 to the
/// same of `kind`.
pub(super) fn asinh(
    set: InstructionSet,
    x: &Tensor,
    slope: &[f32],
    factor: &[f32],
    kind: Kind,
) -> Result<Tensor, TchError> {
    let (batch, bands, side, _) = x.size4()?;
    let y = Tensor::f_empty([batch, bands, side, side], (kind, Device::Cpu))?;
    let from = numbers(x, Kind::Float, y.numel() as i64).cast::<f32>();
    let to = numbers(&y, kind, y.numel() as i64).cast::<u8>();
    let (plane, bytes) = ((side * side) as usize, kind_bytes(kind));
    for n in 0..(batch * bands) as usize {
        let band = n % bands as usize;
        // SAFETY: both tensors hold this plane, and nobody else has a handle on the new one.
        unsafe {
            let (from, to) = (from.add(n * plane), to.add(n * plane * bytes));
            (loops(set, kind).asinh)(from, to.cast(), plane, slope[band], factor[band]);
        }
    }
    Ok(y)
}

fn kind_bytes(kind: Kind) -> usize {
    match kind {
        Kind::BFloat16 => 2,
        _ => 4,
    }
}

/// Each row with mean 0 and variance 1; epsilon 1e-6. Scale and shift are folded into what follows.
pub(super) fn normalise(set: InstructionSet, x: &Tensor) -> Result<Tensor, TchError> {
    let ((rows, width), kind) = (x.size2()?, x.kind());
    let y = Tensor::f_empty([rows, width], (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, rows * width),
        numbers(&y, kind, rows * width),
    );
    // SAFETY: both hold so many rows, and nobody else has a handle on the new one.
    unsafe { (loops(set, kind).normalise)(from, to, rows as usize, width as usize) };
    Ok(y)
}

/// `softmax(q k^T) v` for each galaxy and head; the queries are scaled already.
///
/// libtorch's attention is made for thousands of tokens, and spends its time on arranging these 17.
pub(super) fn attend(
    set: InstructionSet,
    qkv: &Tensor,
    batch: i64,
    heads: usize,
) -> Result<Tensor, TchError> {
    let ((rows, width), kind) = (qkv.size2()?, qkv.kind());
    let width = width / 3;
    let mixed = Tensor::f_empty([rows, width], (kind, Device::Cpu))?;
    let shape = Shape {
        tokens: (rows / batch) as usize,
        batch: batch as usize,
        heads,
        depth: width as usize / heads,
    };
    let loops = loops(set, kind);
    // Queries, keys, values, scores, weights and what comes of them, each with room to be rounded up.
    let tokens = shape.tokens + 6 + loops.lanes;
    let depth = shape.depth + 2 * loops.lanes;
    let mut scratch = vec![0.0; 4 * tokens * depth + 2 * tokens * tokens];
    let (from, to) = (
        numbers(qkv, kind, 3 * rows * width),
        numbers(&mixed, kind, rows * width),
    );
    // SAFETY: the tensors have the shape's sizes, the scratch has room, and nobody else has a handle on the new tensor.
    unsafe { (loops.attend)(from, to, &shape, scratch.as_mut_ptr()) };
    Ok(mixed)
}

/// The weights of a parallel convolution module, laid out in lanes of groups.
#[derive(Debug, Clone)]
pub(super) struct PcmLanes {
    set: InstructionSet,
    grid: usize,
    kernel: usize,
    groups: usize,
    inputs: usize,
    hidden: usize,
    step: usize,
    widen: Lanes,
    narrow: Lanes,
}

/// A grouped convolution.
#[derive(Debug, Clone)]
struct Lanes {
    /// `[groups / lanes, out, y, x, step, lanes, inputs of a step]`, and zeros for groups that there are not.
    weight: Weight,
    /// `[groups / lanes, out, lanes]`, float32.
    bias: Weight,
}

impl Lanes {
    fn new(
        set: InstructionSet,
        Affine { weight, bias }: &Affine,
        groups: i64,
        step: i64,
    ) -> Result<Self, TchError> {
        let (out, inputs, kernel, _) = weight.size4()?;
        let lanes = loops(set, Kind::Float).lanes as i64;
        // [groups, …, inputs of a step] -> [groups / lanes, …, lanes, inputs of a step]
        let in_lanes = |grouped: &Tensor, kind: Kind| -> Result<Weight, TchError> {
            let missing = groups.unsigned_abs().next_multiple_of(lanes as u64) as i64 - groups;
            let mut shape = grouped.size();
            shape[0] = missing;
            let none = Tensor::f_zeros(&shape[..], (grouped.kind(), Device::Cpu))?;
            let all = Tensor::f_cat(&[grouped, &none], 0)?;
            let step = shape[shape.len() - 1];
            let all = all.f_reshape([(groups + missing) / lanes, lanes, -1, step])?;
            let all = all.f_transpose(1, 2)?.f_to_kind(kind)?;
            Ok(Weight(all.f_contiguous()?))
        };
        let shape = [groups, out / groups, inputs / step, step, kernel * kernel];
        let grouped = weight.f_reshape(shape)?.f_permute([0, 1, 4, 2, 3])?;
        let bias = bias.f_view([groups, out / groups, 1])?;
        Ok(Self {
            weight: in_lanes(&grouped, multiplied(step))?,
            bias: in_lanes(&bias, Kind::Float)?,
        })
    }
}

/// What is multiplied in steps of so many inputs.
fn multiplied(step: i64) -> Kind {
    match step {
        1 => Kind::Float,
        _ => Kind::BFloat16,
    }
}

/// How many channels of a group are beside each other where a PCM's are in lanes: those that are multiplied in one step, where
/// the group is of whole steps.
fn pcm_step(set: InstructionSet, inputs: usize, kind: Kind) -> usize {
    match loops(set, kind).step {
        step if inputs.is_multiple_of(step) => step,
        _ => 1,
    }
}

/// The order of channels in which a PCM's groups are lanes: `[step, group, channel of the step]`, each the channel's number
/// in `[group, channel]`.
pub(super) fn pcm_channels(
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

impl PcmLanes {
    /// For inputs of `kind`.
    pub(super) fn new(
        set: InstructionSet,
        layers: &PcmLayers,
        kind: Kind,
    ) -> Result<Self, TchError> {
        let (hidden, inputs, kernel, _) = layers.widen.weight.size4()?;
        let (groups, grid) = (layers.groups, layers.grid);
        let step = pcm_step(set, inputs as usize, kind);
        let lanes = |layer| Lanes::new(set, layer, groups as i64, step as i64);
        Ok(Self {
            set,
            grid,
            kernel: kernel as usize,
            groups,
            inputs: inputs as usize,
            hidden: hidden as usize / groups,
            step,
            widen: lanes(&layers.widen)?,
            narrow: lanes(&layers.narrow)?,
        })
    }
}

/// Adds a PCM to its input, whose channels are in the order of [`pcm_channels`].
///
/// Of grouped convolutions on 4x4 patches libtorch makes thousands of small products. Groups do not mix, so here lanes
/// are groups, and all arithmetic is between whole vectors.
pub(super) fn add_pcm(x: &mut Tensor, pcm: &PcmLanes) -> Result<(), TchError> {
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
    // SAFETY: the tensor holds so many patches and is borrowed for this alone; weights and scratch have the sizes that
    // follow from those of the module.
    unsafe { (loops.add_pcm)(x, rows as usize / patches, &weights, scratch.as_mut_ptr()) };
    Ok(())
}

/// A square convolution of few channels to as many, with its batch normalisation, followed by a ReLU.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    set: InstructionSet,
    kernel: usize,
    channels: usize,
    /// `[y, x and step, out, inputs of a step]`, inputs rounded up to whole steps, outputs to whole vectors, and the steps of a
    /// row to as many as are multiplied together, in the numbers that are multiplied.
    weight: Weight,
    /// float32.
    bias: Weight,
}

impl Conv {
    /// The most vectors of outputs that the loop holds.
    const VECTORS_MAX: usize = 4;

    /// For inputs of `kind`.
    pub(super) fn new(
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
        let [no_outputs, no_inputs] = [
            (vectors * lanes) as i64 - channels,
            whole_steps(set, channels, kind) - channels,
        ];
        let weight = weight.f_constant_pad_nd([0, 0, 0, 0, 0, no_inputs, 0, no_outputs])?;
        let steps = [
            channels + no_outputs,
            (channels + no_inputs) / step,
            step,
            kernel,
            kernel,
        ];
        let weight = weight.f_view(steps)?.f_permute([3, 4, 1, 0, 2])?;
        let weight = weight.f_flatten(1, 2)?;
        let more = whole(weight.size()[1], loops.together) - weight.size()[1];
        let weight = weight.f_constant_pad_nd([0, 0, 0, 0, 0, more])?;
        Ok(Self {
            set,
            kernel: kernel as usize,
            channels: channels as usize,
            weight: Weight(weight.f_to_kind(multiplied(step))?.f_contiguous()?),
            bias: Weight(
                bias.f_constant_pad_nd([0, no_outputs])?
                    .f_to_kind(Kind::Float)?,
            ),
        })
    }

    /// How many channels it takes.
    pub(super) fn channels(&self) -> i64 {
        self.channels as i64
    }
}

/// The convolution of the channels of `x` from `from` on, in their place; `x` holds cutouts of `side` by `side` pixels.
///
/// libtorch would arrange its input, its weights and its output, for a tenth of a millisecond of arithmetic.
pub(super) fn convolve(conv: &Conv, x: &mut Tensor, from: i64, side: i64) -> Result<(), TchError> {
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
    // SAFETY: the channels are there, `x` is borrowed for this alone, and the scratch holds a cutout with its margin.
    unsafe {
        let x = x.add(from as usize * kind_bytes(kind)).cast();
        (loops.convolve)(
            x,
            x_row as usize,
            batch,
            &weights,
            scratch.as_mut_ptr().cast(),
        );
    }
    Ok(())
}

/// The maximum over the nine pixels about each, as far as they are there.
pub(super) fn maximum_3x3(set: InstructionSet, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    let ((pixels, channels), kind) = (x.size2()?, x.kind());
    let y = Tensor::f_empty([pixels, channels], (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, pixels * channels),
        numbers(&y, kind, pixels * channels),
    );
    let batch = (pixels / side / side) as usize;
    // SAFETY: both hold so many cutouts, and nobody else has a handle on the new one.
    unsafe { (loops(set, kind).maximum_3x3)(from, to, batch, side as usize, channels as usize) };
    Ok(y)
}

/// The mean of each two by two pixels.
pub(super) fn mean_2x2(set: InstructionSet, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    let ((pixels, channels), kind) = (x.size2()?, x.kind());
    let batch = pixels / side / side;
    let half = side / 2;
    let y = Tensor::f_empty([batch * half * half, channels], (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, pixels * channels),
        numbers(&y, kind, batch * half * half * channels),
    );
    // SAFETY: both hold so many cutouts, and nobody else has a handle on the new one.
    unsafe {
        (loops(set, kind).mean_2x2)(from, to, batch as usize, side as usize, channels as usize)
    };
    Ok(y)
}

/// Cutouts to patches of `px` by `px` pixels.
pub(super) fn patches(set: InstructionSet, x: &Tensor, px: i64) -> Result<Tensor, TchError> {
    let ((batch, bands, side, _), kind) = (x.size4()?, x.kind());
    let grid = side / px;
    let shape = [grid * grid * batch, bands * px * px];
    let y = Tensor::f_empty(shape, (kind, Device::Cpu))?;
    let numbers_of = shape[0] * shape[1];
    assert_eq!(grid * px, side, "invariant: whole patches");
    let (from, to) = (numbers(x, kind, numbers_of), numbers(&y, kind, numbers_of));
    let [batch, bands, side, px] = [batch, bands, side, px].map(|n| n as usize);
    // SAFETY: both hold so many cutouts, and nobody else has a handle on the new one.
    unsafe { (loops(set, kind).patches)(from, to, batch, bands, side, px) };
    Ok(y)
}

/// Cutouts to the means of each two by two pixels, with zeros for bands that there are not: [`whole_steps`] of them.
pub(super) fn pool(set: InstructionSet, x: &Tensor) -> Result<Tensor, TchError> {
    let ((batch, bands, side, _), kind) = (x.size4()?, x.kind());
    let half = side / 2;
    let shape = [batch * half * half, whole_steps(set, bands, kind)];
    let y = Tensor::f_zeros(shape, (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, batch * bands * side * side),
        numbers(&y, kind, shape[0] * shape[1]),
    );
    let [batch, bands, side] = [batch, bands, side].map(|n| n as usize);
    // SAFETY: both hold so many cutouts, and nobody else has a handle on the new one.
    unsafe { (loops(set, kind).pool)(from, to, batch, bands, side) };
    Ok(y)
}

/// The next multiple.
fn whole(n: i64, of: usize) -> i64 {
    n.unsigned_abs().next_multiple_of(of as u64) as i64
}

/// As many inputs of `kind` as are multiplied together for `inputs`.
pub(super) fn whole_steps(set: InstructionSet, inputs: i64, kind: Kind) -> i64 {
    whole(inputs, loops(set, kind).step)
}

/// Whether [`linear`] handles this number of inputs: whole steps, or any number where it copies the last inputs.
pub(super) fn has_linear(set: InstructionSet, inputs: i64, kind: Kind) -> bool {
    let loops = loops(set, kind);
    loops.linear.is_some() && (loops.together > 1 || inputs % loops.step as i64 == 0)
}

/// A linear layer's weights in panels of columns: the outputs that are summed up side by side.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    set: InstructionSet,
    kind: Kind,
    inputs: i64,
    outputs: i64,
    /// `[panel, step, panel's outputs, inputs of a step]`, in one run, steps padded to as many as are multiplied together:
    /// tensors begin where vectors may.
    weight: Weight,
    /// As long as the outputs of all panels, float32.
    bias: Weight,
}

impl Panels {
    /// Of `[out, in]` and `[out]`.
    pub(super) fn new(
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

/// `then(x W^T + b)`.
pub(super) fn linear(layer: &Panels, x: &Tensor, then: Then) -> Result<Tensor, TchError> {
    let mut y = Tensor::f_empty([x.size2()?.0, layer.outputs], (layer.kind, Device::Cpu))?;
    write_linear(layer, x, then, &mut y, 0)?;
    Ok(y)
}

/// The same, written to the columns of `y` from `to` on.
pub(super) fn write_linear(
    layer: &Panels,
    x: &Tensor,
    then: Then,
    y: &mut Tensor,
    to: i64,
) -> Result<(), TchError> {
    multiply(layer, x, None, y, to, then)
}

/// Adds `x W^T + b` to `sum`.
pub(super) fn add_linear(layer: &Panels, x: &Tensor, sum: &mut Tensor) -> Result<(), TchError> {
    multiply(layer, x, Some(sum), sum, 0, Then::Nothing)
}

/// Writes `then(x W^T + b + other)` to the columns of `y` from `to` on; `other` is as wide as `y`, and may be it.
fn multiply(
    layer: &Panels,
    x: &Tensor,
    other: Option<&Tensor>,
    y: &Tensor,
    to: i64,
    then: Then,
) -> Result<(), TchError> {
    // Of one galaxy a view may do where others are copied.
    let x = &x.f_contiguous()?;
    let ((rows, y_row), kind) = (y.size2()?, layer.kind);
    assert!(
        to + layer.outputs <= y_row,
        "invariant: columns that are there"
    );
    let linear = loops(layer.set, kind)
        .linear
        .expect("invariant: asked before");
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
    let other = other.map_or(std::ptr::null_mut::<c_void>(), columns);
    let (y, rows, y_row) = (columns(y), rows as usize, y_row as usize);
    // SAFETY: the tensors hold so many rows and columns, the weights are those of `Panels::new`, and those who call have made
    // `y` or may write to it.
    unsafe { linear(&weights, from, rows, other, y, y_row, then as usize) };
    Ok(())
}
