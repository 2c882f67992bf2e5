//! The metrics once more, from lists of floats: the plain computation that the engine's must equal.
use std::collections::BTreeMap;

use hubbleflow_operators::{Metrics, metrics::Numbers};

use crate::intervals;

/// An object as it stands: both redshifts, the drop its prediction came with, r magnitude and HEALPix cell of order 29.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub z_phot: f32,
    pub z_spec: f32,
    pub drop: String,
    pub mag_r: Option<f32>,
    pub cell: i64,
}

/// Quantile of sorted values with linear interpolation.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * q;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The numbers of objects, each z_phot and z_spec.
#[track_caller]
pub fn assert_numbers(numbers: &Numbers, objects: &[(f32, f32)]) {
    let wide: Vec<(f64, f64)> = objects.iter().map(|&(p, s)| (p.into(), s.into())).collect();
    let dz: Vec<f64> = wide.iter().map(|(p, s)| (p - s) / (1.0 + s)).collect();
    let steps = sorted(dz.iter().map(|dz| (dz * 1e4).round() / 1e4).collect());
    let median = quantile(&steps, 0.5);
    let far = sorted(steps.iter().map(|dz| (dz - median).abs()).collect());
    let fraction =
        |limit: f64| dz.iter().filter(|dz| dz.abs() > limit).count() as f64 / dz.len() as f64;
    let errors: Vec<f64> = wide.iter().map(|(p, s)| p - s).collect();
    let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
    let z_mean = mean(&wide.iter().map(|(_, s)| *s).collect::<Vec<_>>());
    let spread: f64 = wide.iter().map(|(_, s)| (s - z_mean).powi(2)).sum();
    let expected = [
        ("bias", numbers.bias, mean(&dz)),
        ("bias_median", numbers.bias_median, median),
        (
            "sigma_nmad",
            numbers.sigma_nmad,
            1.4826 * quantile(&far, 0.5),
        ),
        (
            "sigma_iqr",
            numbers.sigma_iqr,
            (quantile(&steps, 0.75) - quantile(&steps, 0.25)) / 1.349,
        ),
        (
            "outlier_fraction_0.05",
            numbers.outlier_fraction_005,
            fraction(0.05),
        ),
        (
            "outlier_fraction_0.15",
            numbers.outlier_fraction_015,
            fraction(0.15),
        ),
        ("mse", numbers.mse, mean(&squares)),
        (
            "mae",
            numbers.mae,
            mean(&errors.iter().map(|error| error.abs()).collect::<Vec<_>>()),
        ),
    ];
    assert_eq!(numbers.n, objects.len() as i64);
    for (name, found, expected) in expected {
        let found = found.unwrap_or_else(|| panic!("no {name} of {objects:?}"));
        assert!(
            (found - expected).abs() < 3e-9,
            "{name} of {objects:?}: {found}, not {expected}"
        );
    }
    // The smaller the spread of z_spec, the more digits of the ratio are lost.
    if let Some(r2) = numbers.r2.filter(|_| spread > 1e-4) {
        let expected = 1.0 - squares.iter().sum::<f64>() / spread;
        assert!(
            (r2 - expected).abs() < 1e-4 * expected.abs().max(1.0),
            "r2 of {objects:?}: {r2}, not {expected}"
        );
    } else {
        assert!(objects.len() == 1 || spread <= 1e-4, "no r2 of {objects:?}");
    }
}

/// All metrics of objects.
#[track_caller]
pub fn assert_metrics(metrics: &Metrics, objects: &[Object]) {
    let by = |key: &dyn Fn(&Object) -> Option<String>| {
        let mut slices: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for object in objects {
            if let Some(key) = key(object) {
                let slice = slices.entry(key).or_default();
                slice.push(object.clone());
            }
        }
        slices
    };
    let equal = |numbers: &Numbers, objects: &[Object]| {
        let redshifts = objects.iter().map(|object| (object.z_phot, object.z_spec));
        assert_numbers(numbers, &redshifts.collect::<Vec<_>>());
        intervals::assert_intervals(numbers, objects);
    };
    let compare = |found: &BTreeMap<String, Numbers>, expected: BTreeMap<String, Vec<Object>>| {
        assert!(
            found.keys().eq(expected.keys()),
            "{:?}, not {:?}",
            found.keys(),
            expected.keys()
        );
        for (name, numbers) in found {
            equal(numbers, &expected[name]);
        }
    };
    match by(&|_| Some(String::new())).remove("") {
        Some(all) => equal(&metrics.all, &all),
        None => assert_eq!(metrics.all, Numbers::default()),
    }
    let edge = |value: f64, width: f64| (value / width + 1e-9).floor() * width;
    compare(&metrics.by_drop, by(&|object| Some(object.drop.clone())));
    compare(
        &metrics.by_mag.slices,
        by(&|object| Some(format!("{:.1}", edge(object.mag_r?.into(), 0.5)))),
    );
    compare(
        &metrics.by_z_spec,
        by(&|object| {
            // The edges are float32, as z_spec is: 0.4499999 lies below the one at 0.45.
            let mut edges = (-20..100)
                .rev()
                .map(|twentieths| f64::from(twentieths) / 20.0);
            let below = edges.find(|edge| *edge as f32 <= object.z_spec);
            below.map(|edge| format!("{edge:.2}"))
        }),
    );
    compare(
        &metrics.by_tile,
        by(&|object| Some(format!("5/{}", object.cell / 4_i64.pow(24)))),
    );
}
