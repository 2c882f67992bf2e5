//! The pinball loss of quantiles (Koenker & Bassett 1978), and the scores of a distribution that follow from it.
//!
//! | tensor | shape |
//! |---|---|
//! | quantiles | `[batch, level]`, ascending |
//! | z_spec | `[batch]` |

use tch::{Kind, TchError, Tensor};

/// The mean over galaxies and levels of the loss `max(level e, (level - 1) e)` of an error `e = z_spec - quantile`. It is
/// least where a part `level` of all z_spec lies below the quantile.
pub(super) fn pinball(
    quantiles: &Tensor,
    z_spec: &Tensor,
    levels: &[f64],
) -> Result<Tensor, TchError> {
    losses(quantiles, z_spec, levels)?.f_mean(None)
}

/// The loss of each quantile, `[batch, level]`.
fn losses(quantiles: &Tensor, z_spec: &Tensor, levels: &[f64]) -> Result<Tensor, TchError> {
    let on = (quantiles.kind(), quantiles.device());
    let levels = Tensor::f_from_slice(levels)?.f_to_device_(on.1, on.0, false, false)?;
    let error = z_spec.f_unsqueeze(1)?.f_sub(quantiles)?;
    error.f_mul(&levels)?.f_sub(&error.f_clamp_max(0.0)?)
}

/// The continuous ranked probability score: twice the integral over the levels of the mean pinball loss, by trapezoids
/// between levels.
pub(super) fn crps(quantiles: &Tensor, z_spec: &Tensor, levels: &[f64]) -> Result<f64, TchError> {
    let by_level = losses(quantiles, z_spec, levels)?;
    let by_level = by_level.f_mean_dim([0i64].as_slice(), false, Kind::Double)?;
    let by_level = Vec::<f64>::try_from(by_level)?;
    let steps = levels.windows(2).zip(by_level.windows(2));
    Ok(steps
        .map(|(level, loss)| (level[1] - level[0]) * (loss[0] + loss[1]))
        .sum())
}

/// The fraction of z_spec between the quantiles of two levels, inclusive; `None` if a level lies outside `levels`.
pub(super) fn coverage(
    quantiles: &Tensor,
    z_spec: &Tensor,
    levels: &[f64],
    [low, high]: [f64; 2],
) -> Result<Option<f64>, TchError> {
    let bound = |level| at(quantiles, levels, level).transpose();
    let (Some(low), Some(high)) = (bound(low)?, bound(high)?) else {
        return Ok(None);
    };
    let inside = z_spec.f_ge_tensor(&low)?;
    let inside = inside.f_logical_and(&z_spec.f_le_tensor(&high)?)?;
    let part = inside.f_to_kind(Kind::Double)?.f_mean(None)?;
    Ok(Some(part.f_double_value(&[])?))
}

/// The quantile of a level, `[batch]`: between two levels by linear interpolation, and `None` outside of them.
fn at(quantiles: &Tensor, levels: &[f64], level: f64) -> Option<Result<Tensor, TchError>> {
    let above = levels.iter().position(|known| *known >= level)?;
    let column = |n: usize| quantiles.f_select(1, n as i64);
    if levels[above] == level {
        return Some(column(above));
    }
    let below = above.checked_sub(1)?;
    let part = (level - levels[below]) / (levels[above] - levels[below]);
    let between = || column(below)?.f_lerp(&column(above)?, part);
    Some(between())
}
