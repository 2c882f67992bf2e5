//! Split conformal prediction from counts, so that what is added can be taken away exactly.
//!
//! The *score* of an object for an interval [low, high] of its model is how far z_spec lies outside, in units of 1 + z_phot:
//! `max(low - z_spec, z_spec - high) / (1 + z_phot)`, negative inside. If an interval is made wider at both ends by a *shift*
//! that is as large as 68% of the scores, it holds 68% of the objects that come. Objects are split in two halves: the
//! coverage of a half with the shifts of the other half is what new objects may expect.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Slice,
    calibration::{BIN_MIN, Calibration, Shift},
    distribution::{Distribution, INTERVALS},
};

/// The number of steps in a score of 1, where scores are counted.
const STEPS: f64 = 1e4;
/// The parts of the objects, in percent, that the intervals are to hold.
const PERCENT: [i64; 2] = [68, 95];

/// The objects that share shifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Cell {
    All,
    /// Those in a bin of magnitude, as in [`Slice::Mag`].
    Mag(i16),
    NoMag,
}

/// The scores of a half of the objects of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    n: i64,
    /// The number of objects by score, in steps of 1e-4, for each interval.
    counts: [BTreeMap<i32, i64>; 2],
}

impl Half {
    fn add(&mut self, scores: [i32; 2], times: i64) {
        self.n += times;
        for (counts, score) in self.counts.iter_mut().zip(scores) {
            count(counts, score, times);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            for (&score, &times) in more {
                count(counts, score, times);
            }
        }
    }

    /// The shift of an interval.
    fn shift(&self, interval: usize) -> Option<i32> {
        let counts = self.counts[interval].iter();
        shift(counts.map(|(&score, &n)| (score, n)), self.n, interval)
    }

    /// The number of objects whose interval, with this shift, holds z_spec.
    fn inside(&self, interval: usize, shift: i32) -> i64 {
        self.counts[interval].range(..=shift).map(|(_, n)| n).sum()
    }
}

fn count(counts: &mut BTreeMap<i32, i64>, score: i32, times: i64) {
    let count = counts.entry(score).or_default();
    *count += times;
    if *count == 0 {
        counts.remove(&score);
    }
}

/// Of `n` scores in ascending order the one at the place ceil((n + 1) 0.68), or 0.95; `None` if there are too few.
fn shift(scores: impl Iterator<Item = (i32, i64)>, n: i64, interval: usize) -> Option<i32> {
    let place = ((n + 1) * PERCENT[interval] + 99) / 100;
    let mut seen = 0;
    for (score, count) in scores {
        seen += count;
        if seen >= place {
            return Some(score);
        }
    }
    None
}

/// The scores of all objects by cell and half.
/// ```
/// use hubbleflow_operators::metrics::{ConformalScores, Slice};
/// let mut scores = ConformalScores::default();
/// for object in 0..9_u16 {
///     let (z_phot, z_spec) = (1.0, 1.0 + 0.02 * f32::from(object + 1) - 1e-4);
///     scores.add(u64::from(object), Some(Slice::Mag(33)), (z_phot, z_spec), None, 1);
/// }
/// let calibration = scores.calibration(Some("r"));
/// assert_eq!((calibration.all.shift_68, calibration.all.shift_95), (Some(0.07), None));
/// assert_eq!(calibration.by_mag.slices["16.5"].n, 9);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConformalScores {
    cells: BTreeMap<Cell, [Half; 2]>,
}

impl ConformalScores {
    /// Adds an object `times` times; -1 takes it away. The last bit of the `hash` of its id chooses the half. Its redshifts
    /// are z_phot and z_spec. An interval that the model does not give begins and ends at z_phot.
    pub fn add(
        &mut self,
        hash: u64,
        mag: Option<Slice>,
        (z_phot, z_spec): (f32, f32),
        distribution: Option<Distribution<'_>>,
        times: i64,
    ) {
        let (z_phot, z_spec) = (f64::from(z_phot), f64::from(z_spec));
        // No interval is as wide as a redshift of -1 asks for.
        if z_phot <= -1.0 {
            return;
        }
        let scores = INTERVALS.map(|levels| {
            let interval = distribution.and_then(|of| of.interval(levels));
            let [low, high] = interval.map_or([z_phot; 2], |of| of.map(f64::from));
            let score = f64::max(low - z_spec, z_spec - high) / (1.0 + z_phot);
            // Rounded up, so that the shift of an object holds the object.
            (score * STEPS).ceil() as i32
        });
        let bin = match mag {
            Some(Slice::Mag(bin)) => Cell::Mag(bin),
            _ => Cell::NoMag,
        };
        for cell in [Cell::All, bin] {
            let halves = self.cells.entry(cell).or_default();
            halves[(hash % 2) as usize].add(scores, times);
            self.drop_if_empty(cell);
        }
    }

    /// Adds the scores of other objects, or a change.
    pub fn merge(&mut self, other: &Self) {
        for (cell, more) in &other.cells {
            let halves = self.cells.entry(*cell).or_default();
            for (half, more) in halves.iter_mut().zip(more) {
                half.merge(more);
            }
            self.drop_if_empty(*cell);
        }
    }

    fn drop_if_empty(&mut self, cell: Cell) {
        let halves = self.cells.get(&cell);
        if halves.is_some_and(|halves| *halves == <[Half; 2]>::default()) {
            self.cells.remove(&cell);
        }
    }

    /// Whether all that was added is taken away again.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The shifts of all objects, and by magnitude in the reference band.
    pub fn calibration(&self, reference_band: Option<&str>) -> Calibration {
        let mut calibration = Calibration::new(reference_band);
        for (cell, halves) in &self.cells {
            match cell {
                Cell::All => calibration.all = shifts(halves),
                Cell::Mag(bin) => {
                    let slices = &mut calibration.by_mag.slices;
                    slices.insert(Slice::Mag(*bin).name(), shifts(halves));
                }
                Cell::NoMag => {}
            }
        }
        calibration
    }

    /// The coverage of calibrated intervals, of 68% and of 95%, over all objects and by magnitude. The objects of a half are
    /// judged with the shifts of the other half. Objects for which the other half has no shift are not judged.
    pub fn coverage(&self) -> BTreeMap<Slice, [Option<f64>; 2]> {
        let mut judged: BTreeMap<Slice, [[i64; 2]; 2]> = BTreeMap::new();
        let of_all =
            [0, 1].map(|half| [0, 1].map(|interval| self.shift(Cell::All, half, interval)));
        for (cell, halves) in &self.cells {
            let slices = match cell {
                Cell::All => continue,
                Cell::Mag(bin) => vec![Slice::All, Slice::Mag(*bin)],
                Cell::NoMag => vec![Slice::All],
            };
            for (half, interval) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let other = 1 - half;
                let is_large = *cell != Cell::NoMag && halves[other].n >= BIN_MIN;
                let shift = match is_large {
                    true => halves[other].shift(interval),
                    false => of_all[other][interval],
                };
                let Some(shift) = shift.filter(|_| halves[half].n > 0) else {
                    continue;
                };
                let inside = halves[half].inside(interval, shift);
                for slice in &slices {
                    let sums = &mut judged.entry(*slice).or_default()[interval];
                    *sums = [sums[0] + inside, sums[1] + halves[half].n];
                }
            }
        }
        let fraction = |[inside, n]: [i64; 2]| (n > 0).then(|| inside as f64 / n as f64);
        let judged = judged.into_iter();
        judged
            .map(|(slice, sums)| (slice, sums.map(fraction)))
            .collect()
    }

    fn shift(&self, cell: Cell, half: usize, interval: usize) -> Option<i32> {
        self.cells.get(&cell)?[half].shift(interval)
    }
}

/// The shifts of a cell, from both halves.
fn shifts(halves: &[Half; 2]) -> Shift {
    let n = halves[0].n + halves[1].n;
    let [shift_68, shift_95] = [0, 1].map(|interval| {
        let counts = halves.iter().flat_map(|half| &half.counts[interval]);
        let mut counts: Vec<(i32, i64)> = counts.map(|(&score, &n)| (score, n)).collect();
        // Two sorted runs, which a stable sort merges.
        counts.sort_by_key(|(score, _)| *score);
        let shift = shift(counts.into_iter(), n, interval);
        shift.map(|steps| f64::from(steps) / STEPS)
    });
    Shift {
        n,
        shift_68,
        shift_95,
    }
}
