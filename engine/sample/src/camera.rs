//! The camera of a survey telescope: PSF, sky and noise like those of the SDSS (Gunn et al. 1998).
//!
//! | | u | g | r | i | z |
//! |---|---|---|---|---|---|
//! | PSF, median FWHM in arcsec | 1.39 | 1.23 | 1.20 | 1.13 | 1.08 |
//! | resulting sky rms, nanomaggies per pixel | 0.048 | 0.018 | 0.029 | 0.046 | 0.173 |
//!
//! A cutout is `[band, y, x]` in nanomaggies per pixel, with the sky subtracted. A little of the sky is left.

mod conditions;

use crate::bands::{BANDS, SampleBands};
use crate::covariance::{Covariance, Position};
use crate::noise::{NORMALS, Normals, resampled, white_pixels};
use crate::profile::Component;
use crate::render::add_gaussian;
use rand::Rng;

pub use conditions::{BandConditions, draw_conditions};

/// Side of a pixel in arcsec.
pub const PIXEL_ARCSEC: f64 = 0.396;

/// Galactic extinction in ugriz in mag, for a reddening E(B-V) of 1 (Schlafly and Finkbeiner 2011).
const EXTINCTION_PER_REDDENING: [f64; BANDS] = [4.239, 3.303, 2.285, 1.698, 1.263];

/// The PSF: a core, and wings about twice as wide with a third of the light.
const PSF: [Component; 2] = [
    Component {
        weight: 0.65,
        sigma: 1.0,
    },
    Component {
        weight: 0.35,
        sigma: 2.1,
    },
];

/// FWHM of the PSF in standard deviations of its core.
const FWHM_PER_SIGMA: f64 = 2.4969;

/// Gaussians with a variance below this share of the variance of the PSF are drawn as one Gaussian.
const MERGED_VARIANCE: f64 = 0.08;

/// For Gaussians with a variance above this multiple of the variance of the core of the PSF, along both axes, the whole PSF
/// is replaced by one Gaussian. The error is 2.7 divided by the square of this value: 0.15% of their peak.
const WHOLE_PSF_VARIANCE: f64 = 42.0;

/// One band of the camera.
#[derive(Debug, Clone, Copy)]
struct Detector {
    psf_fwhm_arcsec: f64,
    gain_electrons_per_dn: f64,
    dark_variance_dn2: f64,
    flux_nmgy_per_dn: f64,
    sky_mag_per_arcsec2: f64,
}

const fn detector(fwhm: f64, gain: f64, dark: f64, flux_per_dn: f64, sky: f64) -> Detector {
    Detector {
        psf_fwhm_arcsec: fwhm,
        gain_electrons_per_dn: gain,
        dark_variance_dn2: dark,
        flux_nmgy_per_dn: flux_per_dn,
        sky_mag_per_arcsec2: sky,
    }
}

const DETECTORS: [Detector; BANDS] = [
    detector(1.39, 1.6, 10.0, 0.0101, 22.15),
    detector(1.23, 3.8, 4.0, 0.0038, 21.85),
    detector(1.20, 4.7, 2.0, 0.0050, 20.85),
    detector(1.13, 5.2, 6.0, 0.0068, 20.2),
    detector(1.08, 4.7, 2.0, 0.0330, 19.05),
];

impl Detector {
    /// Standard deviation of the core of the PSF in px, for a seeing of `seeing` times the usual seeing.
    fn psf_sigma_px(&self, seeing: f64) -> f64 {
        seeing * self.psf_fwhm_arcsec / FWHM_PER_SIGMA / PIXEL_ARCSEC
    }

    /// `[a, b]` of the variance of a pixel, `a + b * flux`, in nanomaggies².
    fn variance_nmgy2(&self) -> [f32; 2] {
        let sky_nmgy = flux_nmgy(self.sky_mag_per_arcsec2) * PIXEL_ARCSEC * PIXEL_ARCSEC;
        let per_flux = self.flux_nmgy_per_dn / self.gain_electrons_per_dn;
        let dark = self.dark_variance_dn2 * self.flux_nmgy_per_dn.powi(2);
        [(sky_nmgy * per_flux + dark) as f32, per_flux as f32]
    }

    /// Adds noise and the rest of the sky to the pixels of a plane. This takes [`draws`] draws.
    fn add_noise(
        &self,
        pixels: &mut [f32],
        side_px: usize,
        conditions: &BandConditions,
        normals: &mut Normals,
    ) {
        let [constant, per_flux] = self.variance_nmgy2();
        let sky_nmgy = conditions.sky_left as f32 * constant.sqrt();
        let noise = match conditions.resampled_by {
            Some(shift) => resampled(normals, side_px, shift),
            None => normals.white(pixels.len()),
        };
        for (pixel, noise) in pixels.iter_mut().zip(noise) {
            *pixel += (constant + per_flux * *pixel).sqrt() * noise + sky_nmgy;
        }
    }
}

/// The number of draws that the noise of a plane takes.
fn draws(side_px: usize, conditions: &BandConditions) -> usize {
    let pixels = match conditions.resampled_by {
        Some(_) => white_pixels(side_px),
        None => side_px * side_px,
    };
    pixels / NORMALS + 1
}

/// The flux of an AB magnitude in nanomaggies.
pub fn flux_nmgy(mag: f64) -> f64 {
    10f64.powf(-0.4 * (mag - 22.5))
}

/// Fluxes of extinction-corrected magnitudes behind dust with a `reddening` E(B-V), in nanomaggies.
pub fn dimmed_fluxes_nmgy(mags: &[f64; BANDS], reddening: f64) -> [f64; BANDS] {
    std::array::from_fn(|band| flux_nmgy(mags[band] + EXTINCTION_PER_REDDENING[band] * reddening))
}

/// A sum of Gaussians with the same centre and shape.
#[derive(Debug, Clone, Copy)]
pub struct LightSource {
    /// Offset from the centre of the frame.
    pub offset: Position,
    /// The Gaussians from narrow to wide, in units of `scale_px`.
    pub profile: &'static [Component],
    /// Unit of the profile along the major axis, in px.
    pub scale_px: f64,
    /// The shape, with variance 1 along the major axis.
    pub shape: Covariance,
    /// Flux in ugriz, in nanomaggies.
    pub fluxes_nmgy: [f64; BANDS],
}

/// Adds the sources, convolved with the PSF, to `cutout` (`[band, y, x]`).
pub fn expose(
    sources: &[LightSource],
    conditions: &[BandConditions; BANDS],
    bands: &SampleBands,
    side_px: usize,
    cutout: &mut [f32],
) {
    let middle_px = (side_px as f64 - 1.0) / 2.0;
    let planes = cutout.chunks_exact_mut(side_px * side_px);
    for (pixels, band) in planes.zip(bands.iter()) {
        let BandConditions {
            seeing,
            displacement,
            ..
        } = conditions[band];
        let psf_px2 = DETECTORS[band].psf_sigma_px(seeing).powi(2);
        for source in sources {
            let at = Position {
                x_px: middle_px + source.offset.x_px + displacement.x_px,
                y_px: middle_px + source.offset.y_px + displacement.y_px,
            };
            let flux_nmgy = source.fluxes_nmgy[band];
            if flux_nmgy == 0.0 {
                continue;
            }
            for (weight, covariance) in seen(source, psf_px2) {
                add_gaussian(pixels, side_px, at, covariance, flux_nmgy * weight);
            }
        }
    }
}

/// Weights and covariances of the Gaussians of a source, convolved with the PSF. `psf_px2` is the variance of its core.
fn seen(source: &LightSource, psf_px2: f64) -> impl Iterator<Item = (f64, Covariance)> {
    // The variance along the major axis is 1, so the determinant is the variance along the minor axis.
    let minor = source.shape.determinant() * source.scale_px * source.scale_px;
    let is_compact = |it: &Component| minor * it.sigma * it.sigma < WHOLE_PSF_VARIANCE * psf_px2;
    let (compact, wide) = source
        .profile
        .split_at(source.profile.partition_point(is_compact));
    let through = move |components, psf: Component| {
        let blur_px2 = psf_px2 * psf.sigma * psf.sigma;
        distinct(components, source.scale_px, blur_px2).map(move |(weight, variance_px2)| {
            let covariance = source.shape.scaled_and_blurred(variance_px2, blur_px2);
            (weight * psf.weight, covariance)
        })
    };
    let by_psf = PSF.iter().flat_map(move |&psf| through(compact, psf));
    by_psf.chain(through(wide, whole_psf()))
}

/// The PSF as one Gaussian with the same second moment.
fn whole_psf() -> Component {
    let variance: f64 = PSF.iter().map(|it| it.weight * it.sigma * it.sigma).sum();
    Component {
        weight: 1.0,
        sigma: variance.sqrt(),
    }
}

/// Weights and variances of components. Components much narrower than the blur are merged.
///
/// The merged Gaussian has the same second moment. Its relative error is about the square of [`MERGED_VARIANCE`].
fn distinct(
    components: &[Component],
    scale_px: f64,
    blur_px2: f64,
) -> impl Iterator<Item = (f64, f64)> {
    let variance_px2 = move |it: &Component| (scale_px * it.sigma).powi(2);
    // Components are sorted from narrow to wide.
    let is_narrow = |component: &Component| variance_px2(component) < MERGED_VARIANCE * blur_px2;
    let (merged, wide) = components.split_at(components.partition_point(is_narrow));
    let weight: f64 = merged.iter().map(|it| it.weight).sum();
    let moment: f64 = merged.iter().map(|it| it.weight * variance_px2(it)).sum();
    let one = (weight > 0.0).then(|| (weight, moment / weight));
    let wide = wide.iter();
    one.into_iter()
        .chain(wide.map(move |it| (it.weight, variance_px2(it))))
}

/// Adds the noise of photons, sky and detector, and the rest of the sky, to `cutout` (`[band, y, x]`).
///
/// The deviates are always those of a cutout in ugriz, so the noise of a band does not depend on the other bands.
pub fn add_noise(
    cutout: &mut [f32],
    conditions: &[BandConditions; BANDS],
    bands: &SampleBands,
    side_px: usize,
    rng: &mut impl Rng,
) {
    let mut normals = Normals::new(rng);
    let plane_px = side_px * side_px;
    for band in 0..=bands.reddest() {
        let conditions = &conditions[band];
        match bands.plane(band) {
            Some(plane) => {
                let pixels = &mut cutout[plane * plane_px..][..plane_px];
                DETECTORS[band].add_noise(pixels, side_px, conditions, &mut normals);
            }
            None => normals.skip(draws(side_px, conditions)),
        }
    }
}

#[cfg(test)]
mod tests;
