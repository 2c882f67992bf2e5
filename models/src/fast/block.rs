//! A block of a transformer, folded: `[token * batch, width]` in and out.

use tch::{TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::linear::FoldedLinear;
use super::pcm::FoldedPcm;
use super::weight::{Affine, PcmLayers, exact};
use crate::checkpoint::Checkpoint;
use crate::config::{EncoderConfig, EncoderKind};
use crate::error::Error;

/// The order of the encoder's channels: the number of each channel in the checkpoint.
pub(super) struct Channels(pub(super) Tensor);

/// The layers of a block, with its layer normalisations folded in.
#[derive(Debug)]
pub(super) struct BlockLayers {
    pub(super) qkv: Affine,
    pub(super) pcm: Option<PcmLayers>,
    pub(super) proj: Affine,
    pub(super) fc1: Affine,
    pub(super) fc2: Affine,
}

impl BlockLayers {
    /// Reads the block at `path` of a transformer on `grid` by `grid` patches.
    pub(super) fn read(
        c: &Checkpoint,
        path: &str,
        encoder: &EncoderConfig,
        grid: usize,
    ) -> Result<Self, Error> {
        let layer = |name: &str| Affine::read(c, &format!("{path}.{name}"));
        let norm = |n| format!("{path}.norm{n}");
        let pcm = match encoder.kind {
            EncoderKind::Plain => None,
            EncoderKind::Pcm => Some(PcmLayers {
                widen: layer("PCM.0")?.then_batch_norm(c, &format!("{path}.PCM.1"))?,
                narrow: layer("PCM.3")?,
                groups: encoder.pcm_group,
                grid,
            }),
        };
        Ok(Self {
            qkv: qkv(c, path, encoder)?.after_norm(c, &norm(1))?,
            pcm,
            proj: layer("attn.proj")?,
            fc1: layer("mlp.fc1")?.after_norm(c, &norm(2))?,
            fc2: layer("mlp.fc2")?,
        })
    }
}

/// A block of the transformer.
#[derive(Debug, Clone)]
pub(super) struct FoldedBlock {
    on: Backend,
    heads: usize,
    qkv: FoldedLinear,
    pcm: Option<FoldedPcm>,
    proj: FoldedLinear,
    fc1: FoldedLinear,
    fc2: FoldedLinear,
}

impl FoldedBlock {
    /// The block of these layers, for tokens whose channels are in this order.
    pub(super) fn new(
        layers: &BlockLayers,
        heads: usize,
        channels: &Channels,
        on: Backend,
    ) -> Result<Self, TchError> {
        let pack = |layer: Affine| FoldedLinear::new(&layer, on);
        let pcm = layers.pcm.as_ref().map(|pcm| FoldedPcm::new(pcm, on));
        Ok(Self {
            on,
            heads,
            qkv: pack(layers.qkv.inputs_in(&channels.0)?)?,
            pcm: pcm.transpose()?,
            proj: pack(layers.proj.outputs_in(&channels.0)?)?,
            fc1: pack(layers.fc1.inputs_in(&channels.0)?)?,
            fc2: pack(layers.fc2.outputs_in(&channels.0)?)?,
        })
    }

    /// Adds the attention and the PCM to the tokens.
    pub(super) fn attend(&self, x: &mut Tensor, batch: i64) -> Result<(), TchError> {
        let qkv = self
            .qkv
            .forward(&self.on.normalise(x)?, Activation::Identity)?;
        let mixed = self.on.attend(&qkv, batch, self.heads)?;
        if let Some(pcm) = &self.pcm {
            // Only the patches: the class token has no place on the grid.
            pcm.add_to(&mut x.f_narrow(0, batch, x.size()[0] - batch)?)?;
        }
        self.proj.add_to(x, &mixed)
    }

    /// Adds the perceptron to the tokens.
    pub(super) fn transform(&self, x: &mut Tensor) -> Result<(), TchError> {
        let rows = x.size()[0];
        let together = self.on.perceptron_rows(rows);
        for first in (0..rows).step_by(together as usize) {
            let mut x = x.f_narrow(0, first, together.min(rows - first))?;
            let hidden = self
                .fc1
                .forward(&self.on.normalise(&x)?, Activation::Gelu)?;
            self.fc2.add_to(&mut x, &hidden)?;
        }
        Ok(())
    }

    /// The mean of the patches after the perceptron. The second layer is linear, so it is applied to the mean.
    pub(super) fn mean_of_patches(&self, x: &Tensor, batch: i64) -> Result<Tensor, TchError> {
        let rows = x.size()[0];
        let mean = |x: &Tensor| {
            let tokens = x.f_view([-1, batch, x.size()[1]])?;
            tokens.f_mean_dim(0, false, None)
        };
        let patches = x.f_narrow(0, batch, rows - batch)?;
        let hidden = self
            .fc1
            .forward(&self.on.normalise(&patches)?, Activation::Gelu)?;
        let mut sum = mean(&patches)?;
        self.fc2.add_to(&mut sum, &mean(&hidden)?)?;
        Ok(sum)
    }
}

/// The layer of queries, keys and values, with queries divided by the root of the number of channels of a head.
fn qkv(c: &Checkpoint, path: &str, encoder: &EncoderConfig) -> Result<Affine, Error> {
    let weight = exact(c, &format!("{path}.attn.qkv.weight"))?;
    let bias = match encoder.kind {
        EncoderKind::Plain => exact(c, &format!("{path}.attn.qkv.bias"))?,
        EncoderKind::Pcm => {
            let q = exact(c, &format!("{path}.attn.q_bias"))?;
            let v = exact(c, &format!("{path}.attn.v_bias"))?;
            Tensor::f_cat(&[&q, &q.f_zeros_like()?, &v], 0)?
        }
    };
    let scale = ((encoder.width / encoder.heads) as f64).powf(-0.5);
    let scales = bias.f_ones_like()?;
    let _ = scales
        .f_narrow(0, 0, encoder.width as i64)?
        .f_fill_(scale)?;
    Ok(Affine {
        weight: weight.f_mul(&scales.f_unsqueeze(1)?)?,
        bias: bias.f_mul(&scales)?,
    })
}
