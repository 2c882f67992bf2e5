//! The transformer by kernels: `models/kernels/encoder.py`.

use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{Config, EncoderKind};
use crate::cuda::Kernels;
use crate::error::Error;
use crate::fast::backend::Backend;
use crate::fast::block::BlockLayers;
use crate::fast::cutouts::Image;
use crate::fast::embedding::Embedding;
use crate::fast::weight::{Affine, PcmLayers, Weight};

/// The channels of a token, of a head and of a hidden layer, and the groups of a PCM, that the kernels are compiled for.
const WIDTH: usize = 192;
const HEAD: usize = 64;
const HIDDEN: usize = 768;
const PCM_GROUPS: usize = 48;
/// The side of a patch, in pixels.
const PATCH_PX: usize = 8;
/// The kernels for attention, and the most tokens that each takes.
const ATTEND: [(&str, i64); 3] = [("attend_32", 32), ("attend_64", 64), ("attend_128", 128)];
/// Channels that `transform` computes together, and those that a product of its PCM takes.
const CHUNK: i64 = 64;
const PCM_PART: i64 = 16;

/// From cutouts to the mean of the patches.
#[derive(Debug, Clone)]
pub(in crate::fast) struct KernelTokens {
    kernels: Arc<Kernels>,
    bands: i64,
    grid: i64,
    /// `[width, band * 64]`.
    patches: Weight,
    /// `[1 + patch, width]` of float32.
    places: Weight,
    blocks: Vec<KernelBlock>,
}

/// The weights of a block. Biases are of float32.
#[derive(Debug, Clone)]
struct KernelBlock {
    qkv: [Weight; 2],
    proj: Weight,
    /// `[2, width]`: of the class token, and of the patches, to which the bias of a PCM is added.
    proj_bias: Weight,
    pcm: Option<KernelPcm>,
    fc1: [Weight; 2],
    fc2: [Weight; 2],
}

/// A PCM in parts of 16 channels and 64 hidden ones.
#[derive(Debug, Clone)]
struct KernelPcm {
    /// `[part, 64, 16]`.
    widen: Weight,
    widen_bias: Weight,
    /// `[part, 64, 64]`: the 16 outputs of a part are at their place among the 64 of its chunk, the others are 0.
    narrow: Weight,
}

impl KernelTokens {
    /// Whether the kernels compute the encoder of this configuration.
    pub(in crate::fast) fn suit(config: &Config) -> bool {
        let encoder = &config.encoder;
        let has_pcm_of_a_pixel = encoder.pcm_kernel == 1 && encoder.pcm_group == PCM_GROUPS;
        let tokens = 1 + config.grid() * config.grid();
        let sizes = [
            encoder.width,
            encoder.width / encoder.heads,
            encoder.width * encoder.mlp_ratio,
        ];
        (encoder.kind == EncoderKind::Plain || has_pcm_of_a_pixel)
            && sizes == [WIDTH, HEAD, HIDDEN]
            && encoder.patch_px == PATCH_PX
            && attend(tokens as i64).is_some()
    }

    pub(in crate::fast) fn new(
        c: &Checkpoint,
        config: &Config,
        on: Backend,
        kernels: &Arc<Kernels>,
    ) -> Result<Self, Error> {
        let exact = on.with_kind(Kind::Float);
        let Embedding { patches, places } = Embedding::read(c)?;
        let block = |n| {
            let path = format!("blocks.{n}");
            let layers = BlockLayers::read(c, &path, &config.encoder, config.grid())?;
            Ok(KernelBlock::new(&layers, on)?)
        };
        Ok(Self {
            kernels: Arc::clone(kernels),
            bands: config.bands.len() as i64,
            grid: config.grid() as i64,
            patches: on.weight(&patches.weight)?,
            places: exact.weight(&places)?,
            blocks: (0..config.encoder.depth)
                .map(block)
                .collect::<Result<_, Error>>()?,
        })
    }

    /// The mean of the patches, `[batch, width]`.
    pub(in crate::fast) fn mean_of_patches(&self, image: &Image<'_>) -> Result<Tensor, TchError> {
        let flux = image.cutouts.flux;
        let (batch, patches) = (flux.size()[0], self.grid * self.grid);
        let (rows, width) = ((1 + patches) * batch, WIDTH as i64);
        let options = (self.patches.kind(), flux.device());
        let [x, mixed] = [(); 2].map(|()| Tensor::f_empty([rows, width], options));
        let (x, mixed) = (x?, mixed?);
        let qkv = Tensor::f_empty([rows, 3 * width], options)?;
        self.embed(image, &x, &qkv)?;
        for (n, block) in self.blocks.iter().enumerate() {
            self.attend(&qkv, &mixed, batch)?;
            self.transform(block, self.blocks.get(n + 1), [&x, &mixed, &qkv], batch)?;
        }
        let tokens = x.f_view([1 + patches, batch, width])?;
        tokens.f_narrow(0, 1, patches)?.f_mean_dim(0, false, None)
    }

    /// Writes the tokens, and the queries, keys and values of the first block.
    fn embed(&self, image: &Image<'_>, x: &Tensor, qkv: &Tensor) -> Result<(), TchError> {
        let flux = image.cutouts.flux;
        let (batch, rows) = (flux.size()[0], x.size()[0]);
        let first = self.blocks.first();
        let [weight, bias] = &first.expect("invariant: the depth is above 0").qkv;
        let dereddening = image.dereddening()?;
        // Without a scale, its arguments are not read.
        let (name, [slope, factor]) = match image.scales() {
            Some(scales) => ("embed_scaled", scales),
            None => ("embed", [&*self.places; 2]),
        };
        let tensors = [
            flux,
            &dereddening,
            slope,
            factor,
            &self.patches,
            &self.places,
            weight,
            bias,
            x,
            qkv,
        ];
        let numbers = [rows, batch, self.bands, self.grid];
        let kernel = self.kernels.named(name);
        // SAFETY: these are the arguments of `embed`, of the shapes that it names.
        unsafe { kernel.launch([kernel.programs(rows), 1], &tensors, &numbers) }
    }

    /// Attention: `[rows, 3 * width] -> [rows, width]`.
    fn attend(&self, qkv: &Tensor, mixed: &Tensor, batch: i64) -> Result<(), TchError> {
        let (tokens, heads) = (1 + self.grid * self.grid, (WIDTH / HEAD) as i64);
        let name = attend(tokens).expect("invariant: the kernels suit the model");
        let tensors = [qkv, mixed];
        let numbers = [batch, tokens, heads];
        // SAFETY: these are the arguments of `attend`, of the shapes that it names.
        unsafe {
            self.kernels
                .named(name)
                .launch([batch, heads], &tensors, &numbers)
        }
    }

    /// The rest of a block, in place, and the queries, keys and values of the next.
    fn transform(
        &self,
        block: &KernelBlock,
        next: Option<&KernelBlock>,
        [x, mixed, qkv]: [&Tensor; 3],
        batch: i64,
    ) -> Result<(), TchError> {
        let rows = x.size()[0];
        let name = match (&block.pcm, next) {
            (None, Some(_)) => "transform",
            (None, None) => "transform_last",
            (Some(_), Some(_)) => "transform_pcm",
            (Some(_), None) => "transform_pcm_last",
        };
        // What a block lacks is not read.
        let [widen, widen_bias, narrow] = match &block.pcm {
            Some(pcm) => [&pcm.widen, &pcm.widen_bias, &pcm.narrow],
            None => [&block.proj; 3],
        };
        let [next, next_bias] = &next.unwrap_or(block).qkv;
        let tensors = [
            x,
            mixed,
            &block.proj,
            &block.proj_bias,
            widen,
            widen_bias,
            narrow,
            &block.fc1[0],
            &block.fc1[1],
            &block.fc2[0],
            &block.fc2[1],
            next,
            next_bias,
            qkv,
        ];
        let numbers = [rows, batch];
        let kernel = self.kernels.named(name);
        // SAFETY: these are the arguments of `transform`, of the shapes that it names.
        unsafe { kernel.launch([kernel.programs(rows), 1], &tensors, &numbers) }
    }
}

impl KernelBlock {
    fn new(layers: &BlockLayers, on: Backend) -> Result<Self, TchError> {
        let exact = on.with_kind(Kind::Float);
        let both = |layer: &Affine| {
            Ok::<_, TchError>([on.weight(&layer.weight)?, exact.weight(&layer.bias)?])
        };
        let class_bias = &layers.proj.bias;
        let patch_bias = match &layers.pcm {
            Some(pcm) => class_bias.f_add(&pcm.narrow.bias)?,
            None => class_bias.shallow_clone(),
        };
        let pcm = layers.pcm.as_ref().map(|pcm| KernelPcm::new(pcm, on));
        Ok(Self {
            qkv: both(&layers.qkv)?,
            proj: on.weight(&layers.proj.weight)?,
            proj_bias: exact.weight(&Tensor::f_stack(&[class_bias, &patch_bias], 0)?)?,
            pcm: pcm.transpose()?,
            fc1: both(&layers.fc1)?,
            fc2: both(&layers.fc2)?,
        })
    }
}

impl KernelPcm {
    fn new(layers: &PcmLayers, on: Backend) -> Result<Self, TchError> {
        let groups = layers.groups as i64;
        let (widen, narrow) = (layers.widen.dense(groups)?, layers.narrow.dense(groups)?);
        let parts = WIDTH as i64 / PCM_PART;
        // The products of a part with itself: [a, b, part] -> [part, a, b].
        let diagonal = |weight: &Tensor, shape: [i64; 4]| {
            let parts = weight.f_view(shape)?.f_diagonal(0, 0, 2)?;
            parts.f_permute([2, 0, 1])
        };
        let widen_parts = diagonal(&widen.weight, [parts, CHUNK, parts, PCM_PART])?;
        let narrow_parts = diagonal(&narrow.weight, [parts, PCM_PART, parts, CHUNK])?;
        let placed = Tensor::f_zeros([parts, CHUNK, CHUNK], (Kind::Double, Device::Cpu))?;
        for part in 0..parts {
            let first = part * PCM_PART % CHUNK;
            let mut place = placed.f_select(0, part)?.f_narrow(0, first, PCM_PART)?;
            place.f_copy_(&narrow_parts.f_select(0, part)?)?;
        }
        Ok(Self {
            widen: on.weight(&widen_parts)?,
            widen_bias: on.with_kind(Kind::Float).weight(&widen.bias)?,
            narrow: on.weight(&placed)?,
        })
    }
}

/// The name of the kernel for attention over this number of tokens.
fn attend(tokens: i64) -> Option<&'static str> {
    let mut kernels = ATTEND.into_iter();
    let (name, _) = kernels.find(|(_, tokens_max)| tokens <= *tokens_max)?;
    Some(name)
}
