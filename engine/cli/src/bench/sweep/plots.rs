//! The charts of a sweep: one factor against one figure, with the ends of the repeats as a band.
use super::{
    points::{DataSize, Factor, short_bytes},
    results::{PointResult, Sweep},
    spread::Spread,
};
use crate::page::{Chart, section};

/// A figure that has charts.
struct Shown {
    /// Its name among the spreads.
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    /// From its own unit to that of the chart.
    scale: f64,
    /// The highest value that it can have, if there is one.
    most: Option<f64>,
}

const SHOWN: [Shown; 4] = [
    Shown {
        name: "wall_seconds",
        title: "Wall time",
        unit: "seconds",
        scale: 1.0,
        most: None,
    },
    Shown {
        name: "bits_per_second",
        title: "Throughput",
        unit: "Mbit/s",
        scale: 1e-6,
        most: None,
    },
    Shown {
        name: "model_idle_share",
        title: "Idle share of the model's threads",
        unit: "%",
        scale: 100.0,
        most: Some(100.0),
    },
    Shown {
        name: "peak_rss_bytes",
        title: "Peak memory of all processes",
        unit: "MB",
        scale: 1e-6,
        most: None,
    },
];

/// A section for each factor that is varied and each figure that is known.
pub(super) fn charts(sweep: &Sweep) -> String {
    let charts = Factor::ALL.into_iter().flat_map(|factor| {
        let points = varied(sweep, factor);
        let of = |shown: &Shown| chart(factor, shown, &points);
        SHOWN.iter().filter_map(of).collect::<Vec<_>>()
    });
    charts.collect::<Vec<_>>().join("\n")
}

/// A point with figures: its place on the axis of a factor, and its name there.
type Placed<'a> = (f64, String, &'a PointResult);

/// The points that differ from the base in this factor alone, from left to right. Ratios are distances.
fn varied(sweep: &Sweep, factor: Factor) -> Vec<Placed<'_>> {
    let points = sweep.points.iter();
    let points = points.filter(|of| of.point.varies_only(&sweep.base, factor));
    let mut placed: Vec<_> = points
        .filter_map(|of| {
            let (value, name) = value(sweep, factor, of)?;
            Some((value.log2(), name, of))
        })
        .collect();
    placed.sort_by(|left, right| left.0.total_cmp(&right.0));
    placed
}

/// The value of a factor at a point, and how it is written; `None` for a point without figures.
fn value(sweep: &Sweep, factor: Factor, of: &PointResult) -> Option<(f64, String)> {
    let figures = of.figures().next()?;
    let point = &of.point;
    let (value, name) = match factor {
        Factor::Size => {
            let bytes = figures.galaxies * sweep.rates.bytes_per_galaxy;
            let name = match point.size {
                DataSize::All => short_bytes(bytes),
                DataSize::Bytes(bytes) => short_bytes(bytes),
            };
            (bytes, name)
        }
        Factor::SplitBytes => (point.split_bytes, short_bytes(point.split_bytes)),
        Factor::Batch => (point.batch.into(), point.batch.to_string()),
        Factor::Processes => (point.processes.into(), point.processes.to_string()),
    };
    Some((value.max(1) as f64, name))
}

/// The chart of a figure against a factor; `None` if fewer than two points have it.
fn chart(factor: Factor, shown: &Shown, points: &[Placed<'_>]) -> Option<String> {
    let known: Vec<(f64, &str, Spread)> = points
        .iter()
        .filter_map(|(x, name, of)| Some((*x, name.as_str(), of.of(shown.name)?)))
        .collect();
    let [(first, ..), .., (last, ..)] = known[..] else {
        return None;
    };
    let most = known.iter().map(|(_, _, spread)| spread.max * shown.scale);
    let most = most.fold(f64::MIN_POSITIVE, f64::max) * 1.12;
    let most = shown.most.map_or(most, |bound| most.min(bound));
    let margin = 0.06 * (last - first).max(0.5);
    let ticks = known.iter().map(|&(x, name, _)| (x, name.to_owned()));
    let chart = Chart::new([first - margin, last + margin], [0.0, most]);
    let mut chart = chart.with_x_ticks(ticks.collect());
    let band = known.iter().map(|&(x, _, spread)| {
        let [low, high] = [spread.min, spread.max].map(|end| end * shown.scale);
        (x, low, high)
    });
    chart.band("spread", &band.collect::<Vec<_>>());
    let medians = known.iter();
    let medians = medians.map(|&(x, _, spread)| (x, spread.median * shown.scale));
    chart.line("median", &medians.collect::<Vec<_>>());
    let unit = shown.unit;
    for (x, name, spread) in &known {
        let [median, min, max] =
            [spread.median, spread.min, spread.max].map(|value| value * shown.scale);
        let said = format!("{name}: {median:.2} {unit}, {min:.2} to {max:.2}");
        chart.dot(*x, median, &said);
    }
    let title = format!("{} by {}", shown.title, factor.name());
    let legend = r#"<i class="p"></i>median of the repeats, <span>band: from the least to the greatest</span>"#;
    let svg = chart.finish(factor.name(), unit, &title);
    Some(section(&title, legend, &svg))
}
