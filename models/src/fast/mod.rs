//! The network folded and laid out to predict fast: the same function as `network.rs`, which it is checked against.
//!
//! Built from the plain weights when a model is loaded. What is linear and follows on each other becomes one layer, in
//! float64: batch normalisations into their convolutions, scales and shifts of layer normalisations into what follows
//! them, and the last layer of each branch into the head's first. On a CPU weights are packed once, what follows a linear
//! layer is fused into it ([`linear`]), and what libtorch does badly at these sizes is done in loops of our own ([`loops`]);
//! on a GPU all is libtorch's ([`backend`]).
//!
//! | file | |
//! |---|---|
//! | `weight.rs` | folding |
//! | `encoder.rs`, `inception.rs` | the branches |
//! | `linear.rs`, `operators.cpp` | linear layers |
//! | `backend.rs` | who computes the rest: normalisation, attention, convolutions of few channels, pooling |
//! | `loops.rs`, `loops.cpp` | our own loops |
//! | `vectors.h`, `functions.h`, `step.h`, `linear.h`, `tiles.h` | parts of `loops.cpp` |
//! | `instruction_set.rs` | which of the loops this processor can run |
//! | `libtorch.rs` | libtorch's operators |

mod backend;
mod encoder;
mod inception;
mod instruction_set;
mod libtorch;
mod linear;
mod loops;
#[cfg(test)]
mod tests;
mod weight;

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use tch::{Kind, TchError, Tensor};

use self::backend::Asinh;
pub(crate) use self::backend::Backend;
use self::encoder::Encoder;
use self::inception::Inception;
pub use self::instruction_set::InstructionSet;
pub(crate) use self::linear::cpu_capability;
use self::linear::{Linear, Then};
use self::weight::{Affine, Weight};
use crate::config::{Branch, Config};
use crate::device::single_threaded;
use crate::layout::{IMAGE_FEATURES, MAG_FEATURES, MAG_LAYERS, head_names};
use crate::preprocess::whiten;
use crate::{Checkpoint, Error, Inputs};

/// AstroMAE for one thread; a clone shares its weights.
#[derive(Debug, Clone)]
pub(crate) struct Fast {
    on: Backend,
    /// The scale of cutouts, where there is one.
    asinh: Option<Asinh>,
    encoder: Option<Encoder>,
    inception: Option<Inception>,
    magnitude: Option<Magnitude>,
    /// The last layer of every branch and the head's first.
    joint: Linear,
    /// In float32: bfloat16 has no more than three digits for a redshift.
    out: Linear,
}

/// The dense network on magnitudes, up to its last ReLU.
#[derive(Debug, Clone)]
struct Magnitude {
    /// Their mean and the matrix that whitens them, where they are.
    whitening: Option<[Weight; 2]>,
    /// In float32: bfloat16 has no more than three digits for a magnitude.
    first: Linear,
    rest: Vec<Linear>,
    kind: Kind,
}

impl Fast {
    /// The network of `config`, from weights in float32 on the CPU.
    pub(crate) fn new(c: &Checkpoint, config: &Config, on: Backend) -> Result<Self, Error> {
        thread::scope(|threads| {
            // Products of the largest matrices: half of the work, which waits for nothing of the rest.
            let weights = c.share();
            let joint = threads.spawn(move || {
                single_threaded();
                joint(&weights, config)
            });
            let _guard = tch::no_grad_guard();
            let has = |branch| config.has(branch).then_some(c);
            let encoder = |c| Encoder::new(c, config, on);
            let inception = |c| Inception::new(c, config.cutout_px, on);
            let magnitude = |c| Magnitude::new(c, config, on);
            let scales = config.preprocess.cutout.tensors()?;
            let out = Affine::read(c, head_names(config).1)?;
            let exact = on.with(Kind::Float);
            Ok(Self {
                on,
                asinh: scales.map(|scales| Asinh::new(scales, on)).transpose()?,
                encoder: has(Branch::Encoder).map(encoder).transpose()?,
                inception: has(Branch::Inception).map(inception).transpose()?,
                magnitude: has(Branch::Magnitude).map(magnitude).transpose()?,
                joint: Linear::new(&joined(joint)?, on)?,
                out: Linear::new(&out, exact)?,
            })
        })
    }

    /// Where it computes.
    pub(crate) fn backend(&self) -> Backend {
        self.on
    }

    /// `[batch]` redshifts, float32, of inputs that were checked.
    pub(crate) fn forward(&self, inputs: &Inputs) -> Result<Tensor, TchError> {
        let (batch, at_most) = (inputs.batch() as i64, self.on.rows());
        let mut z_phot = Vec::new();
        for first in (0..batch).step_by(at_most as usize) {
            let rows = at_most.min(batch - first);
            let part = |x: &Tensor| x.f_narrow(0, first, rows);
            let cutouts = inputs.cutouts.as_ref().map(part).transpose()?;
            let mags = inputs.mags.as_ref().map(part).transpose()?;
            z_phot.push(self.rows(cutouts.as_ref(), mags.as_ref())?);
        }
        Tensor::f_cat(&z_phot, 0)
    }

    /// The same for no more than [`Backend::rows`], on the network's device.
    pub(crate) fn rows(
        &self,
        cutouts: Option<&Tensor>,
        mags: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let cutouts = cutouts.map(|x| self.scaled(x)).transpose()?;
        let mut features = Vec::with_capacity(3);
        if let (Some(encoder), Some(cutouts)) = (&self.encoder, &cutouts) {
            features.push(encoder.forward(cutouts)?);
        }
        if let (Some(inception), Some(cutouts)) = (&self.inception, &cutouts) {
            features.push(inception.forward(cutouts)?);
        }
        if let (Some(magnitude), Some(mags)) = (&self.magnitude, mags) {
            features.push(magnitude.forward(mags)?);
        }
        let joint = self
            .joint
            .forward(&Tensor::f_cat(&features, 1)?, Then::Relu)?;
        let z_phot = self
            .out
            .forward(&joint.f_to_kind(Kind::Float)?, Then::Nothing)?;
        z_phot.f_squeeze_dim(1)
    }

    /// The cutouts as the network sees them.
    fn scaled(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        match &self.asinh {
            None => cutouts.f_to_kind(self.on.kind),
            Some(asinh) => asinh.forward(cutouts),
        }
    }
}

impl Magnitude {
    fn new(c: &Checkpoint, config: &Config, on: Backend) -> Result<Self, Error> {
        let layer = |n: usize| Affine::read(c, &format!("inception_model.magnitude_block.{n}"));
        let (first, rest) = (MAG_LAYERS[0], &MAG_LAYERS[1..MAG_LAYERS.len() - 1]);
        let packed = |&n: &usize| Ok(Linear::new(&layer(n)?, on)?);
        let exact = on.with(Kind::Float);
        let whitening = config.preprocess.mag.tensors()?;
        let whitening = whitening.map(|[mean, matrix]| {
            Ok::<_, TchError>([exact.weight(&mean)?, exact.weight(&matrix)?])
        });
        Ok(Self {
            whitening: whitening.transpose()?,
            first: Linear::new(&layer(first)?, exact)?,
            rest: rest.iter().map(packed).collect::<Result<_, Error>>()?,
            kind: on.kind,
        })
    }

    /// `[batch, band] -> [batch, 1024]`.
    fn forward(&self, mags: &Tensor) -> Result<Tensor, TchError> {
        let mags = match &self.whitening {
            None => mags.shallow_clone(),
            Some([mean, matrix]) => whiten(mags, mean, matrix)?,
        };
        let x = self.first.forward(&mags, Then::Relu)?;
        self.rest
            .iter()
            .try_fold(x.f_to_kind(self.kind)?, |x, layer| {
                layer.forward(&x, Then::Relu)
            })
    }
}

/// What a thread has made; its panic is ours.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The last layer of every branch, and the head's hidden layer where there is one; both are followed by a ReLU.
fn joint(c: &Checkpoint, config: &Config) -> Result<Affine, Error> {
    let _guard = tch::no_grad_guard();
    let last = |branch| match branch {
        Branch::Encoder => Affine::read(c, "vit_block.2"),
        Branch::Inception => Affine::read(c, "inception_model.vis_inception.12"),
        Branch::Magnitude => {
            let last = MAG_LAYERS[MAG_LAYERS.len() - 1];
            Affine::read(c, &format!("inception_model.magnitude_block.{last}"))
        }
    };
    let branches = config.ordered_branches();
    let Some(hidden) = head_names(config).0 else {
        return last(branches[0]);
    };
    let hidden = Affine::read(c, hidden)?;
    let mut weights = Vec::with_capacity(branches.len());
    let (mut bias, mut start) = (hidden.bias, 0);
    for branch in branches {
        let width = match branch {
            Branch::Encoder | Branch::Inception => IMAGE_FEATURES,
            Branch::Magnitude => MAG_FEATURES,
        } as i64;
        let layer = last(branch)?;
        let of_branch = hidden.weight.f_narrow(1, start, width)?;
        weights.push(of_branch.f_matmul(&layer.weight)?);
        bias = bias.f_add(&of_branch.f_mv(&layer.bias)?)?;
        start += width;
    }
    Ok(Affine {
        weight: Tensor::f_cat(&weights, 1)?,
        bias,
    })
}
