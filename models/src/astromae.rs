//! AstroMAE: a vision transformer pretrained as a masked autoencoder, an Inception network and a
//! dense network on magnitudes, which together feed a small head.
//!
//! A. Dolatpour Fathkouhi and G. C. Fox 2024, "AstroMAE: Redshift Prediction Using a Masked
//! Autoencoder with a Novel Fine-Tuning Architecture", [arXiv:2409.01825]; the parallel convolution
//! module (PCM) is ViTAE's, Xu et al. 2021, [arXiv:2106.03348].
//!
//! This is the model as others see it; `network.rs` has its branches and its head, `encoder.rs` the transformer.
//!
//! [arXiv:2409.01825]: https://arxiv.org/abs/2409.01825
//! [arXiv:2106.03348]: https://arxiv.org/abs/2106.03348

use tch::{Device, Kind, Tensor};

use crate::config::{Branch, Config};
use crate::cuda::{self, Lane};
use crate::device::Precision;
use crate::fast::{Backend, Fast};
use crate::network::Network;
use crate::{Checkpoint, Error, Inputs, Model, Needs};

/// The network with its weights on a device.
#[derive(Debug)]
pub struct AstroMae {
    id: String,
    config: Config,
    /// As they were read, for whoever wants taps.
    weights: Checkpoint,
    device: Device,
    kind: Kind,
    fast: Fast,
    /// What predicts on a GPU.
    lane: Option<Lane>,
}

/// What a forward pass computes on its way; `None` where the branch is switched off.
#[derive(Debug)]
pub struct Taps {
    /// `[batch, width]`: the mean of the patches after the last block, normalised by `fc_norm`.
    pub encoder: Option<Tensor>,
    /// `[batch, 1096]`: what the encoder gives to the head.
    pub vit_block: Option<Tensor>,
    /// `[batch, 1096]`: what the Inception network gives to the head.
    pub inception: Option<Tensor>,
    /// `[batch, 1024]`: what the magnitudes give to the head.
    pub magnitude: Option<Tensor>,
    /// `[batch]`: the photometric redshifts.
    pub z_phot: Tensor,
}

impl AstroMae {
    /// Builds the network of `config` from the `checkpoint` that was read for it.
    ///
    /// # Errors
    /// [`Error::Torch`] where the weights do not fit on `device`.
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

    pub(crate) fn on(
        id: &str,
        config: &Config,
        checkpoint: Checkpoint,
        backend: Backend,
    ) -> Result<Self, Error> {
        let Backend { device, kind, .. } = backend;
        let fast = Fast::new(&checkpoint, config, backend)?;
        Ok(Self {
            id: id.to_owned(),
            config: config.clone(),
            weights: checkpoint,
            device,
            kind,
            lane: lane(&fast, device, config)?,
            fast,
        })
    }

    /// The forward pass with what it computes on its way, on the model's device and in its precision.
    ///
    /// It goes through the network as it was published, made anew each time; [`Model::forward`] does not, and its
    /// redshifts differ from these in their last digits.
    ///
    /// # Errors
    /// [`Error::Inputs`] where the batch does not fit the model, [`Error::Torch`].
    pub fn taps(&self, inputs: &Inputs) -> Result<Taps, Error> {
        let _guard = tch::no_grad_guard();
        let inputs = inputs.checked(self.needs(), self.cutout_px())?;
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

    fn cutout_px(&self) -> usize {
        self.config.cutout_px
    }

    fn needs(&self) -> Needs {
        needs(&self.config)
    }

    fn host_tensor(&self, shape: &[i64]) -> Result<Tensor, Error> {
        match &self.lane {
            Some(_on_gpu) => Ok(cuda::pinned(shape)?),
            None => crate::host_tensor(shape),
        }
    }

    fn forward(&self, inputs: &Inputs) -> Result<Tensor, Error> {
        if inputs.batch() == 0 {
            return Ok(Tensor::f_zeros([0], (Kind::Float, Device::Cpu))?);
        }
        let _guard = tch::no_grad_guard();
        let inputs = inputs.checked(self.needs(), self.cutout_px())?;
        Ok(match &self.lane {
            Some(lane) => lane.forward(&inputs)?,
            None => self.fast.forward(&inputs)?,
        })
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        let fast = self.fast.clone();
        Ok(Box::new(Self {
            id: self.id.clone(),
            config: self.config.clone(),
            weights: self.weights.share(),
            device: self.device,
            kind: self.kind,
            lane: lane(&fast, self.device, &self.config)?,
            fast,
        }))
    }
}

/// Where a network predicts on a GPU.
fn lane(fast: &Fast, device: Device, config: &Config) -> Result<Option<Lane>, Error> {
    match device {
        Device::Cuda(gpu) => {
            let lane = Lane::new(fast, gpu, needs(config), config.cutout_px)?;
            Ok(Some(lane))
        }
        _ => Ok(None),
    }
}

/// What a network of this configuration looks at.
fn needs(config: &Config) -> Needs {
    Needs {
        cutouts: config.has(Branch::Encoder) || config.has(Branch::Inception),
        mags: config.has(Branch::Magnitude),
    }
}
