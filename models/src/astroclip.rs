//! AstroCLIP's image encoder: a vision transformer that DINOv2 has pretrained on pictures of galaxies, and the attention of
//! one learned query to all patches. It gives an embedding, and no redshift.
//!
//! L. Parker et al. 2024, "AstroCLIP: a cross-modal foundation model for galaxies", [arXiv:2310.03024].
//!
//! | part | shapes |
//! |---|---|
//! | picture | `[batch, band, y, x] -> [batch, 3, y, x]`, in 0 to 1 |
//! | tokens | `-> [batch, patch, width]`, after the last block and its norm |
//! | seen | `-> [batch, query width]`, what the query sees |
//! | embedding | `-> [batch, query width]` |
//!
//! Some of the published forward pass is unexpected: no class token and no positions are added, though the checkpoint has
//! both; planes are in the order z, r, g; rows and columns of the picture change places before patches are cut; the last
//! perceptron has no residual. A DINOv2 backbone alone, without `query`, adds class token and positions; its embedding is the
//! class token.
//!
//! [arXiv:2310.03024]: https://arxiv.org/abs/2310.03024

use std::path::Path;

use tch::{Device, Tensor};

use crate::checkpoint::StoredWeights;
use crate::config::AstroClipConfig;
use crate::directory::Directory;
use crate::error::Error;
pub use crate::fast::AstroClipTaps;
use crate::fast::{Backend, FoldedAstroClip};
use crate::inputs::Inputs;
use crate::layout::astroclip_layout;
use crate::model::Model;
use crate::needs::Needs;
use crate::output::{ModelOutput, check_wanted, of_no_galaxies};
use crate::precision::Precision;

/// AstroCLIP's image encoder with its weights on a device.
#[derive(Debug)]
pub struct AstroClip {
    id: String,
    name: String,
    needs: Needs,
    outputs: [ModelOutput; 1],
    network: FoldedAstroClip,
}

impl AstroClip {
    /// Loads the AstroCLIP in `dir`. [`load`](crate::load()) loads any model, but does not give [`taps`](AstroClip::taps).
    ///
    /// # Errors
    /// Those of [`load`](crate::load()).
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self, Error> {
        let backend = Backend::new(device, precision.kind());
        Self::from_directory(&Directory::read(dir)?, backend)
    }

    /// Builds the network of a model directory on a backend.
    pub(crate) fn from_directory(directory: &Directory, backend: Backend) -> Result<Self, Error> {
        let config = directory.config_of(AstroClipConfig::validate)?;
        let (path, weights) = (&directory.weights_path, &directory.weights);
        let weights = StoredWeights::open(path, weights, astroclip_layout(&config), |_| false)?;
        let width = config.embedding_width();
        let (id, network) =
            directory.id_beside(|| FoldedAstroClip::new(&weights, &config, backend));
        Ok(Self {
            id,
            needs: config.needs(),
            outputs: [ModelOutput::Embedding { width }],
            network: network?,
            name: config.name,
        })
    }

    /// Runs the forward pass and returns its intermediate results.
    ///
    /// # Errors
    /// [`Error::Inputs`] if the batch does not fit the model, [`Error::Torch`] if libtorch cannot compute.
    pub fn taps(&self, inputs: &Inputs) -> Result<AstroClipTaps, Error> {
        let _guard = tch::no_grad_guard();
        let cutouts = self.cutouts(inputs)?;
        Ok(self.network.taps(&cutouts)?)
    }

    fn cutouts(&self, inputs: &Inputs) -> Result<Tensor, Error> {
        let cutouts = inputs.checked(&self.needs)?.cutouts;
        Ok(cutouts.expect("invariant: inputs that were checked are there"))
    }
}

impl Model for AstroClip {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn outputs(&self) -> &[ModelOutput] {
        &self.outputs
    }

    fn forward(&self, inputs: &Inputs, wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error> {
        check_wanted(wanted, &self.outputs)?;
        if inputs.batch() == 0 {
            return Ok(of_no_galaxies(wanted)?);
        }
        let _guard = tch::no_grad_guard();
        let embedding = self.network.forward(&self.cutouts(inputs)?)?;
        Ok(wanted.iter().map(|_| embedding.shallow_clone()).collect())
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Self {
            id: self.id.clone(),
            name: self.name.clone(),
            needs: self.needs.clone(),
            outputs: self.outputs.clone(),
            network: self.network.clone(),
        }))
    }
}
