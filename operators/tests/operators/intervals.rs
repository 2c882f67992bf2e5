//! Quantiles for the oracle's histories, and their metrics once more, by plain computation.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float32Array},
    datatypes::{DataType, Field},
};
use hubbleflow_operators::metrics::Numbers;
use serde_json::{Value, json};

use crate::{plain::Object, score_output::Says};

/// The bounds of the intervals: column and level.
const BOUNDS: [(&str, f64); 4] = [
    ("z_low68", 0.16),
    ("z_high68", 0.84),
    ("z_low95", 0.025),
    ("z_high95", 0.975),
];

/// The levels of the model of a drop, and whether the drop has all quantiles. The other drops are of models without
/// quantiles.
fn model_of(drop: &str) -> Option<(&'static [f64], bool)> {
    match drop {
        "a" => Some((&[0.025, 0.16, 0.3, 0.5, 0.7, 0.84, 0.975], true)),
        "b" => Some((&[0.025, 0.16, 0.5, 0.84, 0.975], false)),
        "c" => Some((&[0.1, 0.5, 0.9], true)),
        _ => None,
    }
}

/// The settings of a drop, as the ledger keeps them.
pub fn settings(drop: &str) -> Value {
    let model = model_of(drop);
    json!({"levels": model.map(|(levels, _)| levels), "quantiles": model.is_none_or(|(_, is_whole)| is_whole)})
}

/// The quantiles of a redshift. Some are equal.
fn quantiles(levels: &[f64], z_phot: f32, cell: i64) -> Vec<f32> {
    let width = (cell % 7) as f32 * 0.05;
    let quantile = |level: &f64| z_phot + width * (*level as f32 - 0.5).max(-0.3);
    levels.iter().map(quantile).collect()
}

fn bound(level: f64, levels: &[f64], quantiles: &[f32]) -> Option<f32> {
    let above = levels.iter().position(|known| *known >= level)?;
    if levels[above] == level {
        return Some(quantiles[above]);
    }
    let below = above.checked_sub(1)?;
    let part = (level - levels[below]) / (levels[above] - levels[below]);
    let (low, high) = (f64::from(quantiles[below]), f64::from(quantiles[above]));
    Some((low + part * (high - low)) as f32)
}

/// The columns of quantiles in the file of a drop.
pub fn columns(drop: &str, rows: &[(&i64, &Says)]) -> Vec<(&'static str, ArrayRef)> {
    let Some((levels, is_whole)) = model_of(drop) else {
        return Vec::new();
    };
    let of = |says: &Says| match says {
        Says::Predicted { z_phot, cell, .. } => Some(quantiles(levels, *z_phot, *cell)),
        Says::Withdrawn => None,
    };
    let of_rows: Vec<Option<Vec<f32>>> = rows.iter().map(|(_, says)| of(says)).collect();
    if is_whole {
        let values = of_rows.iter().flat_map(|of| match of {
            Some(values) => values.clone(),
            None => vec![f32::NAN; levels.len()],
        });
        let values: ArrayRef = Arc::new(values.collect::<Float32Array>());
        let item = Arc::new(Field::new_list_field(DataType::Float32, true));
        let nulls = of_rows.iter().map(Option::is_some).collect::<Vec<_>>();
        let width = levels.len() as i32;
        let lists = FixedSizeListArray::try_new(item, width, values, Some(nulls.into()));
        return vec![("z_quantiles", Arc::new(lists.unwrap()))];
    }
    let column = |(name, level)| -> (_, ArrayRef) {
        let of = |of: &Option<Vec<f32>>| bound(level, levels, of.as_deref()?);
        (
            name,
            Arc::new(of_rows.iter().map(of).collect::<Float32Array>()),
        )
    };
    BOUNDS.map(column).into()
}

fn crps(levels: &[f64], quantiles: &[f32], z: f32) -> f64 {
    let tau = levels;
    let loss: Vec<f64> = std::iter::zip(tau, quantiles)
        .map(|(tau, q)| {
            let (z, q) = (f64::from(z), f64::from(*q));
            if z >= q {
                tau * (z - q)
            } else {
                (1.0 - tau) * (q - z)
            }
        })
        .collect();
    let trapezoids = (1..tau.len()).map(|k| (tau[k] - tau[k - 1]) * (loss[k] + loss[k - 1]) / 2.0);
    2.0 * trapezoids.sum::<f64>()
}

fn pit(levels: &[f64], quantiles: &[f32], z: f32) -> f64 {
    let last = quantiles.len() - 1;
    if z < quantiles[0] {
        return 0.0;
    }
    if z > quantiles[last] {
        return 1.0;
    }
    let at = (0..=last).rev().find(|&at| quantiles[at] <= z).unwrap();
    if at == last {
        return levels[last];
    }
    let (from, to) = (f64::from(quantiles[at]), f64::from(quantiles[at + 1]));
    levels[at] + (f64::from(z) - from) / (to - from) * (levels[at + 1] - levels[at])
}

/// Asserts the metrics of intervals of these objects.
#[track_caller]
pub fn assert_intervals(numbers: &Numbers, objects: &[Object]) {
    let (mut inside, mut scores, mut histogram) = ([vec![], vec![]], vec![], vec![0_i64; 20]);
    for Object {
        z_phot,
        z_spec,
        drop,
        cell,
        ..
    } in objects
    {
        let Some((levels, is_whole)) = model_of(drop) else {
            continue;
        };
        let values = quantiles(levels, *z_phot, *cell);
        let at = |level| bound(level, levels, &values);
        for (inside, [low, high]) in inside.iter_mut().zip([[0.16, 0.84], [0.025, 0.975]]) {
            if let (Some(low), Some(high)) = (at(low), at(high)) {
                inside.push(f64::from(low <= *z_spec && *z_spec <= high));
            }
        }
        if is_whole {
            scores.push(crps(levels, &values, *z_spec));
            let bin = (pit(levels, &values, *z_spec) * 20.0) as usize;
            histogram[bin.min(19)] += 1;
        }
    }
    let mean = |values: &[f64]| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let found = [numbers.coverage_68, numbers.coverage_95, numbers.crps];
    let expected = [mean(&inside[0]), mean(&inside[1]), mean(&scores)];
    for (found, expected) in found.into_iter().zip(expected) {
        let near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 3e-9,
            (found, expected) => found == expected,
        };
        assert!(near, "{found:?}, not {expected:?}, of {objects:?}");
    }
    let histogram = (!scores.is_empty()).then_some(histogram);
    assert_eq!(numbers.pit, histogram, "of {objects:?}");
}
