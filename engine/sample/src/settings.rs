//! The settings of a sample survey.
use std::{ops::RangeInclusive, path::PathBuf};

use crate::{bands::SampleBands, error::SampleError, parent_split::ParentSplit, render};

/// The settings of a sample survey. The defaults are those of the command line.
///
/// ```
/// use hubbleflow_sample::SampleSettings;
///
/// let settings = SampleSettings { galaxies: 300, drops: 1, ..SampleSettings::default() };
/// assert_eq!(settings.px, 64);
/// ```
#[derive(Debug, Clone)]
pub struct SampleSettings {
    /// Number of objects in all drops with cutouts.
    pub galaxies: u64,
    /// Number of drops with cutouts.
    pub drops: u64,
    /// Seed of all random numbers. The same seed gives the same bytes.
    pub seed: u64,
    /// Side of a cutout in pixels of 0.396 arcsec.
    pub px: usize,
    /// The bands of cutouts and magnitudes, in their order. A band has the same galaxies, magnitudes and pixels whatever the
    /// other bands are.
    pub bands: SampleBands,
    /// The real galaxies to draw from.
    pub parents: ParentSplit,
    /// A table of real galaxies, instead of the bundled table: a line `#zs u g r i z`, then a line for each galaxy.
    pub photometry: Option<PathBuf>,
    /// Errors of the magnitudes in units of the SDSS's own. 0 gives the magnitudes that the cutouts are rendered from.
    pub mag_noise: f64,
    /// Share of a drop's rows, from the second drop on, that correct an object of an earlier drop.
    pub corrections: f64,
    /// Share of a drop's rows, from the second drop on, that withdraw an object of an earlier drop.
    pub withdrawals: f64,
    /// Share of the rows that have a fault and must be rejected.
    pub bad_rows: f64,
    /// Share of the objects that have no spec-z in the drops with cutouts.
    pub without_spec_z: f64,
    /// Number of further drops that have only spec-z: for the objects without spec-z, or for a tenth of all objects if every
    /// object has a spec-z.
    pub specz_drops: u64,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self {
            galaxies: 4_000,
            drops: 3,
            seed: 1,
            px: 64,
            bands: SampleBands::default(),
            parents: ParentSplit::All,
            photometry: None,
            mag_noise: 1.0,
            corrections: 0.01,
            withdrawals: 0.0,
            bad_rows: 0.001,
            without_spec_z: 0.0,
            specz_drops: 0,
        }
    }
}

impl SampleSettings {
    /// The sides of a cutout that can be rendered, in pixels.
    pub const PX: RangeInclusive<usize> = render::STRIP_PX..=2_048;

    /// The errors of the magnitudes that a survey may have, in units of the SDSS's own.
    pub const MAG_NOISE: RangeInclusive<f64> = 0.0..=100.0;

    /// Refuses impossible settings.
    pub(crate) fn check(&self) -> Result<(), SampleError> {
        let refuse = |message: String| Err(SampleError::Arguments(message));
        if self.drops == 0 || self.galaxies < self.drops {
            return refuse(format!(
                "{} galaxies cannot fill {} drops: every drop needs one",
                self.galaxies, self.drops
            ));
        }
        if self.galaxies > 1 << 40 || self.drops + self.specz_drops > 9_999 {
            return refuse("a survey has at most 2^40 galaxies and 9,999 drops".into());
        }
        if !Self::PX.contains(&self.px) {
            let (least, most) = (Self::PX.start(), Self::PX.end());
            return refuse(format!(
                "--px {}: a side is {least} to {most} pixels",
                self.px
            ));
        }
        if !Self::MAG_NOISE.contains(&self.mag_noise) {
            let (noise, most) = (self.mag_noise, Self::MAG_NOISE.end());
            return refuse(format!(
                "--mag-noise {noise}: give a number from 0 to {most}"
            ));
        }
        for (flag, share) in [
            ("--corrections", self.corrections),
            ("--withdrawals", self.withdrawals),
            ("--bad-rows", self.bad_rows),
            ("--without-spec-z", self.without_spec_z),
            (
                "--corrections and --withdrawals together",
                self.corrections + self.withdrawals,
            ),
        ] {
            let is_all_of_a_drop = share == 1.0 && flag != "--without-spec-z";
            if !(0.0..=1.0).contains(&share) || is_all_of_a_drop {
                return refuse(format!(
                    "{flag}: {share} is not a share; give a number from 0 to below 1"
                ));
            }
        }
        Ok(())
    }
}
