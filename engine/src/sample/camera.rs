//! How a survey telescope sees a scene: PSF, sky and noise, after those of the SDSS.
//!
//! | | u | g | r | i | z |
//! |---|---|---|---|---|---|
//! | PSF, FWHM in arcsec | 1.53 | 1.44 | 1.32 | 1.26 | 1.29 |
//! | sky rms that results, nanomaggies a pixel | 0.048 | 0.018 | 0.029 | 0.046 | 0.173 |
//!
//! A cutout is `[band, y, x]` in nanomaggies a pixel, the sky taken off; noise is not correlated.

use super::noise::{NORMALS, Normals};
use super::profile::Component;
use super::render::{Covariance, Position, add_gaussian};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Side of a pixel.
pub const PIXEL_ARCSEC: f64 = 0.396;

/// Bands of a cutout: ugriz.
pub const BANDS: usize = 5;

/// Galactic extinction in ugriz for a reddening of one.
const EXTINCTION_PER_REDDENING: [f64; BANDS] = [4.239, 3.303, 2.285, 1.698, 1.263];

/// The PSF: a core with nine tenths of the light, and three times as wide a halo.
const PSF: [Component; 2] = [
    Component {
        weight: 0.9,
        sigma: 1.0,
    },
    Component {
        weight: 0.1,
        sigma: 3.0,
    },
];

/// Seeing varies by this share from night to night, in all bands together.
const SEEING_SCATTER: f64 = 0.09;

/// Gaussians whose variance is below this share of the PSF's are drawn as one.
const MERGED_VARIANCE: f64 = 0.08;

/// Gaussians whose variance is above so many times that of the core of the PSF, along both axes, are
/// smeared by all of the PSF as by one Gaussian: to 6 over the square of this, 0.16% of their peak.
const WHOLE_PSF_VARIANCE: f64 = 60.0;

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
    detector(1.53, 1.6, 10.0, 0.0101, 22.15),
    detector(1.44, 3.8, 4.0, 0.0038, 21.85),
    detector(1.32, 4.7, 2.0, 0.0050, 20.85),
    detector(1.26, 5.2, 6.0, 0.0068, 20.2),
    detector(1.29, 4.7, 2.0, 0.0330, 19.05),
];

impl Detector {
    /// Standard deviation of the core of the PSF, in seeing that is `seeing` times the usual.
    fn psf_sigma_px(&self, seeing: f64) -> f64 {
        const FWHM_PER_SIGMA: f64 = 2.354_820_045;
        seeing * self.psf_fwhm_arcsec / FWHM_PER_SIGMA / PIXEL_ARCSEC
    }

    /// Variance of a pixel, in nanomaggies², as `a + b * flux`: `[a, b]`.
    fn variance_nmgy2(&self) -> [f32; 2] {
        let sky_nmgy = flux_nmgy(self.sky_mag_per_arcsec2) * PIXEL_ARCSEC * PIXEL_ARCSEC;
        let per_flux = self.flux_nmgy_per_dn / self.gain_electrons_per_dn;
        let dark = self.dark_variance_dn2 * self.flux_nmgy_per_dn.powi(2);
        [(sky_nmgy * per_flux + dark) as f32, per_flux as f32]
    }
}

/// The flux of an AB magnitude, in nanomaggies.
pub fn flux_nmgy(mag: f64) -> f64 {
    10f64.powf(-0.4 * (mag - 22.5))
}

/// Fluxes of extinction-corrected magnitudes behind dust of `reddening` E(B-V), in nanomaggies.
pub fn dimmed_fluxes_nmgy(mags: &[f64; BANDS], reddening: f64) -> [f64; BANDS] {
    std::array::from_fn(|band| flux_nmgy(mags[band] + EXTINCTION_PER_REDDENING[band] * reddening))
}

/// A sum of Gaussians of one shape, somewhere in the scene.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Where, from the centre of the frame.
    pub offset: Position,
    /// The Gaussians from narrow to wide, in units of `scale_px`.
    pub profile: &'static [Component],
    /// Unit of the profile along the major axis.
    pub scale_px: f64,
    /// The shape, of unit variance along the major axis.
    pub shape: Covariance,
    /// Flux in ugriz.
    pub fluxes_nmgy: [f64; BANDS],
}

/// The seeing of a night, relative to the usual.
pub fn draw_seeing(rng: &mut impl Rng) -> f64 {
    let scatter: f64 = StandardNormal.sample(rng);
    (1.0 + SEEING_SCATTER * scatter).clamp(0.6, 1.6)
}

/// Draws the sources into `cutout` (`[band, y, x]`, zeros at first) as the PSF smears them.
pub fn expose(sources: &[Source], seeing: f64, side_px: usize, cutout: &mut [f32]) {
    let middle_px = (side_px as f64 - 1.0) / 2.0;
    let bands = cutout.chunks_exact_mut(side_px * side_px);
    for (band, (pixels, detector)) in bands.zip(&DETECTORS).enumerate() {
        let psf_px2 = detector.psf_sigma_px(seeing).powi(2);
        for source in sources {
            let at = Position {
                x_px: middle_px + source.offset.x_px,
                y_px: middle_px + source.offset.y_px,
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

/// Weights and covariances of a source's Gaussians as the PSF smears them, whose core has the
/// variance `psf_px2`.
fn seen(source: &Source, psf_px2: f64) -> impl Iterator<Item = (f64, Covariance)> {
    // The variance along the major axis is one, so that this is the variance along the minor one.
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

/// The PSF as one Gaussian of the same second moment.
fn whole_psf() -> Component {
    let variance: f64 = PSF.iter().map(|it| it.weight * it.sigma * it.sigma).sum();
    Component {
        weight: 1.0,
        sigma: variance.sqrt(),
    }
}

/// Weights and variances of components, those far narrower than the blur merged into one.
///
/// The one has their second moment; what it lacks is of the order of the square of
/// [`MERGED_VARIANCE`].
fn distinct(
    components: &[Component],
    scale_px: f64,
    blur_px2: f64,
) -> impl Iterator<Item = (f64, f64)> {
    let variance_px2 = move |it: &Component| (scale_px * it.sigma).powi(2);
    // Components come from narrow to wide.
    let is_narrow = |component: &Component| variance_px2(component) < MERGED_VARIANCE * blur_px2;
    let (merged, wide) = components.split_at(components.partition_point(is_narrow));
    let weight: f64 = merged.iter().map(|it| it.weight).sum();
    let moment: f64 = merged.iter().map(|it| it.weight * variance_px2(it)).sum();
    let one = (weight > 0.0).then(|| (weight, moment / weight));
    let wide = wide.iter();
    one.into_iter()
        .chain(wide.map(move |it| (it.weight, variance_px2(it))))
}

/// Adds the noise of photons, sky and detector to `cutout` (`[band, y, x]`).
pub fn add_noise(cutout: &mut [f32], side_px: usize, rng: &mut impl Rng) {
    let mut normals = Normals::new(rng);
    let bands = cutout.chunks_exact_mut(side_px * side_px);
    for (pixels, detector) in bands.zip(&DETECTORS) {
        let [constant, per_flux] = detector.variance_nmgy2();
        let (runs, rest) = pixels.as_chunks_mut::<NORMALS>();
        for run in runs {
            for (pixel, noise) in run.iter_mut().zip(normals.draw()) {
                *pixel += (constant + per_flux * *pixel).sqrt() * noise;
            }
        }
        for (pixel, noise) in rest.iter_mut().zip(normals.draw()) {
            *pixel += (constant + per_flux * *pixel).sqrt() * noise;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::streams::{Purpose, stream};
    use super::*;

    #[test]
    fn an_empty_frame_has_the_sky_rms_of_the_survey() {
        let side_px = 64;
        let mut cutout = vec![0.0; BANDS * side_px * side_px];
        add_noise(
            &mut cutout,
            side_px,
            &mut stream(1, Purpose::Observation, 0),
        );
        let bands = cutout.chunks_exact(side_px * side_px);
        for (pixels, wanted) in bands.zip([0.048, 0.018, 0.029, 0.046, 0.173]) {
            let squares: f64 = pixels.iter().map(|&pixel| f64::from(pixel).powi(2)).sum();
            let rms = (squares / pixels.len() as f64).sqrt();
            assert!((rms / wanted - 1.0).abs() < 0.06, "rms {rms}, not {wanted}");
        }
    }

    #[test]
    fn a_star_is_as_wide_as_the_seeing() {
        let side_px = 33;
        const STAR: [Component; 1] = [Component {
            weight: 1.0,
            sigma: 0.0,
        }];
        let star = Source {
            offset: Position {
                x_px: 0.0,
                y_px: 0.0,
            },
            profile: &STAR,
            scale_px: 1.0,
            shape: Covariance::ellipse(1.0, 0.0),
            fluxes_nmgy: [100.0; BANDS],
        };
        let mut cutout = vec![0.0; BANDS * side_px * side_px];
        expose(&[star], 1.0, side_px, &mut cutout);
        let row = &cutout[16 * side_px..17 * side_px];
        // Between the pixel at 1.5 and that at 2.5 from the centre u falls to half its peak.
        let half_width_px = 1.53 / PIXEL_ARCSEC / 2.0;
        assert!(row[16 + half_width_px as usize] > row[16] / 2.0);
        assert!(row[16 + half_width_px as usize + 2] < row[16] / 2.0);
    }
}
