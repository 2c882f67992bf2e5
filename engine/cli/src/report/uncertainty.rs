//! The plots of intervals and distributions.
use operators::{
    Metrics,
    metrics::{Numbers, Slice},
};

use super::{
    histograms::{Counts, HalfWidths, Histograms, quantile},
    plots::steps,
};
use crate::page::Chart;

/// Objects that make a bin of magnitude worth showing.
const ENOUGH: i64 = 50;
/// Width of the bins of magnitude that metrics have.
const MAG_BIN: f64 = 0.5;
/// The parts of the objects that intervals are to hold.
const NOMINAL: [f64; 2] = [0.68, 0.95];

/// The PIT histogram, in units of a flat one, with twice the deviation that chance gives to a flat one.
pub fn pit(numbers: &Numbers) -> Option<String> {
    let counts = numbers.pit.as_ref()?;
    let all: i64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let bins = counts.len() as f64;
    let bars = counts.iter().map(|&count| count as f64 * bins / all as f64);
    let chance = 2.0 * ((bins - 1.0) / all as f64).sqrt();
    let most = bars.clone().fold(1.0 + chance, f64::max);
    let mut chart = Chart::new([0.0, 1.0], [0.0, most * 1.06]);
    let [low, high] = [(1.0 - chance).max(0.0), 1.0 + chance];
    chart.band("spread", &[(0.0, low, high), (1.0, low, high)]);
    chart.line("one", &[(0.0, 1.0), (1.0, 1.0)]);
    chart.line("phot", &steps(bars, 0.0, 1.0 / bins));
    let what = "Probability integral transform";
    Some(chart.finish("PIT", "objects, in units of a flat histogram", what))
}

/// A bin of magnitude that is worth showing.
struct Bin<'a> {
    /// The lower edge.
    edge: f64,
    slice: Slice,
    numbers: &'a Numbers,
    widths: Option<&'a HalfWidths>,
}

impl<'a> Bin<'a> {
    /// The bins in their order.
    fn all(metrics: &'a Metrics, histograms: &'a Histograms) -> Vec<Self> {
        let bins = metrics.by_mag.slices.iter();
        let bins = bins.filter(|(_, numbers)| numbers.n >= ENOUGH);
        let mut bins: Vec<_> = bins
            .filter_map(|(edge, numbers)| {
                let edge: f64 = edge.parse().ok()?;
                let slice = Slice::of_mag_ab((edge + MAG_BIN / 2.0) as f32);
                let widths = histograms.half_widths.get(&slice);
                Some(Self {
                    edge,
                    slice,
                    numbers,
                    widths,
                })
            })
            .collect();
        bins.sort_by(|a, b| f64::total_cmp(&a.edge, &b.edge));
        bins
    }

    /// The widths of the models' own intervals, if enough objects have one.
    fn given(&self) -> Option<&'a Counts> {
        let given = &self.widths?.given;
        (given.values().sum::<u64>() >= ENOUGH as u64).then_some(given)
    }
}

/// A line of a chart: its class, and a value for each bin of magnitude that has one, with the lower edge of the bin.
type Line = (&'static str, Vec<(f64, f64)>);
const OWN: &str = "own";
const CALIBRATED: &str = "median";

fn line(class: &'static str, bins: &[Bin<'_>], of: impl Fn(&Bin<'_>) -> Option<f64>) -> Line {
    let values = bins.iter().filter_map(|bin| Some((bin.edge, of(bin)?)));
    (class, values.collect())
}

/// A chart by magnitude.
pub struct MagChart {
    /// The chart as SVG.
    pub svg: String,
    /// Whether it shows the models' own intervals, and not only the calibrated ones.
    pub shows_own: bool,
}

impl MagChart {
    /// Draws lines as steps, above lines at the `nominal` values. `None` if no line has a value.
    fn draw(
        lines: &[Line],
        y: [f64; 2],
        nominal: &[f64],
        [band, y_label, what]: [&str; 3],
    ) -> Option<Self> {
        let edges = || values(lines).map(|(edge, _)| edge);
        let mags = [
            edges().reduce(f64::min)?,
            edges().reduce(f64::max)? + MAG_BIN,
        ];
        let mut chart = Chart::new(mags, y);
        for &value in nominal {
            chart.line("one", &mags.map(|mag| (mag, value)));
        }
        for (class, steps) in lines {
            // A bin without a value is left out, unlike an empty bin of counts, which has the value 0.
            for side_by_side in steps.chunk_by(|(edge, _), (next, _)| *next == edge + MAG_BIN) {
                let ends = |&(edge, value): &(f64, f64)| [(edge, value), (edge + MAG_BIN, value)];
                chart.line(
                    class,
                    &side_by_side.iter().flat_map(ends).collect::<Vec<_>>(),
                );
            }
        }
        let is_own = |(class, steps): &Line| *class == OWN && !steps.is_empty();
        Some(Self {
            svg: chart.finish(&format!("{band} magnitude"), y_label, what),
            shows_own: lines.iter().any(is_own),
        })
    }
}

fn values(lines: &[Line]) -> impl Iterator<Item = (f64, f64)> {
    lines.iter().flat_map(|(_, steps)| steps).copied()
}

/// The coverages by magnitude: of the models' intervals over the objects that have one, of calibrated ones over all objects.
pub fn coverage(metrics: &Metrics, histograms: &Histograms, band: &str) -> Option<MagChart> {
    let bins = Bin::all(metrics, histograms);
    let own = |of: fn(&Numbers) -> Option<f64>| {
        line(OWN, &bins, |bin| {
            of(bin.numbers).filter(|_| bin.given().is_some())
        })
    };
    let calibrated =
        |of: fn(&Numbers) -> Option<f64>| line(CALIBRATED, &bins, |bin| of(bin.numbers));
    let lines = [
        own(|of| of.coverage_68),
        own(|of| of.coverage_95),
        calibrated(|of| of.calibrated_coverage_68),
        calibrated(|of| of.calibrated_coverage_95),
    ];
    let lowest = values(&lines).map(|(_, value)| value).fold(0.5, f64::min);
    let y = [(lowest * 10.0).floor() / 10.0, 1.0];
    let what = format!("Coverage by {band} magnitude");
    MagChart::draw(&lines, y, &NOMINAL, [band, "part of the objects", &what])
}

/// Half the width of intervals of 68% by magnitude, in units of 1 + z_phot: the median of the models' own over the objects
/// that have one, and of calibrated ones over all objects.
pub fn width(metrics: &Metrics, histograms: &Histograms, band: &str) -> Option<MagChart> {
    let bins = Bin::all(metrics, histograms);
    let lines = [
        line(OWN, &bins, |bin| Some(quantile(bin.given()?, 0.5))),
        line(CALIBRATED, &bins, |bin| {
            let shift = metrics.calibration.shift(Some(bin.slice)).shift_68?;
            Some(bin.widths?.calibrated(shift))
        }),
    ];
    let most = values(&lines).map(|(_, value)| value).fold(0.0, f64::max);
    let what = format!("Width of the intervals against {band} magnitude");
    let y_label = "half width / (1 + z_phot)";
    MagChart::draw(&lines, [0.0, most * 1.15], &[], [band, y_label, &what])
}

#[cfg(test)]
mod tests {
    use operators::{
        metrics::{Distribution, Shift},
        score::CommittedRow,
    };

    use super::*;

    /// Metrics and counts of an output of a point model and a quantile model: 60 objects in each of four bins of magnitude,
    /// and how many of them have an interval of their own. The bin from 17 to 17.5 has no object.
    fn mixed() -> (Metrics, Histograms) {
        let mut histograms = Histograms::default();
        let bins = [(16.2, 60), (16.7, 0), (17.7, 60), (18.2, 3)];
        for (mag, with_interval) in bins {
            for object in 0..60 {
                let row = CommittedRow::predicted(1, 0.1, Some(0.1), Some(mag), 0);
                let distribution = Distribution {
                    levels: &[0.16, 0.84],
                    quantiles: &[0.0, 0.2],
                    is_whole: true,
                };
                histograms.add(&row, (object < with_interval).then_some(distribution));
            }
        }
        let slices = bins.map(|(mag, with_interval)| {
            let numbers = Numbers {
                n: 60,
                coverage_68: (with_interval > 0).then_some(0.6),
                calibrated_coverage_68: Some(0.7),
                ..Numbers::default()
            };
            (Slice::of_mag_ab(mag), numbers)
        });
        let slices = slices.iter().map(|(slice, numbers)| (slice, numbers));
        let mut metrics = Metrics::new(1, "a", 240, Some("r"), slices, |_| String::new());
        metrics.calibration.all = Shift {
            n: 240,
            shift_68: Some(0.05),
            shift_95: None,
        };
        (metrics, histograms)
    }

    /// The number of points of each line of a class.
    fn points(svg: &str, class: &str) -> Vec<usize> {
        let paths = svg.split(r#"<path d="M"#).skip(1);
        let paths = paths.filter_map(|path| path.split_once('"'));
        let of_class = paths.filter(|(_, rest)| rest.starts_with(&format!(r#" class="{class}""#)));
        of_class.map(|(path, _)| path.split('L').count()).collect()
    }

    #[test]
    fn bins_of_magnitude_are_drawn_as_steps_for_each_kind_of_interval() {
        let (metrics, histograms) = mixed();
        for chart in [
            coverage(&metrics, &histograms, "r").unwrap(),
            width(&metrics, &histograms, "r").unwrap(),
        ] {
            assert!(chart.shows_own);
            // Too few objects of the last bin have an interval of their own, but all have a calibrated one.
            assert_eq!(points(&chart.svg, "own"), [2, 2]);
            assert_eq!(points(&chart.svg, "median"), [4, 4]);
        }
    }

    #[test]
    fn without_shifts_and_intervals_there_is_no_chart() {
        let (mut metrics, mut histograms) = mixed();
        histograms.half_widths.clear();
        metrics.calibration.all.shift_68 = None;
        assert!(width(&metrics, &histograms, "r").is_none());
        let calibrated = coverage(&metrics, &histograms, "r").unwrap();
        assert!(!calibrated.shows_own);
    }
}
