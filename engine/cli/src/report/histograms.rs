//! What the plots are made of: counts in fine bins, of fixed number whatever the catalog's size.
use std::collections::BTreeMap;

use operators::{metrics::dz, score::CommittedRow};

/// Width of the bins of redshifts.
pub const Z_BIN: f64 = 0.005;
/// Redshifts beyond are counted in the last bin.
const Z_MAX: f64 = 10.0;
/// Width of the slices of z_spec in which the errors are shown.
pub const Z_SLICE: f64 = 0.02;
/// Width of the slices of magnitude.
pub const MAG_SLICE: f64 = 0.25;
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
}

impl Histograms {
    /// Counts an object that has both redshifts; any other is left out.
    pub fn add(&mut self, row: &CommittedRow) {
        let Some((z_phot, z_spec)) = row.redshifts() else {
            return;
        };
        let z_bin = |z: f32| bin(f64::from(z).clamp(-Z_MAX, Z_MAX), Z_BIN);
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
