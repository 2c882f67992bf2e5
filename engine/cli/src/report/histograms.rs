//! What the plots are made of: counts in fine bins, of fixed number whatever the catalog's size.
use std::collections::BTreeMap;

use operators::{
    metrics::{Distribution, INTERVALS, dz},
    score::CommittedRow,
};

/// Width of the bins of redshifts.
pub const Z_BIN: f64 = 0.005;
/// Redshifts beyond are counted in the last bin.
const Z_MAX: f64 = 10.0;
/// Width of the slices of z_spec in which the errors are shown.
pub const Z_SLICE: f64 = 0.02;
/// Width of the slices of magnitude.
pub const MAG_SLICE: f64 = 0.25;
/// Width of the slices of magnitude that have a calibration.
pub const MAG_BIN: f64 = 0.5;
/// Width of the bins of dz; those beyond the limit are counted in the last bin.
const DZ_BIN: f64 = 0.0002;
const DZ_MAX: f64 = 2.0;

/// Counts by bin.
pub type Counts = BTreeMap<i32, u64>;

/// Counts of the scored objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histograms {
    /// By bins of z_spec and of z_phot.
    pub density: BTreeMap<(i32, i32), u64>,
    /// By slices of z_spec: dz.
    pub dz_by_z_spec: BTreeMap<i32, Counts>,
    /// By slices of the magnitude in the reference band: dz.
    pub dz_by_mag: BTreeMap<i32, Counts>,
    /// By bins of redshift: the objects that are expected there, by their distributions.
    pub expected: BTreeMap<i32, f64>,
    /// By bins of the magnitude: half the width of the model's interval of 68%, in units of 1 + z_phot, in bins of dz.
    pub half_width_by_mag: BTreeMap<i32, Counts>,
}

impl Histograms {
    /// Counts an object that has both redshifts; any other is left out.
    pub fn add(&mut self, row: &CommittedRow, distribution: Option<Distribution<'_>>) {
        let Some((z_phot, z_spec)) = row.redshifts() else {
            return;
        };
        *self
            .density
            .entry((z_bin(z_spec), z_bin(z_phot)))
            .or_default() += 1;
        let error = (dz(z_phot, z_spec).clamp(-DZ_MAX, DZ_MAX) / DZ_BIN).round() as i32;
        let slice = bin(f64::from(z_spec).min(Z_MAX), Z_SLICE);
        *self
            .dz_by_z_spec
            .entry(slice)
            .or_default()
            .entry(error)
            .or_default() += 1;
        if let Some(mag) = row.mag() {
            let slice = bin(f64::from(mag), MAG_SLICE);
            *self
                .dz_by_mag
                .entry(slice)
                .or_default()
                .entry(error)
                .or_default() += 1;
        }
        if let Some(distribution) = distribution {
            self.add_distribution(row, z_phot, distribution);
        }
    }

    fn add_distribution(&mut self, row: &CommittedRow, z_phot: f32, of: Distribution<'_>) {
        let [of_68, _] = INTERVALS;
        if let (Some([low, high]), Some(mag)) = (of.interval(of_68), row.mag()) {
            let half_width = (high - low) / 2.0 / (1.0 + z_phot);
            let width_bin = (f64::from(half_width).min(DZ_MAX) / DZ_BIN).round() as i32;
            let of_mag = self.half_width_by_mag.entry(bin(f64::from(mag), MAG_BIN));
            *of_mag.or_default().entry(width_bin).or_default() += 1;
        }
        if of.is_whole {
            for (bin, probability) in probabilities(of) {
                *self.expected.entry(bin).or_default() += probability;
            }
        }
    }

    /// The counts of one of the two redshifts.
    pub fn redshifts(&self, of: impl Fn(&(i32, i32)) -> i32) -> Counts {
        let mut counts = Counts::new();
        for (bins, count) in &self.density {
            *counts.entry(of(bins)).or_default() += count;
        }
        counts
    }
}

/// The probability that a distribution gives to each bin of redshift. The probabilities add up to 1: what lies beyond the
/// outermost quantiles is in their bins.
fn probabilities(of: Distribution<'_>) -> impl Iterator<Item = (i32, f64)> {
    let ends = [of.quantiles.first(), of.quantiles.last()];
    let [first, last] = ends.map(|z| z_bin(z.copied().unwrap_or_default()));
    let mut before = 0.0;
    (first..=last).map(move |bin| {
        let up_to = match bin == last {
            true => 1.0,
            false => of.pit((f64::from(bin + 1) * Z_BIN) as f32),
        };
        (bin, up_to - std::mem::replace(&mut before, up_to))
    })
}

/// The bin of a redshift.
fn z_bin(z: f32) -> i32 {
    bin(f64::from(z).clamp(-Z_MAX, Z_MAX), Z_BIN)
}

/// The bin of a value, a hair above its lower edge counting as in it.
fn bin(value: f64, width: f64) -> i32 {
    (value / width + 1e-6).floor() as i32
}

/// The dz below which a part of a slice lies.
pub fn quantile(counts: &Counts, part: f64) -> f64 {
    let wanted = part * counts.values().sum::<u64>() as f64;
    let mut seen = 0.0;
    for (&step, &count) in counts {
        seen += count as f64;
        if seen >= wanted {
            return f64::from(step) * DZ_BIN;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_spread_over_the_bins_of_its_quantiles() {
        let of = |levels, quantiles| {
            let is_whole = true;
            let spread = Distribution {
                levels,
                quantiles,
                is_whole,
            };
            probabilities(spread).collect::<Vec<_>>()
        };
        // The line through the quantiles rises by 0.2 in each bin of 0.005. A tenth lies beyond either end.
        let spread = of(&[0.1, 0.5, 0.9], &[0.1, 0.11, 0.12]);
        let expected = [0.3, 0.2, 0.2, 0.2, 0.1];
        assert_eq!(spread.len(), expected.len());
        for ((bin, found), (place, expected)) in spread.into_iter().zip((20..).zip(expected)) {
            assert_eq!(bin, place);
            assert!((found - expected).abs() < 1e-5, "{bin}: {found}");
        }
        assert_eq!(of(&[0.1, 0.9], &[0.2, 0.2]), [(40, 1.0)]);
        let far: f64 = of(&[0.1, 0.9], &[-20.0, 20.0]).iter().map(|of| of.1).sum();
        assert!((far - 1.0).abs() < 1e-9, "{far}");
    }
}
