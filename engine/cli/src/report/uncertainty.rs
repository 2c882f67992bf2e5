//! The plots of intervals and distributions.
use operators::{
    Metrics,
    metrics::{Numbers, Slice},
};

use super::{
    chart::Chart,
    histograms::{Histograms, MAG_BIN, quantile},
    plots::steps,
};

/// Objects that make a bin of magnitude worth showing.
const ENOUGH: i64 = 50;
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

/// The bins of magnitude that are worth showing: their lower edges and their numbers.
fn bins(metrics: &Metrics) -> Vec<(f64, &Numbers)> {
    let bins = metrics.by_mag.slices.iter();
    let enough = bins.filter(|(_, numbers)| numbers.n >= ENOUGH);
    let mut bins: Vec<_> = enough
        .filter_map(|(edge, numbers)| Some((edge.parse().ok()?, numbers)))
        .collect();
    bins.sort_by(|(a, _), (b, _)| f64::total_cmp(a, b));
    bins
}

/// The magnitudes that bins reach over.
fn reach(bins: &[(f64, &Numbers)]) -> Option<[f64; 2]> {
    let ((first, _), (last, _)) = (bins.first()?, bins.last()?);
    Some([*first, last + MAG_BIN])
}

/// The coverages of the model's intervals and of calibrated ones, by magnitude.
pub fn coverage(metrics: &Metrics, band: &str) -> Option<String> {
    type Coverage = fn(&Numbers) -> Option<f64>;
    let own: [Coverage; 2] = [|of| of.coverage_68, |of| of.coverage_95];
    let calibrated: [Coverage; 2] = [
        |of| of.calibrated_coverage_68,
        |of| of.calibrated_coverage_95,
    ];
    let bins = bins(metrics);
    let line = |of: Coverage| -> Vec<(f64, f64)> {
        let points = bins.iter();
        points
            .filter_map(|(edge, numbers)| Some((edge + MAG_BIN / 2.0, of(numbers)?)))
            .collect()
    };
    let lines = [("own", own), ("median", calibrated)];
    let lines = lines.map(|(class, of)| (class, of.map(line)));
    let all = lines.iter().flat_map(|(_, of)| of.iter().flatten());
    let lowest = all.clone().map(|point| point.1).fold(0.5, f64::min);
    all.clone().next()?;
    let mags = reach(&bins)?;
    let mut chart = Chart::new(mags, [(lowest * 10.0).floor() / 10.0, 1.0]);
    for part in NOMINAL {
        chart.line("one", &mags.map(|mag| (mag, part)));
    }
    for (class, lines) in &lines {
        lines.iter().for_each(|line| chart.line(class, line));
    }
    let x_label = format!("{band} magnitude");
    let what = format!("Coverage by {band} magnitude");
    Some(chart.finish(&x_label, "part of the objects", &what))
}

/// Half the width of intervals of 68% by magnitude, in units of 1 + z_phot: the model's median, and the calibrated one.
pub fn width(metrics: &Metrics, histograms: &Histograms, band: &str) -> Option<String> {
    let bins = bins(metrics);
    let (mut own, mut calibrated) = (Vec::new(), Vec::new());
    for (edge, _) in &bins {
        let (middle, place) = (edge + MAG_BIN / 2.0, (edge / MAG_BIN).round() as i32);
        let of_model = histograms.half_width_by_mag.get(&place);
        let of_model = of_model.map(|widths| quantile(widths, 0.5));
        own.extend(of_model.map(|width| (middle, width)));
        let shift = metrics
            .calibration
            .shift(Some(Slice::of_mag_ab(middle as f32)));
        let shifted = shift.shift_68.map(|shift| of_model.unwrap_or(0.0) + shift);
        calibrated.extend(shifted.map(|width| (middle, width)));
    }
    let all = own.iter().chain(&calibrated).map(|point| point.1);
    let most = all.fold(0.0, f64::max);
    if most == 0.0 {
        return None;
    }
    let mut chart = Chart::new(reach(&bins)?, [0.0, most * 1.15]);
    chart.line("own", &own);
    chart.line("median", &calibrated);
    let x_label = format!("{band} magnitude");
    let what = format!("Width of the intervals against {band} magnitude");
    Some(chart.finish(&x_label, "half width / (1 + z_phot)", &what))
}
