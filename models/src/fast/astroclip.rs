//! The network of [`AstroClip`](crate::AstroClip), folded. Tokens come first, as in `encoder.rs`.
//!
//! | | shapes |
//! |---|---|
//! | picture | `[batch, band, y, x] -> [batch, 3, x, y]` |
//! | a block | `[patch * batch, width]` in and out |
//! | the query | `[patch * batch, width] -> [batch, query width]` |
//!
//! The layers after the blocks are a thousandth of the work, so they compute in float32 in any precision. There is one query
//! for all galaxies, so the layers of queries and keys become one: it gives each token a score for each head. Values are
//! computed of the tokens' weighted mean, not of each token.

use tch::{Device, Kind, TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::block::{BlockLayers, Channels, FoldedBlock};
use super::linear::FoldedLinear;
use super::picture::Colours;
use super::weight::{Affine, Weight, exact};
use crate::checkpoint::{Checkpoint, StoredWeights};
use crate::config::{AstroClipConfig, EncoderConfig, EncoderKind, QueryConfig};
use crate::error::Error;
use crate::layout::{ATTENTION, QKV};

/// About how many tokens go through the network together on a CPU: enough for its products, and few enough for memory.
const TOKENS: usize = 2048;

/// AstroCLIP's image encoder for one thread. A clone shares its weights.
#[derive(Debug, Clone)]
pub(crate) struct FoldedAstroClip {
    on: Backend,
    colours: Colours,
    patch_px: i64,
    width: i64,
    /// Upper bound on the galaxies that go through the network together.
    rows_max: i64,
    patch_embed: FoldedLinear,
    blocks: Vec<FoldedBlock>,
    /// Scale and shift of the last norm.
    norm: [Weight; 2],
    end: End,
}

/// The last layers, which make the embedding of the tokens.
#[derive(Debug, Clone)]
enum End {
    Query(Query),
    /// A backbone alone gives its class token: this token, and the positions that are added to all tokens.
    Class {
        /// `[1, 1, width]`.
        token: Weight,
        /// `[1 + patch, 1, width]`.
        places: Weight,
    },
}

/// The attention of the query to the tokens, and the perceptron after it.
#[derive(Debug, Clone)]
struct Query {
    /// `[width, head]`: what turns a token into its scores.
    scores: Weight,
    /// `[head, width, channel]`, and `[head * channel]`: the layer of values.
    values: Weight,
    bias: Weight,
    out: FoldedLinear,
    /// Scale and shift of the layer normalisation.
    norm: [Weight; 2],
    encoder: FoldedLinear,
    decoder: FoldedLinear,
}

/// The intermediate results of a forward pass, float32 on the model's device.
#[derive(Debug)]
pub struct AstroClipTaps {
    /// `[batch, 3, y, x]`: the pictures.
    pub rgb: Tensor,
    /// `[batch, patch, width]`: the patches after the last norm. Those of a backbone alone begin with the class token.
    pub tokens: Tensor,
    /// `[batch, query width]`: what the query sees, normalised. The class token of a backbone alone.
    pub seen: Tensor,
    /// `[batch, query width]`.
    pub embedding: Tensor,
}

impl FoldedAstroClip {
    /// Folds the network of `config`.
    pub(crate) fn new(
        weights: &StoredWeights<'_>,
        config: &AstroClipConfig,
        on: Backend,
    ) -> Result<Self, Error> {
        let _guard = tch::no_grad_guard();
        // Our loops are made for narrow layers. In bfloat16 they are faster also for wide ones.
        let on = match on.kind {
            Kind::BFloat16 => on,
            _ => on.by_libtorch(),
        };
        let float = on.with_kind(Kind::Float);
        let patches = config.grid() * config.grid();
        let block =
            |path: String| folded_block(&weights.below(&format!("{path}."))?, &path, config, on);
        let mut patch_embed = Affine::read(
            &weights.below("backbone.patch_embed.")?,
            "backbone.patch_embed.proj",
        )?;
        patch_embed.weight = patch_embed.weight.f_flatten(1, -1)?;
        let norm = weights.below("backbone.norm.")?;
        let end = match &config.query {
            Some(query) => End::Query(Query::new(weights, &norm, query, config, float)?),
            None => class_token(weights, on)?,
        };
        let on_cpu = match on.device {
            Device::Cpu => (TOKENS / patches).max(1) as i64,
            _ => on.rows_max(),
        };
        Ok(Self {
            on,
            colours: Colours::new(&config.bands, on.device)?,
            patch_px: config.encoder.patch_px as i64,
            width: config.encoder.width as i64,
            rows_max: on_cpu.min(on.rows_max()),
            patch_embed: FoldedLinear::new(&patch_embed, on)?,
            blocks: config.block_paths().map(block).collect::<Result<_, _>>()?,
            norm: affine(&norm, "backbone.norm", float)?,
            end,
        })
    }

    /// The embeddings of cutouts that were checked: `[batch, query width]`, float32 on the CPU.
    pub(crate) fn forward(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let batch = cutouts.size()[0];
        let mut embeddings = Vec::new();
        for first in (0..batch).step_by(self.rows_max as usize) {
            let rows = self.rows_max.min(batch - first);
            let cutouts = cutouts.f_narrow(0, first, rows)?;
            let tokens = self.tokens(&self.picture(&cutouts)?)?;
            let embedding = self.embedding(&self.seen(&tokens)?)?;
            embeddings.push(embedding.f_to_device(Device::Cpu)?);
        }
        Tensor::f_cat(&embeddings, 0)
    }

    /// The intermediate results of a few cutouts that were checked.
    pub(crate) fn taps(&self, cutouts: &Tensor) -> Result<AstroClipTaps, TchError> {
        let rgb = self.picture(cutouts)?;
        let tokens = self.tokens(&rgb)?;
        let seen = self.seen(&tokens)?;
        Ok(AstroClipTaps {
            tokens: self.scaled(&tokens)?,
            embedding: self.embedding(&seen)?,
            rgb,
            seen,
        })
    }

    /// `[batch, band, y, x] -> [batch, 3, y, x]`, float32.
    fn picture(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        self.colours.picture(&cutouts.f_to_device(self.on.device)?)
    }

    /// The tokens after the last block, of mean 0 and variance 1: `[batch, 3, y, x] -> [batch, patch, width]`, float32.
    fn tokens(&self, picture: &Tensor) -> Result<Tensor, TchError> {
        let batch = picture.size()[0];
        // In the published network rows and columns change places.
        let picture = picture.f_transpose(2, 3)?.f_to_kind(self.on.kind)?;
        let patches = self.on.patches(&picture.f_contiguous()?, self.patch_px)?;
        let mut x = self.patch_embed.forward(&patches, Activation::Identity)?;
        if let End::Class { token, places } = &self.end {
            let patches = x.f_view([-1, batch, self.width])?;
            let token = token.f_expand([1, batch, self.width], false)?;
            let tokens = Tensor::f_cat(&[&token, &patches], 0)?.f_add(places)?;
            x = tokens.f_view([-1, self.width])?;
        }
        for block in &self.blocks {
            block.attend(&mut x, batch)?;
            block.transform(&mut x)?;
        }
        let x = self.on.normalise(&x)?.f_to_kind(Kind::Float)?;
        let x = x.f_view([-1, batch, self.width])?;
        x.f_transpose(0, 1)?.f_contiguous()
    }

    /// Scales and shifts tokens as the last norm does.
    fn scaled(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let [scale, shift] = &self.norm;
        tokens.f_mul(scale)?.f_add(shift)
    }

    fn seen(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        match &self.end {
            End::Query(query) => query.seen(tokens),
            End::Class { .. } => self.scaled(&tokens.f_select(1, 0)?),
        }
    }

    fn embedding(&self, seen: &Tensor) -> Result<Tensor, TchError> {
        match &self.end {
            End::Query(query) => query.embedding(seen),
            End::Class { .. } => Ok(seen.shallow_clone()),
        }
    }
}

/// Folds the block at `path`: DINOv2's layer scales become a part of the layers before them.
fn folded_block(
    c: &Checkpoint,
    path: &str,
    config: &AstroClipConfig,
    on: Backend,
) -> Result<FoldedBlock, Error> {
    let width = config.encoder.width;
    let mut scaled = c.share().into_tensors();
    for (scale, layer) in [("ls1", "attn.proj"), ("ls2", "mlp.fc2")] {
        let gamma = c.tensor(&format!("{path}.{scale}.gamma"))?;
        let (weight, bias) = (
            format!("{path}.{layer}.weight"),
            format!("{path}.{layer}.bias"),
        );
        let scaled_weight = c.tensor(&weight)?.f_mul(&gamma.f_unsqueeze(1)?)?;
        let scaled_bias = c.tensor(&bias)?.f_mul(&gamma)?;
        scaled.extend([(weight, scaled_weight), (bias, scaled_bias)]);
    }
    let encoder = EncoderConfig {
        kind: EncoderKind::Plain,
        width,
        depth: config.encoder.depth,
        heads: config.encoder.heads,
        mlp_ratio: 4,
        patch_px: config.encoder.patch_px,
        pcm_kernel: 1,
        pcm_group: 1,
    };
    let channels = Channels(Tensor::f_arange(width as i64, (Kind::Int64, Device::Cpu))?);
    let layers = BlockLayers::read(&Checkpoint::of(scaled), path, &encoder, config.grid())?;
    Ok(FoldedBlock::new(&layers, encoder.heads, &channels, on)?)
}

/// The class token and the positions of a backbone alone.
fn class_token(weights: &StoredWeights<'_>, on: Backend) -> Result<End, Error> {
    let token = weights.below("backbone.cls_token")?;
    let places = weights.below("backbone.pos_embed")?;
    let places = places.tensor("backbone.pos_embed")?.f_transpose(0, 1)?;
    Ok(End::Class {
        token: on.weight(&token.tensor("backbone.cls_token")?)?,
        places: on.weight(&places)?,
    })
}

/// Scale and shift of the normalisation at `path`.
fn affine(c: &Checkpoint, path: &str, on: Backend) -> Result<[Weight; 2], Error> {
    let weight = |part: &str| Ok(on.weight(&c.tensor(&format!("{path}.{part}"))?)?);
    let both: [Result<Weight, Error>; 2] = ["weight", "bias"].map(weight);
    let [scale, shift] = both;
    Ok([scale?, shift?])
}

impl Query {
    /// Folds the attention and the norm before it, in float64.
    fn new(
        weights: &StoredWeights<'_>,
        norm: &Checkpoint,
        query: &QueryConfig,
        config: &AstroClipConfig,
        on: Backend,
    ) -> Result<Self, Error> {
        let c = &weights.below("cross_attention.")?;
        let mlp = weights.below("mlp.")?;
        let heads = query.heads as i64;
        let channels = query.width as i64 / heads;
        let width = config.encoder.width as i64;
        let in_one = query.width == config.encoder.width;
        let [of_query, of_keys, of_values] = projections(c, in_one)?;
        let query = exact(c, "cross_attention.query")?.f_flatten(0, -1)?;
        let query = of_query.weight.f_mv(&query)?.f_add(&of_query.bias)?;
        let query = query.f_mul_scalar((channels as f64).powf(-0.5))?;
        let (scale, shift) = (
            exact(norm, "backbone.norm.weight")?,
            exact(norm, "backbone.norm.bias")?,
        );
        // A term that all tokens share does not change their weights.
        let keys = of_keys
            .weight
            .f_mul(&scale)?
            .f_view([heads, channels, width])?;
        let scores = query.f_view([heads, channels, 1])?.f_mul(&keys)?;
        let scores = scores.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
        let bias = of_values.weight.f_mv(&shift)?.f_add(&of_values.bias)?;
        let values = of_values.weight.f_mul(&scale)?;
        let values = values.f_view([heads, channels, width])?.f_transpose(1, 2)?;
        let out = Affine::read(c, &format!("{ATTENTION}.out_proj"))?;
        Ok(Self {
            scores: on.weight(&scores.f_transpose(0, 1)?)?,
            values: on.weight(&values)?,
            bias: on.weight(&bias)?,
            out: FoldedLinear::new(&out, on)?,
            norm: affine(c, "cross_attention.layernorm", on)?,
            encoder: FoldedLinear::new(&Affine::read(&mlp, "mlp.encoder")?, on)?,
            decoder: FoldedLinear::new(&Affine::read(&mlp, "mlp.decoder")?, on)?,
        })
    }

    /// Applies the attention of the query: `[batch, patch, width] -> [batch, query width]`.
    fn seen(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let weights = tokens.f_matmul(&self.scores)?.f_softmax(1, None)?;
        let means = weights.f_transpose(1, 2)?.f_matmul(tokens)?;
        let values = means.f_transpose(0, 1)?.f_bmm(&self.values)?;
        let values = values
            .f_transpose(0, 1)?
            .f_flatten(1, -1)?
            .f_add(&self.bias)?;
        let seen = self.out.forward(&values, Activation::Identity)?;
        let [scale, shift] = &self.norm;
        let width = seen.size2()?.1;
        seen.f_layer_norm([width], Some(&**scale), Some(&**shift), 1e-5, false)
    }

    /// `[batch, query width]` in and out.
    fn embedding(&self, seen: &Tensor) -> Result<Tensor, TchError> {
        let hidden = self.encoder.forward(seen, Activation::Gelu)?;
        self.decoder.forward(&hidden, Activation::Identity)
    }
}

/// The layers of queries, keys and values, in float64. Their weights are one tensor if all have one width.
fn projections(c: &Checkpoint, in_one: bool) -> Result<[Affine; 3], Error> {
    let bias = exact(c, &format!("{ATTENTION}.in_proj_bias"))?.f_chunk(3, 0)?;
    let weights = match in_one {
        true => exact(c, &format!("{ATTENTION}.in_proj_weight"))?.f_chunk(3, 0)?,
        false => {
            let weights = QKV.map(|name| exact(c, &format!("{ATTENTION}.{name}")));
            weights.into_iter().collect::<Result<_, _>>()?
        }
    };
    let layer = |n: usize| Affine {
        weight: weights[n].shallow_clone(),
        bias: bias[n].shallow_clone(),
    };
    Ok([0, 1, 2].map(layer))
}
