//! AstroMAE: a vision transformer pretrained as a masked autoencoder, an Inception network and a
//! dense network on magnitudes, which together feed a small head.
//!
//! A. Dolatpour Fathkouhi and G. C. Fox 2024, "AstroMAE: Redshift Prediction Using a Masked
//! Autoencoder with a Novel Fine-Tuning Architecture", [arXiv:2409.01825]; the parallel convolution
//! module (PCM) is ViTAE's, Xu et al. 2021, [arXiv:2106.03348].
//!
//! | | shapes |
//! |---|---|
//! | patches | `[batch, band, y, x] -> [batch, patch, width]` |
//! | encoder | `[batch, 1 + patch, width] -> [batch, width]`, the mean of the patches |
//! | vit_block | `[batch, width] -> [batch, 1096]` |
//! | inception | `[batch, band, y, x] -> [batch, 1096]` |
//! | magnitude | `[batch, band] -> [batch, 1024]` |
//! | head | the branches, concatenated in this order `-> [batch]` |
//!
//! [arXiv:2409.01825]: https://arxiv.org/abs/2409.01825
//! [arXiv:2106.03348]: https://arxiv.org/abs/2106.03348

use tch::{Device, Kind, TchError, Tensor};

use crate::config::{Branch, Config, Encoder as EncoderConfig, EncoderKind};
use crate::device::Precision;
use crate::inception::VisInception;
use crate::layers::{BatchNorm, Conv, LayerNorm, Linear, Mlp};
use crate::layout::{MAG_LAYERS, head_names};
use crate::{Checkpoint, Error, Inputs, Model, Needs};

/// The network with its weights on a device.
#[derive(Debug)]
pub struct AstroMae {
    id: String,
    config: Config,
    checkpoint: Checkpoint,
    device: Device,
    kind: Kind,
    encoder: Option<(Encoder, Linear, Mlp)>,
    inception: Option<VisInception>,
    magnitude: Option<Mlp>,
    head: Head,
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
        let kind = precision.kind();
        let c = checkpoint.to(device, kind)?;
        let on = |branch| config.has(branch).then_some(&c);
        let encoder = |c: &Checkpoint| {
            let vit_block = Mlp::new(c, "vit_block", &[0, 2])?;
            Ok::<_, Error>((Encoder::new(c, config)?, Linear::new(c, "head")?, vit_block))
        };
        let magnitude = |c| Mlp::new(c, "inception_model.magnitude_block", &MAG_LAYERS);
        Ok(Self {
            id: id.to_owned(),
            config: config.clone(),
            device,
            kind,
            encoder: on(Branch::Encoder).map(encoder).transpose()?,
            inception: on(Branch::Inception).map(VisInception::new).transpose()?,
            magnitude: on(Branch::Magnitude).map(magnitude).transpose()?,
            head: Head::new(&c, config)?,
            checkpoint: c,
        })
    }

    /// The forward pass with what it computes on its way, on the model's device and in its precision.
    ///
    /// # Errors
    /// [`Error::Inputs`] where the batch does not fit the model, [`Error::Torch`].
    pub fn taps(&self, inputs: &Inputs) -> Result<Taps, Error> {
        let _guard = tch::no_grad_guard();
        let inputs = inputs.checked(self.needs(), self.cutout_px())?;
        let to_device = |t: &Tensor| t.f_to_device_(self.device, self.kind, false, false);
        let cutouts = inputs.cutouts.as_ref().map(to_device).transpose()?;
        let mags = inputs.mags.as_ref().map(to_device).transpose()?;
        Ok(self.compute(cutouts.as_ref(), mags.as_ref())?)
    }

    fn compute(&self, cutouts: Option<&Tensor>, mags: Option<&Tensor>) -> Result<Taps, TchError> {
        let (encoder, vit_block) = match (&self.encoder, cutouts) {
            (Some((encoder, linear, vit_block)), Some(cutouts)) => {
                let encoded = encoder.forward(cutouts)?;
                let features = vit_block.forward(&linear.forward(&encoded)?)?;
                (Some(encoded), Some(features))
            }
            _ => (None, None),
        };
        let inception = self
            .inception
            .as_ref()
            .zip(cutouts)
            .map(|(net, x)| net.forward(x));
        let inception = inception.transpose()?;
        let magnitude = self
            .magnitude
            .as_ref()
            .zip(mags)
            .map(|(net, x)| net.forward(x));
        let magnitude = magnitude.transpose()?;
        let features: Vec<&Tensor> = [&vit_block, &inception, &magnitude]
            .into_iter()
            .flatten()
            .collect();
        let z_phot = self.head.forward(&Tensor::f_cat(&features, 1)?)?;
        Ok(Taps {
            encoder,
            vit_block,
            inception,
            magnitude,
            z_phot,
        })
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
        Needs {
            cutouts: self.config.has(Branch::Encoder) || self.config.has(Branch::Inception),
            mags: self.config.has(Branch::Magnitude),
        }
    }

    fn forward(&self, inputs: &Inputs) -> Result<Tensor, Error> {
        if inputs.batch() == 0 {
            return Ok(Tensor::f_zeros([0], (Kind::Float, Device::Cpu))?);
        }
        let z_phot = self.taps(inputs)?.z_phot;
        Ok(z_phot.f_to_device_(Device::Cpu, Kind::Float, false, false)?)
    }

    fn replica(&self) -> Box<dyn Model> {
        let precision = if self.kind == Kind::BFloat16 {
            Precision::Bf16
        } else {
            Precision::Fp32
        };
        let shared = self.checkpoint.share();
        let replica = Self::new(&self.id, &self.config, shared, self.device, precision);
        Box::new(replica.expect("invariant: these weights built this very network before"))
    }
}

/// The vision transformer.
#[derive(Debug)]
struct Encoder {
    patch_embed: Conv,
    cls_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    fc_norm: LayerNorm,
}

impl Encoder {
    fn new(c: &Checkpoint, config: &Config) -> Result<Self, Error> {
        let block = |n| Block::new(c, &format!("blocks.{n}"), config);
        Ok(Self {
            patch_embed: Conv::patches(c, "patch_embed.proj")?,
            cls_token: c.tensor("cls_token")?,
            pos_embed: c.tensor("pos_embed")?,
            blocks: (0..config.encoder.depth)
                .map(block)
                .collect::<Result<_, _>>()?,
            fc_norm: LayerNorm::new(c, "fc_norm")?,
        })
    }

    fn forward(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let patches = self
            .patch_embed
            .forward(cutouts)?
            .f_flatten(2, -1)?
            .f_transpose(1, 2)?;
        let (batch, n_patches, _) = patches.size3()?;
        let cls = self.cls_token.f_expand([batch, -1, -1], false)?;
        let mut x = Tensor::f_cat(&[&cls, &patches], 1)?.f_add(&self.pos_embed)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.fc_norm
            .forward(&x.f_narrow(1, 1, n_patches)?.f_mean_dim(1, false, None)?)
    }
}

/// One transformer block; with a PCM, convolutions of its input are added after the attention.
#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    pcm: Option<Pcm>,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(c: &Checkpoint, path: &str, config: &Config) -> Result<Self, Error> {
        let pcm = match config.encoder.kind {
            EncoderKind::Pcm => Some(Pcm::new(c, &format!("{path}.PCM"), config)?),
            EncoderKind::Plain => None,
        };
        Ok(Self {
            norm1: LayerNorm::new(c, &format!("{path}.norm1"))?,
            attention: Attention::new(c, &format!("{path}.attn"), &config.encoder)?,
            pcm,
            norm2: LayerNorm::new(c, &format!("{path}.norm2"))?,
            fc1: Linear::new(c, &format!("{path}.mlp.fc1"))?,
            fc2: Linear::new(c, &format!("{path}.mlp.fc2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let y = x.f_add(&self.attention.forward(&self.norm1.forward(x)?)?)?;
        if let Some(pcm) = &self.pcm {
            let local = pcm.forward(x)?;
            // The patches alone: the class token has no place on the grid.
            let _ = y.f_narrow(1, 1, local.size3()?.1)?.f_add_(&local)?;
        }
        let hidden = self.fc1.forward(&self.norm2.forward(&y)?)?.f_gelu("none")?;
        y.f_add(&self.fc2.forward(&hidden)?)
    }
}

/// Multi-head self-attention, `[batch, token, width] -> [batch, token, width]`.
#[derive(Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: i64,
}

impl Attention {
    fn new(c: &Checkpoint, path: &str, encoder: &EncoderConfig) -> Result<Self, Error> {
        let bias = match encoder.kind {
            EncoderKind::Plain => c.tensor(&format!("{path}.qkv.bias"))?,
            EncoderKind::Pcm => {
                let q = c.tensor(&format!("{path}.q_bias"))?;
                let v = c.tensor(&format!("{path}.v_bias"))?;
                Tensor::f_cat(&[&q, &q.f_zeros_like()?, &v], 0)?
            }
        };
        Ok(Self {
            qkv: Linear::with_bias(c, &format!("{path}.qkv"), bias)?,
            proj: Linear::new(c, &format!("{path}.proj"))?,
            heads: encoder.heads as i64,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (batch, tokens, width) = x.size3()?;
        let qkv = self.qkv.forward(x)?;
        let qkv = qkv.f_reshape([batch, tokens, 3, self.heads, width / self.heads])?;
        let qkv = qkv.f_permute([2, 0, 3, 1, 4])?.f_unbind(0)?;
        let mask = None::<Tensor>;
        let mixed = Tensor::f_scaled_dot_product_attention(
            &qkv[0], &qkv[1], &qkv[2], mask, 0.0, false, None, false,
        )?;
        self.proj
            .forward(&mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?)
    }
}

/// The parallel convolution module: what is next to a patch on the sky, which attention must learn.
#[derive(Debug)]
struct Pcm {
    widen: Conv,
    norm: BatchNorm,
    narrow: Conv,
    grid: i64,
}

impl Pcm {
    fn new(c: &Checkpoint, path: &str, config: &Config) -> Result<Self, Error> {
        let groups = config.encoder.pcm_group;
        Ok(Self {
            widen: Conv::same(c, &format!("{path}.0"), groups)?,
            norm: BatchNorm::new(c, &format!("{path}.1"))?,
            narrow: Conv::same(c, &format!("{path}.3"), groups)?,
            grid: config.grid() as i64,
        })
    }

    /// `[batch, 1 + patch, width] -> [batch, patch, width]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (batch, tokens, width) = x.size3()?;
        let patches = x.f_narrow(1, 1, tokens - 1)?.f_transpose(1, 2)?;
        let sky = patches.f_reshape([batch, width, self.grid, self.grid])?;
        let hidden = self.norm.forward(&self.widen.forward(&sky)?)?.f_silu()?;
        self.narrow
            .forward(&hidden)?
            .f_flatten(2, -1)?
            .f_transpose(1, 2)
    }
}

/// Features to a redshift: a hidden layer where several branches (or magnitudes alone) feed it,
/// then ReLU and one linear layer.
#[derive(Debug)]
struct Head {
    hidden: Option<Linear>,
    out: Linear,
}

impl Head {
    fn new(c: &Checkpoint, config: &Config) -> Result<Self, Error> {
        let (hidden, out) = head_names(config);
        Ok(Self {
            hidden: hidden.map(|path| Linear::new(c, path)).transpose()?,
            out: Linear::new(c, out)?,
        })
    }

    /// `[batch, features] -> [batch]`.
    fn forward(&self, features: &Tensor) -> Result<Tensor, TchError> {
        let hidden = match &self.hidden {
            Some(layer) => layer.forward(features)?.f_relu()?,
            None => features.f_relu()?,
        };
        self.out.forward(&hidden)?.f_squeeze_dim(1)
    }
}
