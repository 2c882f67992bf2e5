//! The plots of the page.
use std::{collections::BTreeMap, fmt::Write};

use operators::{
    Metrics,
    metrics::{Numbers, OUTLIER_LIMITS},
};

use super::histograms::{Counts, Histograms, MAG_SLICE, PARTS, Z_BIN, Z_SLICE, quantile};
use crate::page::Chart;

/// Cells of the density along a side, at most.
const CELLS: i32 = 70;
/// Objects that make a slice or a tile worth showing.
const ENOUGH: u64 = 10;

/// The redshifts that nearly all objects have, and zero.
fn z_range(histograms: &Histograms) -> [f64; 2] {
    let both = |of: fn(&(i32, i32)) -> i32| ends(&histograms.redshifts(of));
    let ([low, high], [other_low, other_high]) = (both(|bins| bins.0), both(|bins| bins.1));
    let low = f64::from(low.min(other_low)) * Z_BIN;
    let high = f64::from(high.max(other_high) + 1) * Z_BIN;
    [
        (low * 20.0).floor().min(0.0) / 20.0,
        (high * 20.0).ceil() / 20.0,
    ]
}

/// The bins between which all but one in a thousand lie, at each end.
fn ends(counts: &Counts) -> [i32; 2] {
    let all: u64 = counts.values().sum();
    [end(all, counts.iter()), end(all, counts.iter().rev())]
}

/// The first bin by which one in a thousand of all are seen.
fn end<'a>(all: u64, mut bins: impl Iterator<Item = (&'a i32, &'a u64)>) -> i32 {
    let mut seen = 0;
    let found = bins.find(|(_, count)| {
        seen += **count;
        seen * 1000 > all
    });
    found.map_or(0, |(&bin, _)| bin)
}

/// z_phot against z_spec.
pub fn density(histograms: &Histograms) -> String {
    let range = z_range(histograms);
    let step = ((range[1] - range[0]) / Z_BIN / f64::from(CELLS))
        .ceil()
        .max(1.0) as i32;
    let mut cells = BTreeMap::<(i32, i32), u64>::new();
    for (&(z_spec, z_phot), count) in &histograms.density {
        let cell = (z_spec.div_euclid(step), z_phot.div_euclid(step));
        *cells.entry(cell).or_default() += count;
    }
    let most = cells.values().max().copied().unwrap_or(1) as f64;
    let mut chart = Chart::new(range, range);
    let edge = |cell: i32| f64::from(cell * step) * Z_BIN;
    for ((x, y), count) in cells {
        let (from, to) = ((edge(x), edge(y)), (edge(x + 1), edge(y + 1)));
        let inside = |from: f64, to: f64| to > range[0] && from < range[1];
        if inside(from.0, to.0) && inside(from.1, to.1) {
            let opacity = 0.12 + 0.88 * (count as f64).ln_1p() / most.ln_1p();
            let title = format!(
                "{count} objects at z_spec {:.3}, z_phot {:.3}",
                from.0, from.1
            );
            chart.cell(from, to, opacity, &title);
        }
    }
    let along = |error: f64| range.map(|z| (z, z + error * (1.0 + z)));
    chart.line("one", &along(0.0));
    for (limit, class) in OUTLIER_LIMITS.into_iter().zip(["limit", "limit far"]) {
        chart.line(class, &along(limit));
        chart.line(class, &along(-limit));
    }
    chart.finish("z_spec", "z_phot", "Photo-z against spec-z")
}

/// How many objects have which redshift: by their spectra, by their photo-z and, if they have some, by their
/// distributions.
pub fn n_of_z(histograms: &Histograms) -> String {
    let range = z_range(histograms);
    let step = ((range[1] - range[0]) / Z_BIN / 50.0).ceil().max(1.0) as i32;
    let lines = [
        ("spec", histograms.redshifts(|bins| bins.0), 1),
        ("phot", histograms.redshifts(|bins| bins.1), 1),
        ("expected", histograms.expected.clone(), PARTS),
    ];
    let lines = lines.map(|(class, counts, of_object)| (class, coarse(&counts, step, of_object)));
    let all = lines.iter().flat_map(|(_, counts)| counts.values());
    let most = all.copied().fold(1.0, f64::max);
    let mut chart = Chart::new(range, [0.0, most * 1.06]);
    let edge = |bin: i32| f64::from(bin * step) * Z_BIN;
    for (class, counts) in lines {
        let (Some((&first, _)), Some((&last, _))) =
            (counts.first_key_value(), counts.last_key_value())
        else {
            continue;
        };
        let bars = (first..=last).map(|bin| counts.get(&bin).copied().unwrap_or(0.0));
        chart.line(class, &steps(bars, edge(first), edge(1)));
    }
    chart.finish("redshift", "objects", "Redshift distribution")
}

/// The objects in each `step` bins, where an object counts `of_object`.
fn coarse(counts: &Counts, step: i32, of_object: u64) -> BTreeMap<i32, f64> {
    let mut sums = Counts::new();
    for (bin, count) in counts {
        *sums.entry(bin.div_euclid(step)).or_default() += count;
    }
    let objects = |(bin, sum)| (bin, sum as f64 / of_object as f64);
    sums.into_iter().map(objects).collect()
}

/// The outline of a histogram, from its first edge on.
pub fn steps(bars: impl Iterator<Item = f64>, first: f64, width: f64) -> Vec<(f64, f64)> {
    let (mut points, mut x) = (vec![(first, 0.0)], first);
    for bar in bars {
        points.extend([(x, bar), (x + width, bar)]);
        x += width;
    }
    points.push((x, 0.0));
    points
}

/// dz in slices of z_spec.
pub fn dz_against_z_spec(histograms: &Histograms) -> String {
    let slices = histograms.dz_by_z_spec.iter();
    let slices: Vec<_> = slices
        .map(|(&slice, dz)| (f64::from(slice) * Z_SLICE, dz))
        .collect();
    running(&slices, Z_SLICE, "z_spec", "Error against spec-z")
}

/// dz in slices of the magnitude in a band.
pub fn dz_against_mag(histograms: &Histograms, band: &str) -> String {
    let slices = histograms.dz_by_mag.iter();
    let slices: Vec<_> = slices
        .map(|(&slice, dz)| (f64::from(slice) * MAG_SLICE, dz))
        .collect();
    running(
        &slices,
        MAG_SLICE,
        &format!("{band} magnitude"),
        &format!("Error against {band} magnitude"),
    )
}

/// Running median and 16 and 84% of dz, by the lower edges of slices.
fn running(slices: &[(f64, &Counts)], width: f64, x_label: &str, what: &str) -> String {
    let enough = slices
        .iter()
        .filter(|(_, dz)| dz.values().sum::<u64>() >= ENOUGH);
    let points: Vec<[f64; 4]> = enough
        .map(|(edge, dz)| {
            let [low, median, high] = [0.16, 0.5, 0.84].map(|part| quantile(dz, part));
            [edge + width / 2.0, low, median, high]
        })
        .collect();
    let far = points
        .iter()
        .flat_map(|[_, low, _, high]| [low.abs(), high.abs()]);
    let limit = far.fold(0.02, f64::max) * 1.15;
    let (first, last) = (points.first(), points.last());
    let ends = [first, last].map(|point| point.map_or(0.0, |point| point[0]));
    let mut chart = Chart::new(
        [ends[0] - width / 2.0, ends[1] + width / 2.0],
        [-limit, limit],
    );
    let ends = [ends[0] - width, ends[1] + width];
    chart.line("one", &ends.map(|x| (x, 0.0)));
    for (limit, class) in OUTLIER_LIMITS.into_iter().zip(["limit", "limit far"]) {
        chart.line(class, &ends.map(|x| (x, limit)));
        chart.line(class, &ends.map(|x| (x, -limit)));
    }
    let band: Vec<_> = points
        .iter()
        .map(|&[x, low, _, high]| (x, low, high))
        .collect();
    let median: Vec<_> = points
        .iter()
        .map(|&[x, _, median, _]| (x, median))
        .collect();
    chart.band("spread", &band);
    chart.line("median", &median);
    chart.finish(x_label, "dz", what)
}

/// Tiles by how many objects they have.
pub fn sky_of_counts(metrics: &Metrics) -> String {
    let most = metrics.by_tile.values().map(|numbers| numbers.n).max();
    let most = most.unwrap_or(1) as f64;
    sky(metrics, "The sky by objects", |numbers| {
        let title = format!("{} objects", numbers.n);
        Some(("cell", (0.08 + 0.92 * numbers.n as f64 / most), title))
    })
}

/// Tiles by their bias.
pub fn sky_of_bias(metrics: &Metrics) -> String {
    let shown = |numbers: &Numbers| numbers.bias.filter(|_| numbers.n as u64 >= ENOUGH);
    let most = metrics.by_tile.values().filter_map(shown);
    let most = most.map(f64::abs).fold(1e-9, f64::max);
    sky(metrics, "The sky by bias", |numbers| {
        let bias = shown(numbers)?;
        let class = if bias > 0.0 { "high" } else { "low" };
        let title = format!("bias {bias:+.4} of {} objects", numbers.n);
        Some((class, (0.08 + 0.92 * bias.abs() / most), title))
    })
}

/// The tiles in a sinusoidal projection about the survey's middle, as large as they fit.
fn sky(
    metrics: &Metrics,
    what: &str,
    paint: impl Fn(&Numbers) -> Option<(&'static str, f64, String)>,
) -> String {
    let tiles: Vec<_> = metrics
        .by_tile
        .iter()
        .filter_map(|(name, numbers)| {
            let cell = name.split('/').nth(1)?.parse().ok()?;
            Some((name.as_str(), connectors::sky::tile_corners(cell), numbers))
        })
        .collect();
    let middle = middle(
        tiles
            .iter()
            .map(|(_, corners, numbers)| (corners[0].0, numbers.n as f64)),
    );
    let project = |&(ra, dec): &(f64, f64)| {
        let from_middle = (ra - middle + 540.0).rem_euclid(360.0) - 180.0;
        // East is to the left, as on the sky.
        (-from_middle * dec.to_radians().cos(), dec)
    };
    let shapes: Vec<Vec<(f64, f64)>> = tiles
        .iter()
        .map(|(_, corners, _)| corners.iter().map(project).collect())
        .collect();
    let all = || shapes.iter().flatten();
    let reach = |of: fn(&(f64, f64)) -> f64| {
        let low = all().map(of).fold(f64::INFINITY, f64::min);
        [low, all().map(of).fold(f64::NEG_INFINITY, f64::max)]
    };
    if tiles.is_empty() {
        return "<p>No object is scored.</p>".to_owned();
    }
    let ([left, right], [bottom, top]) = (reach(|at| at.0), reach(|at| at.1));
    let pad = 0.03 * (right - left).max(top - bottom) + 0.2;
    let (width, height) = (
        right - left + 2.0 * pad,
        (top - bottom + 2.0 * pad).max(0.4 * (right - left)),
    );
    let (x, y) = (left - pad, -f64::midpoint(top, bottom) - height / 2.0);
    let mut svg = format!(
        r#"<svg viewBox="{x:.2} {y:.2} {width:.2} {height:.2}" role="img" aria-label="{what}" style="max-height: 340px">"#
    );
    for ((name, _, numbers), shape) in tiles.iter().zip(&shapes) {
        // A tile that the edge of the map cuts in two is left out.
        let torn = shape.iter().any(|at| (at.0 - shape[0].0).abs() > 90.0);
        if let Some((class, opacity, title)) = paint(numbers).filter(|_| !torn) {
            let points = shape.iter().map(|(x, y)| format!("{x:.3},{:.3}", -y));
            let points = points.collect::<Vec<_>>().join(" ");
            let _ = write!(
                svg,
                r#"<polygon points="{points}" class="tile {class}" fill-opacity="{opacity:.3}" vector-effect="non-scaling-stroke"><title>tile {name}: {title}</title></polygon>"#
            );
        }
    }
    svg.push_str("</svg>");
    let extent = |low: f64, high: f64| format!("{low:.0}° to {high:.0}°");
    let ra = (middle - f64::midpoint(left, right) + 360.0).rem_euclid(360.0);
    format!(
        "{svg}<p>{} of declination, {:.0}° wide about right ascension {ra:.0}°; east is left</p>",
        extent(bottom, top),
        right - left
    )
}

/// The mean direction of right ascensions, in degrees.
fn middle(ra_deg: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut x, mut y) = (0.0, 0.0);
    for (ra, weight) in ra_deg {
        x += weight * ra.to_radians().cos();
        y += weight * ra.to_radians().sin();
    }
    f64::atan2(y, x).to_degrees().rem_euclid(360.0)
}
