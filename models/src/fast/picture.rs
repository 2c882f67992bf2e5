//! From cutouts to the pictures that AstroCLIP has learned from: colours in 0 to 1, as the Legacy Survey's viewer shows
//! them.
//!
//! Each band has a place among the planes of a picture and a scale. A stretch by asinh of the mean of all bands keeps
//! colours (Lupton et al. 2004, [arXiv:astro-ph/0312483]).
//!
//! [arXiv:astro-ph/0312483]: https://arxiv.org/abs/astro-ph/0312483

use tch::{Device, Kind, TchError, Tensor};

use super::weight::Weight;
use crate::config::PICTURE_BANDS;

/// The number of planes of a picture.
const PLANES: usize = 3;
/// The number that is added to a scaled flux.
const OFFSET: f64 = 0.03;
/// The strength of the stretch.
const Q: f64 = 20.0;

/// The colours of the bands of a configuration.
#[derive(Debug, Clone)]
pub(super) struct Colours {
    /// `[band, 1, 1]`.
    scales: Weight,
    /// For each plane of a picture the number of its band.
    planes: [Option<i64>; PLANES],
}

impl Colours {
    /// The colours of bands that a configuration has checked.
    ///
    /// # Panics
    /// If a band is unknown.
    pub(super) fn new(bands: &[String], device: Device) -> Result<Self, TchError> {
        let mut planes = [None; PLANES];
        let mut scales = Vec::new();
        for (n, band) in bands.iter().enumerate() {
            let (_, plane, scale) = PICTURE_BANDS
                .into_iter()
                .find(|(name, ..)| name == band)
                .expect("invariant: the configuration admits known bands alone");
            planes[plane] = Some(n as i64);
            scales.push(scale);
        }
        let scales = Tensor::f_from_slice(&scales)?.f_view([-1, 1, 1])?;
        Ok(Self {
            scales: Weight(scales.f_to_device(device)?),
            planes,
        })
    }

    /// `[batch, band, y, x]` of nanomaggies `-> [batch, 3, y, x]` of 0 to 1, in the order z, r, g.
    pub(super) fn picture(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let scaled = cutouts.f_mul(&self.scales)?.f_add_scalar(OFFSET)?;
        let mean = scaled.f_clamp_min(0.0)?;
        let mean = mean.f_mean_dim([1i64].as_slice(), true, None)?;
        let stretched = mean.f_mul_scalar(Q)?.f_asinh()?.f_div_scalar(Q.sqrt())?;
        // Where there is no light, the ratio is of two zeros.
        let dark = mean.f_eq(0.0)?.f_to_kind(Kind::Float)?;
        let mean = mean.f_add(&dark.f_mul_scalar(1e-6)?)?;
        let coloured = scaled.f_mul(&stretched)?.f_div(&mean)?.f_clamp(0.0, 1.0)?;
        let plane = |band: &Option<i64>| match band {
            Some(band) => coloured.f_select(1, *band),
            None => coloured.f_select(1, 0)?.f_zeros_like(),
        };
        let planes = self.planes.iter().map(plane);
        Tensor::f_stack(&planes.collect::<Result<Vec<_>, _>>()?, 1)
    }
}
