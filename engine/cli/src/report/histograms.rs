//! What the plots are made of: counts in fine bins, of fixed number whatever the catalog's size.
use std::collections::BTreeMap;

use operators::{
    metrics::{Distribution, INTERVALS, Slice, dz},
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
/// Width of the bins of dz; those beyond the limit are counted in the last bin.
const DZ_BIN: f64 = 0.0002;
const DZ_MAX: f64 = 2.0;
/// The parts of an object that its distribution spreads over the bins of redshift. Whole parts add up alike in any order.
pub const PARTS: u64 = 1_000_000_000;

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
    /// The objects that have a distribution.
    pub with_distribution: u64,
    /// By bins of redshift: the parts of these objects that are expected there, by their distributions.
    pub expected: Counts,
    /// By bins of the magnitude, as metrics have them: the widths of the intervals of 68%.
    pub half_widths: BTreeMap<Slice, HalfWidths>,
}

/// Half the widths of intervals, in units of 1 + z_phot, in bins of dz.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HalfWidths {
    /// The intervals that models give.
    pub given: Counts,
    /// The intervals of all objects before calibration. An interval that the model does not give has no width.
    pub all: Counts,
}

impl HalfWidths {
    fn add(&mut self, z_phot: f32, given: Option<[f32; 2]>) {
        let [low, high] = given.unwrap_or([z_phot; 2]).map(f64::from);
        let half_width = (high - low) / 2.0 / (1.0 + f64::from(z_phot));
        let width_bin = (half_width.min(DZ_MAX) / DZ_BIN).round() as i32;
        *self.all.entry(width_bin).or_default() += 1;
        if given.is_some() {
            *self.given.entry(width_bin).or_default() += 1;
        }
    }

    /// The median after calibration. A shift below 0 can turn an interval around. Such an interval holds nothing, so it has
    /// no width.
    pub fn calibrated(&self, shift: f64) -> f64 {
        (quantile(&self.all, 0.5) + shift).max(0.0)
    }
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
        // As in the calibration, no interval is as wide as a redshift of -1 asks for.
        if let Some(mag) = row.mag_slice().filter(|_| z_phot > -1.0) {
            let [of_68, _] = INTERVALS;
            let given = distribution.and_then(|of| of.interval(of_68));
            self.half_widths.entry(mag).or_default().add(z_phot, given);
        }
        if let Some(distribution) = distribution.filter(|of| of.is_whole) {
            self.with_distribution += 1;
            for (bin, parts) in parts(distribution) {
                *self.expected.entry(bin).or_default() += parts;
            }
        }
    }

    /// The objects that have no distribution.
    pub fn without_distribution(&self) -> u64 {
        self.density.values().sum::<u64>() - self.with_distribution
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

/// The parts of an object that its distribution gives to each bin of redshift. They are differences of rounded sums, so they
/// add up to [`PARTS`]. What lies beyond the outermost quantiles is in their bins.
fn parts(of: Distribution<'_>) -> impl Iterator<Item = (i32, u64)> {
    let ends = [of.quantiles.first(), of.quantiles.last()];
    let [first, last] = ends.map(|z| z_bin(z.copied().unwrap_or_default()));
    let mut before = 0;
    (first..=last).map(move |bin| {
        let probability = match bin == last {
            true => 1.0,
            false => of.pit((f64::from(bin + 1) * Z_BIN) as f32),
        };
        // The interpolation between quantiles may fall by a rounding error.
        let up_to = before.max((probability * PARTS as f64).round() as u64);
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

    const LEVELS: [f64; 3] = [0.16, 0.5, 0.84];

    fn spread<'a>(levels: &'a [f64], quantiles: &'a [f32]) -> Distribution<'a> {
        let is_whole = true;
        Distribution {
            levels,
            quantiles,
            is_whole,
        }
    }

    #[test]
    fn a_distribution_is_spread_over_the_bins_of_its_quantiles() {
        let of = |levels, quantiles| parts(spread(levels, quantiles)).collect::<Vec<_>>();
        // The line through the quantiles rises by 0.2 in each bin of 0.005. A tenth lies beyond either end.
        let found = of(&[0.1, 0.5, 0.9], &[0.1, 0.11, 0.12]);
        let expected = [0.3, 0.2, 0.2, 0.2, 0.1];
        assert_eq!(found.len(), expected.len());
        for ((bin, parts), (place, expected)) in found.into_iter().zip((20..).zip(expected)) {
            assert_eq!(bin, place);
            let probability = parts as f64 / PARTS as f64;
            assert!(
                (probability - expected).abs() < 1e-5,
                "{bin}: {probability}"
            );
        }
        assert_eq!(of(&[0.1, 0.9], &[0.2, 0.2]), [(40, PARTS)]);
        let far: u64 = of(&[0.1, 0.9], &[-20.0, 20.0]).iter().map(|of| of.1).sum();
        assert_eq!(far, PARTS);
    }

    /// Counts objects of a point model and of a quantile model, whose intervals are 0.2 (1 + z) wide, in this order.
    fn mixed(order: impl Iterator<Item = u16>) -> Histograms {
        let mut histograms = Histograms::default();
        for object in order {
            let z = 0.1 + 0.003 * f32::from(object);
            let row = CommittedRow::predicted(1, z, Some(z + 0.01), Some(16.7), 0);
            let quantiles = [-0.1, 0.0, 0.1].map(|error| z + error * (1.0 + z));
            let distribution = spread(&LEVELS, &quantiles);
            histograms.add(&row, (object % 3 == 0).then_some(distribution));
        }
        histograms
    }

    /// Regression: sums of floats depended on the order in which rows came.
    #[test]
    fn the_order_of_the_objects_does_not_matter() {
        let counted = mixed(0..300);
        assert_eq!(counted, mixed((0..300).rev()));
        // 7 has no divisor in common with 300, so all objects are counted.
        assert_eq!(counted, mixed((0..300).map(|object| object * 7 % 300)));
        let parts: u64 = counted.expected.values().sum();
        assert_eq!(parts, counted.with_distribution * PARTS);
    }

    #[test]
    fn objects_without_a_distribution_are_told_apart() {
        let counted = mixed(0..300);
        let without = counted.without_distribution();
        assert_eq!([counted.with_distribution, without], [100, 200]);
        let [widths] = counted.half_widths.values().collect::<Vec<_>>()[..] else {
            panic!("all objects have the same magnitude");
        };
        let all = |counts: &Counts| counts.values().sum::<u64>();
        assert_eq!([all(&widths.given), all(&widths.all)], [100, 300]);
        assert!((quantile(&widths.given, 0.5) - 0.1).abs() < 1e-9);
        // Most objects have an interval by calibration alone.
        assert!((widths.calibrated(0.03) - 0.03).abs() < 1e-9);
    }

    #[test]
    fn an_interval_that_calibration_turns_around_has_no_width() {
        let mut widths = HalfWidths::default();
        widths.add(1.0, Some([0.9, 1.1]));
        assert!((widths.calibrated(-0.02) - 0.03).abs() < 1e-9);
        assert_eq!(widths.calibrated(-0.2), 0.0);
    }

    #[test]
    fn a_redshift_of_minus_one_has_no_width() {
        let mut histograms = Histograms::default();
        let row = CommittedRow::predicted(1, -1.0, Some(0.1), Some(16.7), 0);
        histograms.add(&row, Some(spread(&LEVELS, &[-1.1, -1.0, -0.9])));
        assert!(histograms.half_widths.is_empty());
    }
}
