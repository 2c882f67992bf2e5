//! AstroMAE: a vision transformer that is pretrained as a masked autoencoder, an Inception network and a dense network on
//! magnitudes. Together they feed a small head.
//!
//! A. Dolatpour Fathkouhi and G. C. Fox 2024, "AstroMAE: Redshift Prediction Using a Masked Autoencoder with a Novel
//! Fine-Tuning Architecture", [arXiv:2409.01825]. The parallel convolution module (PCM) is that of ViTAE, Xu et al. 2021,
//! [arXiv:2106.03348].
//!
//! This file implements [`Model`]. `network.rs` has the branches and the head, `encoder.rs` the transformer, `fast/` the
//! same network for predictions.
//!
//! [arXiv:2409.01825]: https://arxiv.org/abs/2409.01825
//! [arXiv:2106.03348]: https://arxiv.org/abs/2106.03348

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{Branch, Config};
use crate::cuda;
use crate::directory::Directory;
use crate::error::Error;
use crate::fast::{Backend, FoldedNetwork};
use crate::inputs::Inputs;
use crate::lane::Lane;
use crate::model::{self, Model};
use crate::needs::Needs;
use crate::network::{Network, Taps};
use crate::output::{ModelOutput, check_wanted, of_no_galaxies};
use crate::precision::Precision;

/// AstroMAE with its weights on a device.
#[derive(Debug)]
pub struct AstroMae {
    id: String,
    config: Config,
    needs: Needs,
    outputs: Vec<ModelOutput>,
    /// The weights as they were read, for [`AstroMae::taps`].
    weights: Checkpoint,
    device: Device,
    kind: Kind,
    folded: FoldedNetwork,
    /// The folded network on a stream of a GPU.
    lane: Option<Lane>,
}

impl AstroMae {
    /// Builds the network of `config` from the `checkpoint` that was read for it.
    ///
    /// # Errors
    /// [`Error::Torch`] if the weights do not fit into the memory of `device`.
    pub fn new(
        id: &str,
        config: &Config,
        checkpoint: Checkpoint,
        device: Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        let backend = Backend::new(device, precision.kind());
        Self::on(id, config, checkpoint, backend)
    }

    /// Loads the AstroMAE in `dir`. [`load`](crate::load()) loads any model, but does not give [`taps`](AstroMae::taps).
    ///
    /// # Errors
    /// Those of [`load`](crate::load()).
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self, Error> {
        let backend = Backend::new(device, precision.kind());
        Self::from_directory(&Directory::read(dir)?, backend)
    }

    /// Builds the network of a model directory on a backend.
    pub(crate) fn from_directory(directory: &Directory, backend: Backend) -> Result<Self, Error> {
        let config = directory.config()?;
        let (path, weights) = (&directory.weights_path, &directory.weights);
        let (id, checkpoint) = directory.id_beside(|| Checkpoint::parse(path, weights, &config));
        Self::on(&id, &config, checkpoint?, backend)
    }

    fn on(
        id: &str,
        config: &Config,
        checkpoint: Checkpoint,
        backend: Backend,
    ) -> Result<Self, Error> {
        let Backend { device, kind, .. } = backend;
        let folded = FoldedNetwork::new(&checkpoint, config, backend)?;
        let needs = config.needs();
        let outputs = outputs(config);
        Ok(Self {
            id: id.to_owned(),
            config: config.clone(),
            weights: checkpoint,
            device,
            kind,
            lane: lane(&folded, device, &needs, &outputs)?,
            needs,
            outputs,
            folded,
        })
    }

    /// Runs the forward pass and returns its intermediate results, on the model's device and in its precision.
    ///
    /// It uses the network as it was published, which it builds each time. [`Model::forward`] uses the folded network, whose
    /// redshifts differ in their last digits.
    ///
    /// # Errors
    /// [`Error::Inputs`] if the batch does not fit the model, [`Error::Torch`] if libtorch cannot compute.
    ///
    /// ```
    /// use hubbleflow_models::{AstroMae, Config, Model, Precision, init};
    /// let dir = tempfile::tempdir().unwrap();
    /// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
    /// let model = AstroMae::load(dir.path(), tch::Device::Cpu, Precision::Fp32)?;
    /// let taps = model.taps(&init::inputs(2, model.needs())?)?;
    /// assert_eq!(taps.vit_block.unwrap().size(), [2, 1096]);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn taps(&self, inputs: &Inputs) -> Result<Taps, Error> {
        let _guard = tch::no_grad_guard();
        let inputs = inputs.checked(&self.needs)?;
        let to_device = |t: &Tensor| t.f_to_device(self.device);
        let cutouts = inputs.cutouts.as_ref().map(to_device).transpose()?;
        let mags = inputs.mags.as_ref().map(to_device).transpose()?;
        let weights = self.weights.share().to(self.device, self.kind)?;
        let network = Network::new(&weights, &self.config, self.kind)?;
        Ok(network.forward(cutouts.as_ref(), mags.as_ref())?)
    }
}

impl Model for AstroMae {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.config.name
    }

    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn outputs(&self) -> &[ModelOutput] {
        &self.outputs
    }

    fn host_tensor(&self, shape: &[i64]) -> Result<Tensor, Error> {
        match &self.lane {
            Some(_on_gpu) => Ok(cuda::pinned(shape)?),
            None => model::host_tensor(shape),
        }
    }

    fn forward(&self, inputs: &Inputs, wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error> {
        check_wanted(wanted, &self.outputs)?;
        if inputs.batch() == 0 {
            return Ok(of_no_galaxies(wanted)?);
        }
        let _guard = tch::no_grad_guard();
        if let Some(lane) = &self.lane {
            let inputs = inputs.checked_as_they_are(&self.needs)?;
            let dereddening = inputs.dereddening(&self.needs)?;
            return lane.forward(&inputs, &dereddening, wanted);
        }
        let inputs = inputs.checked(&self.needs)?;
        Ok(self.folded.outputs(&inputs, wanted)?)
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        let folded = self.folded.clone();
        Ok(Box::new(Self {
            id: self.id.clone(),
            config: self.config.clone(),
            needs: self.needs.clone(),
            outputs: self.outputs.clone(),
            weights: self.weights.share(),
            device: self.device,
            kind: self.kind,
            lane: lane(&folded, self.device, &self.needs, &self.outputs)?,
            folded,
        }))
    }
}

/// The outputs of a network of this configuration.
fn outputs(config: &Config) -> Vec<ModelOutput> {
    let width = config.encoder.width;
    let embedding = config
        .has(Branch::Encoder)
        .then_some(ModelOutput::Embedding { width });
    config.head.outputs().into_iter().chain(embedding).collect()
}

/// Captures the network on a stream if the device is a GPU.
fn lane(
    folded: &FoldedNetwork,
    device: Device,
    needs: &Needs,
    outputs: &[ModelOutput],
) -> Result<Option<Lane>, Error> {
    match device {
        Device::Cuda(gpu) => {
            let lane = Lane::new(folded, gpu, needs, outputs)?;
            Ok(Some(lane))
        }
        _ => Ok(None),
    }
}
