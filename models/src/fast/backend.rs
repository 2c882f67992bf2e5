//! Who computes what is not a linear layer: loops of our own on a CPU, libtorch's operators on a GPU.

use tch::{Device, Kind, TchError, Tensor};

use super::instruction_set::InstructionSet;
use super::linear::{Linear, Then};
use super::weight::{Affine, PcmLayers, Weight};
use super::{libtorch, loops};
use crate::preprocess;

/// Where the network computes, and in which numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    /// The instructions of our own loops where they compute; they know the CPU alone.
    pub(super) set: Option<InstructionSet>,
}

impl Backend {
    /// The fastest on this device.
    pub(crate) fn new(device: Device, kind: Kind) -> Self {
        Self::with_instructions(device, kind, InstructionSet::fastest_for(kind))
    }

    /// With the loops for an instruction set that this processor has, where they compute.
    pub(crate) fn with_instructions(device: Device, kind: Kind, set: InstructionSet) -> Self {
        let set = (device == Device::Cpu).then_some(set);
        Self { device, kind, set }
    }

    /// The same in other numbers.
    pub(super) fn with(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// How many galaxies go through the network together.
    pub(crate) fn rows(self) -> i64 {
        crate::device::batch(self.device) as i64
    }

    /// How many of the tokens go through both layers of a perceptron before the next do: with our own loops so few that what is
    /// between the layers stays in a core's second cache.
    pub(super) fn rows_together(self, tokens: i64) -> i64 {
        match (self.set, self.kind) {
            (None, _) => tokens,
            // Tiles read their weights faster than vectors do, and lose more where these are pushed out.
            (Some(InstructionSet::Amx), Kind::BFloat16) => 256,
            (Some(_), Kind::BFloat16) => 512,
            (Some(_), _) => 256,
        }
    }

    /// A tensor where it is used, and in the network's numbers.
    pub(super) fn weight(self, tensor: &Tensor) -> Result<Weight, TchError> {
        let placed = tensor.f_to_device_(self.device, self.kind, false, false)?;
        Ok(Weight(placed.f_contiguous()?))
    }

    /// Patches of `px` by `px` pixels: `[batch, band, y, x] -> [patch * batch, band * px * px]`.
    pub(super) fn patches(self, x: &Tensor, px: i64) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::patches(set, x, px),
            None => libtorch::patches(x, px),
        }
    }

    /// The mean of each two by two pixels: `[batch, band, y, x] -> [batch * y/2 * x/2, band]`, with zeros for as many more
    /// bands as [`Self::pooled`] gives.
    pub(super) fn pool(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::pool(set, x),
            None => libtorch::pool(x),
        }
    }

    /// How many bands are beside each other after [`Self::pool`].
    pub(super) fn pooled(self, bands: i64) -> i64 {
        match self.set {
            Some(set) => loops::whole_steps(set, bands, self.kind),
            None => libtorch::whole_rows(bands),
        }
    }

    /// Each row of `[rows, width]` with mean 0 and variance 1; epsilon 1e-6. Scale and shift are folded into what follows.
    pub(super) fn normalise(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::normalise(set, x),
            None => libtorch::normalise(x),
        }
    }

    /// `softmax(q k^T) v` for each galaxy and head, the queries scaled already:
    /// `[token * batch, 3 * width] -> [token * batch, width]`.
    pub(super) fn attend(self, qkv: &Tensor, batch: i64, heads: usize) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::attend(set, qkv, batch, heads),
            None => libtorch::attend(qkv, batch, heads),
        }
    }

    /// The maximum over the nine pixels about each, as far as they are there: `[batch * y * x, channel]`.
    pub(super) fn maximum_3x3(self, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::maximum_3x3(set, x, side),
            None => libtorch::maximum_3x3(x, side),
        }
    }

    /// The mean of each two by two pixels: `[batch * y * x, channel]`.
    pub(super) fn mean_2x2(self, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::mean_2x2(set, x, side),
            None => libtorch::mean_2x2(x, side),
        }
    }
}

/// The scale of cutouts: see [`preprocess::asinh`].
#[derive(Debug, Clone)]
pub(super) struct Asinh {
    on: Backend,
    /// Slope and factor, `[band, 1, 1]` of float32.
    scales: [Weight; 2],
    /// The same, for our own loop.
    by_band: [Vec<f32>; 2],
}

impl Asinh {
    pub(super) fn new([slope, factor]: [Tensor; 2], on: Backend) -> Result<Self, TchError> {
        let exact = on.with(Kind::Float);
        let by_band = |scales: &Tensor| Vec::<f32>::try_from(scales.f_flatten(0, -1)?);
        Ok(Self {
            on,
            by_band: [by_band(&slope)?, by_band(&factor)?],
            scales: [exact.weight(&slope)?, exact.weight(&factor)?],
        })
    }

    /// `[batch, band, y, x]` of float32, to the same in the network's numbers.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (kind, [slope, factor]) = (self.on.kind, &self.scales);
        if let Some(set) = self.on.set {
            return loops::asinh(set, x, &self.by_band[0], &self.by_band[1], kind);
        }
        preprocess::asinh(x, slope, factor)?.f_to_kind(kind)
    }
}

/// A parallel convolution module.
#[derive(Debug, Clone)]
pub(super) enum Pcm {
    Own(loops::PcmLanes),
    /// Where no patch sees another: layers with zeros between groups, as many products more as cost a GPU nothing.
    Dense {
        widen: Linear,
        narrow: Linear,
    },
    Libtorch(libtorch::PcmBlocks),
}

impl Pcm {
    pub(super) fn new(layers: &PcmLayers, on: Backend) -> Result<Self, TchError> {
        if let Some(set) = on.set {
            return Ok(Self::Own(loops::PcmLanes::new(set, layers, on.kind)?));
        }
        if layers.widen.weight.size()[2] > 1 {
            return Ok(Self::Libtorch(libtorch::PcmBlocks::new(layers, on)?));
        }
        let dense = |layer: &Affine| Linear::new(&layer.dense(layers.groups as i64)?, on);
        Ok(Self::Dense {
            widen: dense(&layers.widen)?,
            narrow: dense(&layers.narrow)?,
        })
    }

    /// Added to its input, `[patch * batch, width]`.
    pub(super) fn add_to(&self, x: &mut Tensor) -> Result<(), TchError> {
        match self {
            Self::Own(pcm) => loops::add_pcm(x, pcm),
            Self::Dense { widen, narrow } => {
                let hidden = widen.forward(x, Then::Nothing)?.f_silu_()?;
                narrow.add_to(x, &hidden)
            }
            Self::Libtorch(pcm) => pcm.add_to(x),
        }
    }
}

/// Square convolutions beside each other, each of few channels to as many, with their batch normalisations and a ReLU.
#[derive(Debug, Clone)]
pub(super) enum Convs {
    Own(Vec<loops::Conv>),
    Libtorch(libtorch::JointConv),
}

impl Convs {
    pub(super) fn new(layers: &[Affine], on: Backend) -> Result<Self, TchError> {
        Ok(match on.set {
            Some(set) => {
                let own = |layer| loops::Conv::new(set, layer, on.kind);
                Self::Own(layers.iter().map(own).collect::<Result<_, _>>()?)
            }
            None => Self::Libtorch(libtorch::JointConv::new(layers, on)?),
        })
    }

    /// Of the channels of `x` from `from` on, in their place; `x` holds cutouts of `side` by `side` pixels.
    pub(super) fn forward(&self, x: &mut Tensor, from: i64, side: i64) -> Result<(), TchError> {
        match self {
            Self::Own(convs) => {
                let mut from = from;
                for conv in convs {
                    loops::convolve(conv, x, from, side)?;
                    from += conv.channels();
                }
                Ok(())
            }
            Self::Libtorch(joint) => joint.forward(x, from, side),
        }
    }
}
