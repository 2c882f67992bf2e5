//! The folded network against the plain one, and both against the plain one in float64.
#![allow(clippy::unwrap_used)]

mod accuracy;
mod batches;
mod bfloat16;
mod nan;
mod quantiles;
mod shapes;

use std::path::Path;

use tch::{Device, Kind, TchError, Tensor};

use super::{Backend, FoldedNetwork};
use crate::astromae::AstroMae;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::directory::Directory;
use crate::init;
use crate::inputs::Inputs;
use crate::instruction_set::InstructionSet;
use crate::output::ModelOutput;
use crate::precision::Precision;

/// All backends on this CPU: our loops for each instruction set that it has, and libtorch, which computes on a GPU.
fn backends(kind: Kind) -> Vec<Backend> {
    let sets = InstructionSet::ALL.into_iter();
    let ours = sets.filter(|set| set.is_available()).map(Some);
    let on = |set| Backend {
        set,
        ..Backend::new(Device::Cpu, kind)
    };
    ours.chain([None]).map(on).collect()
}

fn directory(config: &Config) -> Directory {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    Directory::read(dir.path()).unwrap()
}

fn checkpoint(directory: &Directory, config: &Config, kind: Kind) -> Checkpoint {
    let weights = Checkpoint::parse(Path::new("weights"), &directory.weights, config).unwrap();
    let tensors = weights.into_tensors().into_iter();
    Checkpoint::of(
        tensors
            .map(|(name, tensor)| (name, tensor.to_kind(kind)))
            .collect(),
    )
}

fn model(config: &Config, precision: Precision) -> AstroMae {
    let directory = directory(config);
    AstroMae::from_directory(&directory, Backend::new(Device::Cpu, precision.kind())).unwrap()
}

fn preset(name: &str, depth: usize) -> Config {
    let mut config = Config::preset(name).unwrap();
    config.encoder.depth = depth;
    config
}

fn bits(z_phot: &Tensor) -> Vec<u32> {
    let z_phot = Vec::<f32>::try_from(z_phot).unwrap();
    z_phot.into_iter().map(f32::to_bits).collect()
}

impl FoldedNetwork {
    /// Predicts redshifts alone.
    fn forward(&self, inputs: &Inputs) -> Result<Tensor, TchError> {
        Ok(self.outputs(inputs, &[ModelOutput::ZPhot])?.remove(0))
    }
}

fn furthest(a: &Tensor, b: &Tensor) -> f64 {
    let difference = a.to_kind(Kind::Double) - b.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}
