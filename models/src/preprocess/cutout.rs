//! The preprocessing of cutouts.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::transform::{one_each, rounded, transformed};

/// Upper bound on the number of cutouts from which a scale is learned.
const SAMPLE_MAX: i64 = 8192;
/// Upper bound on the extinction for an E(B-V) of 1, above that of any band: GALEX's FUV has 8.
const EXTINCTION_MAX: f64 = 20.0;

/// The preprocessing of the pixels of a cutout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum CutoutPreprocess {
    /// No change: nanomaggies.
    Identity {
        /// For each band, the extinction in magnitudes for an E(B-V) of 1, for which cutouts are corrected first. Empty
        /// if they are taken as they are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dereddening: Vec<f64>,
    },
    /// `asinh(flux / softening) / scale`.
    Asinh {
        /// As that of `Identity`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dereddening: Vec<f64>,
        /// For each band, the flux below which a pixel is noise, in nanomaggies a pixel.
        softening: Vec<f64>,
        /// For each band, the standard deviation after the `asinh`.
        scale: Vec<f64>,
    },
}

impl CutoutPreprocess {
    /// Transforms cutouts that are corrected for dust: `[batch, band, y, x]` in and out, float32.
    pub(crate) fn apply(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        transformed(cutouts, self.tensors()?, asinh)
    }

    /// The slope and the factor that [`asinh`] takes, `[band, 1, 1]` of float32 on the CPU; `None` for the identity.
    pub(crate) fn tensors(&self) -> Result<Option<[Tensor; 2]>, TchError> {
        let Self::Asinh {
            softening, scale, ..
        } = self
        else {
            return Ok(None);
        };
        let by_band = |factors: &[f64]| {
            let factors: Vec<f32> = factors.iter().map(|factor| (1.0 / factor) as f32).collect();
            Tensor::f_from_slice(&factors)?.f_reshape([-1, 1, 1])
        };
        Ok(Some([by_band(softening)?, by_band(scale)?]))
    }

    /// Learns an `asinh` from cutouts, `[batch, band, y, x]` in nanomaggies.
    ///
    /// The softening is the noise of the sky: 1.4826 times the median magnitude of the pixels along the cutouts' edges. Few
    /// of these pixels show neighbours and faint outskirts, so the median ignores them.
    ///
    /// # Errors
    /// An error of libtorch if there is not enough memory.
    ///
    /// ```
    /// use hubbleflow_models::{Config, init, preprocess::CutoutPreprocess};
    /// let needs = Config::preset("astromae").unwrap().needs();
    /// let cutouts = init::inputs(4, &needs)?.cutouts.unwrap();
    /// let learned = CutoutPreprocess::asinh_of(&cutouts)?;
    /// assert!(matches!(learned, CutoutPreprocess::Asinh { softening, .. } if softening[0] > 0.0));
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn asinh_of(cutouts: &Tensor) -> Result<Self, TchError> {
        let cutouts = cutouts.f_narrow(0, 0, cutouts.size()[0].min(SAMPLE_MAX))?;
        let (_, bands, side, _) = cutouts.size4()?;
        let (mut softening, mut scale) = (Vec::new(), Vec::new());
        for band in 0..bands {
            let pixels = cutouts.f_select(1, band)?;
            let edges = [
                pixels.f_select(1, 0)?,
                pixels.f_select(1, side - 1)?,
                pixels.f_select(2, 0)?,
                pixels.f_select(2, side - 1)?,
            ];
            let edge = Tensor::f_cat(&edges, 1)?.f_abs()?.f_median()?;
            let noise = 1.4826 * edge.f_double_value(&[])?;
            let noise = if noise > 0.0 { rounded(noise) } else { 1.0 };
            let relative = pixels.f_mul_scalar(1.0 / noise)?.f_asinh()?;
            let spread = relative.f_std(true)?.f_double_value(&[])?;
            softening.push(noise);
            scale.push(if spread > 0.0 { rounded(spread) } else { 1.0 });
        }
        Ok(Self::Asinh {
            dereddening: Vec::new(),
            softening,
            scale,
        })
    }

    /// The extinction of each band for which cutouts are corrected.
    pub fn dereddening(&self) -> &[f64] {
        let (Self::Identity { dereddening } | Self::Asinh { dereddening, .. }) = self;
        dereddening
    }

    /// The same, of cutouts that are corrected for this extinction first.
    #[must_use]
    pub fn with_dereddening(mut self, extinction: Vec<f64>) -> Self {
        let (Self::Identity { dereddening } | Self::Asinh { dereddening, .. }) = &mut self;
        *dereddening = extinction;
        self
    }

    pub(super) fn validate(&self, bands: usize) -> Result<(), String> {
        let dereddening = self.dereddening();
        if !dereddening.is_empty() {
            let name = "preprocess.cutout.dereddening";
            one_each(name, dereddening.len(), "bands", bands)?;
            if !dereddening
                .iter()
                .all(|a| (0.0..=EXTINCTION_MAX).contains(a))
            {
                return Err(format!(
                    "`{name}`: every number must be from 0 to {EXTINCTION_MAX}, magnitudes for an E(B-V) of 1"
                ));
            }
        }
        let Self::Asinh {
            softening, scale, ..
        } = self
        else {
            return Ok(());
        };
        for (name, values) in [("softening", softening), ("scale", scale)] {
            let name = format!("preprocess.cutout.{name}");
            one_each(&name, values.len(), "bands", bands)?;
            if !values.iter().all(|v| v.is_finite() && *v > 0.0) {
                return Err(format!("`{name}`: every number must be above 0"));
            }
        }
        Ok(())
    }
}

/// `asinh(slope x) factor`.
pub(crate) fn asinh(x: &Tensor, slope: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    x.f_mul(slope)?.f_asinh_()?.f_mul(factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_softening_is_the_noise_of_the_edges() {
        tch::manual_seed(2);
        let noise = Tensor::randn([300, 5, 16, 16], (Kind::Float, Device::Cpu)) * 0.3;
        // A galaxy in the middle, which does not reach the edges.
        let _ = noise.narrow(2, 6, 4).narrow(3, 6, 4).fill_(50.0);
        let learned = CutoutPreprocess::asinh_of(&noise).unwrap();
        let CutoutPreprocess::Asinh { softening, .. } = &learned else {
            panic!("{learned:?}");
        };
        assert!(
            softening.iter().all(|s| (s - 0.3).abs() < 0.01),
            "{softening:?}"
        );
        let seen = learned.apply(&noise).unwrap();
        let expected = (noise.select(1, 3) / softening[3]).asinh();
        let expected = &expected / expected.std(true);
        let difference = (seen.select(1, 3) - expected).abs().max();
        assert!(difference.double_value(&[]) < 1e-4);
    }
}
