//! A model directory with weights that follow a rule, for tests and demonstrations without a trained model.
//!
//! Every number follows from the tensor's name alone, so all programs that use this rule have the same weights. For element
//! `i` of the tensor `name`, in row-major order, `u = splitmix64(fnv1a64(salt + name) + i) >> 40`, as a fraction of 2^24,
//! and `s = 2u - 1`. Then
//!
//! | tensor | value |
//! |---|---|
//! | `running_var` | `0.5 + u` |
//! | `running_mean`, biases | `0.1 s` |
//! | weights of norms, `gamma` | `1 + 0.1 s` |
//! | `cls_token`, `query`, and the tokens of an AstroCLIP that it does not use | `0.02 s` |
//! | `pos_embed` | sines and cosines of the patch's position |
//! | other weights | `s sqrt(3 / inputs)`: their outputs have the variance of their inputs |

use std::path::Path;

use serde::Serialize;
use tch::{TchError, Tensor};

use crate::config::{AstroClipConfig, Config};
use crate::directory::{CONFIG_FILE, Directory, WEIGHTS_FILE};
use crate::error::Error;
use crate::inputs::Inputs;
use crate::layout::{TensorEntry, UNUSED, astroclip_layout, layout};
use crate::needs::{CutoutNeeds, Needs};
use crate::tensor_file::f32_bytes;

/// Writes a model directory of `config` with weights that follow the rule. The name in its `config.json` says that it is
/// not trained.
///
/// Each `salt` gives different weights. The same arguments write the same bytes.
///
/// # Errors
/// [`Error::Config`] if the configuration contradicts itself, [`Error::Exists`] if `dir` holds another model, [`Error::Io`]
/// if a file cannot be written.
///
/// ```
/// use hubbleflow_models::{Config, device::Precision, init};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "").unwrap();
/// let model = hubbleflow_models::load(dir.path(), tch::Device::Cpu, Precision::Fp32).unwrap();
/// assert_eq!(model.name(), "astromae-tiny, initialised (not trained)");
/// ```
pub fn init(dir: &Path, config: &Config, salt: &str) -> Result<(), Error> {
    let path = dir.join(CONFIG_FILE);
    config.validate().map_err(|broken| Error::Config {
        path: path.clone(),
        reason: broken.to_string(),
    })?;
    let mut config = config.clone();
    config.name = initialised(&config.name);
    let values = |entry: &TensorEntry| values(entry, &config, salt);
    write(dir, &config, &layout(&config), values)
}

/// Writes a model directory of an AstroCLIP with weights that follow the rule.
///
/// # Errors
/// Those of [`init`].
///
/// ```
/// use hubbleflow_models::{Precision, config::AstroClipConfig, init, load};
/// let mut config = AstroClipConfig::public();
/// (config.encoder.width, config.encoder.depth, config.encoder.heads) = (32, 4, 2);
/// config.cutout_px = 24;
/// let dir = tempfile::tempdir().unwrap();
/// init::astroclip(dir.path(), &config, "")?;
/// let model = load(dir.path(), tch::Device::Cpu, Precision::Fp32)?;
/// assert_eq!(model.outputs()[0].to_string(), "embedding (1024 values)");
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn astroclip(dir: &Path, config: &AstroClipConfig, salt: &str) -> Result<(), Error> {
    config.validate().map_err(|broken| Error::Config {
        path: dir.join(CONFIG_FILE),
        reason: broken.to_string(),
    })?;
    let mut config = config.clone();
    config.name = initialised(&config.name);
    write(dir, &config, &astroclip_layout(&config), |entry| {
        by_rule(entry, salt)
    })
}

/// Writes a model directory whose tensors have these values.
fn write(
    dir: &Path,
    config: &impl Serialize,
    entries: &[TensorEntry],
    values: impl Fn(&TensorEntry) -> Vec<f32>,
) -> Result<(), Error> {
    let tensors = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.shape.as_slice(), values(entry)));
    let tensors = f32_bytes(tensors).map_err(|source| Error::Corrupt {
        path: dir.join(WEIGHTS_FILE),
        source,
    })?;
    Directory::write(dir, config, &tensors)
}

fn initialised(name: &str) -> String {
    format!("{name}, initialised (not trained)")
}

/// The values of one tensor of an AstroMAE.
fn values(entry: &TensorEntry, config: &Config, salt: &str) -> Vec<f32> {
    fixed_table(&entry.name, config).unwrap_or_else(|| by_rule(entry, salt))
}

/// The values of one tensor that follow from its name.
fn by_rule(entry: &TensorEntry, salt: &str) -> Vec<f32> {
    let name = entry.name.as_str();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let inputs: usize = entry.shape.iter().skip(1).product();
    let (offset, scale) = if ends(&["running_var"]) {
        (1.0, 0.5) // 0.5 + u
    } else if ends(&["running_mean", "bias"]) {
        (0.0, 0.1)
    } else if ends(&[
        "norm1.weight",
        "norm2.weight",
        "fc_norm.weight",
        "backbone.norm.weight",
        "layernorm.weight",
        "bn.weight",
        "PCM.1.weight",
        "gamma",
    ]) {
        (1.0, 0.1)
    } else if name == "cls_token" || UNUSED.contains(&name) || ends(&["attention.query"]) {
        (0.0, 0.02)
    } else {
        (0.0, (3.0 / inputs as f64).sqrt())
    };
    let uniform = Uniform::new(&format!("{salt}{name}"));
    let elements: usize = entry.shape.iter().product();
    (0..elements)
        .map(|i| (offset + scale * uniform.s(i)) as f32)
        .collect()
}

/// The table of positions, which no training changes, if `name` is such a table.
pub(crate) fn fixed_table(name: &str, config: &Config) -> Option<Vec<f32>> {
    let width = match (name, &config.decoder) {
        ("pos_embed", _) => config.encoder.width,
        ("decoder_pos_embed", Some(decoder)) => decoder.width,
        _ => return None,
    };
    Some(position_table(width, config.grid()))
}

/// A sequence of random numbers that follows from a name.
#[derive(Debug, Clone, Copy)]
pub struct Uniform(u64);

impl Uniform {
    /// Makes the sequence of `name`.
    ///
    /// ```
    /// let cls_token = hubbleflow_models::init::Uniform::new("cls_token");
    /// assert_eq!(cls_token.u(0), 0.48858875036239624);
    /// ```
    pub fn new(name: &str) -> Self {
        let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a))
    }

    /// Returns element `i`, in `[0, 1)`.
    pub fn u(self, i: usize) -> f64 {
        (splitmix64(self.0.wrapping_add(i as u64)) >> 40) as f64 / f64::from(1 << 24)
    }

    /// Returns element `i`, scaled to `[-1, 1)`.
    ///
    /// ```
    /// let sequence = hubbleflow_models::init::Uniform::new("cls_token");
    /// assert_eq!(sequence.s(7), 2.0 * sequence.u(7) - 1.0);
    /// ```
    pub fn s(self, i: usize) -> f64 {
        2.0 * self.u(i) - 1.0
    }
}

fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The fixed table of positions of He et al. 2022 (MAE), `[1 + patch, width]`: a row of zeros for the class token, then for
/// each patch `[sin, cos]` of its column and `[sin, cos]` of its row at `width / 4` frequencies.
fn position_table(width: usize, grid: usize) -> Vec<f32> {
    let quarter = width / 4;
    let frequency = |k: usize| 1.0 / 10_000f64.powf(k as f64 / quarter as f64);
    let mut table = vec![0.0; width];
    for patch in 0..grid * grid {
        for place in [patch % grid, patch / grid] {
            let angles = || (0..quarter).map(|k| place as f64 * frequency(k));
            table.extend(angles().map(|angle| angle.sin() as f32));
            table.extend(angles().map(|angle| angle.cos() as f32));
        }
    }
    table
}

/// Makes a batch of the inputs in `needs` that follows the same rule: a Gaussian galaxy in noise, magnitudes
/// between 15 and 21, embeddings between -1 and 1, and E(B-V) between 0 and 0.2.
///
/// # Errors
/// [`Error::Torch`] if there is not enough memory.
///
/// ```
/// use hubbleflow_models::{Config, init};
/// let inputs = init::inputs(2, &Config::preset("astromae").unwrap().needs())?;
/// assert_eq!(inputs.cutouts.unwrap().size(), [2, 5, 32, 32]);
/// assert_eq!(inputs.mags.unwrap().size(), [2, 5]);
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn inputs(batch: usize, needs: &Needs) -> Result<Inputs, Error> {
    let cutouts = needs.cutouts.as_ref().map(|needs| cutouts(batch, needs));
    let mags = (!needs.mags.is_empty()).then(|| mags(batch, needs.mags.len()));
    let embeddings = needs.embedding_width.map(|width| embeddings(batch, width));
    let ebv = (!needs.dereddening.is_empty()).then(|| ebv(batch));
    Ok(Inputs {
        cutouts: cutouts.transpose()?,
        mags: mags.transpose()?,
        embeddings: embeddings.transpose()?,
        ebv: ebv.transpose()?,
    })
}

fn cutouts(batch: usize, needs: &CutoutNeeds) -> Result<Tensor, TchError> {
    let (noise, amplitude) = (Uniform::new("input.image"), Uniform::new("input.amp"));
    let (bands, px) = (needs.bands.len(), needs.px);
    let (centre, plane) = ((px as f64 - 1.0) / 2.0, px * px);
    let pixel = |i: usize| {
        let (x, y) = ((i % px) as f64 - centre, (i % plane / px) as f64 - centre);
        let galaxy = (-(x * x + y * y) / 18.0).exp();
        (0.3 * noise.s(i) + (1.0 + 4.0 * amplitude.u(i / plane)) * galaxy) as f32
    };
    let pixels: Vec<f32> = (0..batch * bands * plane).map(pixel).collect();
    let shape = [batch, bands, px, px].map(|side| side as i64);
    Tensor::f_from_slice(&pixels)?.f_reshape(shape)
}

fn mags(batch: usize, bands: usize) -> Result<Tensor, TchError> {
    let magnitude = Uniform::new("input.mag");
    let mag = |i| (15.0 + 6.0 * magnitude.u(i)) as f32;
    let mags: Vec<f32> = (0..batch * bands).map(mag).collect();
    Tensor::f_from_slice(&mags)?.f_reshape([batch as i64, bands as i64])
}

fn ebv(batch: usize) -> Result<Tensor, TchError> {
    let ebv = Uniform::new("input.ebv");
    let ebv: Vec<f32> = (0..batch).map(|i| 0.2 * ebv.u(i) as f32).collect();
    Tensor::f_from_slice(&ebv)
}

fn embeddings(batch: usize, width: usize) -> Result<Tensor, TchError> {
    let component = Uniform::new("input.embedding");
    let components: Vec<f32> = (0..batch * width).map(|i| component.s(i) as f32).collect();
    Tensor::f_from_slice(&components)?.f_reshape([batch as i64, width as i64])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_documented_one() {
        let cls_token = Uniform::new("cls_token");
        let begins = [0.48858875036239624, 0.641545832157135, 0.8985251188278198];
        assert_eq!([0, 1, 2].map(|i| cls_token.u(i)), begins);
    }

    #[test]
    fn running_var_is_one_half_plus_u() {
        let config = Config::preset("astromae-tiny").expect("invariant: a preset");
        let name = "blocks.0.PCM.1.running_var";
        let entry = layout(&config)
            .into_iter()
            .find(|entry| entry.name == name)
            .expect(name);
        let u = Uniform::new(name);
        for (i, value) in values(&entry, &config, "").into_iter().enumerate() {
            assert_eq!(value, (0.5 + u.u(i)) as f32);
        }
    }

    #[test]
    fn positions_begin_with_zeros_and_the_first_patch_is_sin_0_cos_0() {
        let table = position_table(8, 2);
        assert_eq!(table.len(), 5 * 8);
        assert_eq!(table[..8], [0.0; 8]);
        assert_eq!(table[8..16], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        // The second patch is one column to the right, in the same row.
        assert_eq!(table[16], 1f64.sin() as f32);
        assert_eq!(table[20..24], [0.0, 0.0, 1.0, 1.0]);
    }
}
