//! The quantile head: what becomes of the outputs of a network's last layer, `[batch, level]`.
//!
//! The middle output is the median. The step from the median to the next level, on either side, and from there to the level
//! after it, is a softplus, above zero. So the quantiles of a galaxy ascend, whatever the weights are.

use std::cmp::Ordering;

use tch::{TchError, Tensor};

/// The median of each galaxy, `[batch]`. For a head with one output it is that output, the redshift.
pub(crate) fn median(out: &Tensor) -> Result<Tensor, TchError> {
    let levels = out.size2()?.1;
    out.f_select(1, levels / 2)?.f_contiguous()
}

/// The least step between two levels that [`outputs_of`] makes. A softplus of zero is beyond any output.
const STEP_MIN: f64 = 1e-4;

/// The outputs whose quantiles are these: the reverse of [`quantiles`] for one galaxy, except that no step is below
/// [`STEP_MIN`].
pub(crate) fn outputs_of(quantiles: &[f32]) -> Vec<f32> {
    let middle = quantiles.len() / 2;
    let output = |(k, &quantile): (usize, &f32)| {
        let nearer = match k.cmp(&middle) {
            Ordering::Less => quantiles[k + 1],
            Ordering::Equal => return quantile,
            Ordering::Greater => quantiles[k - 1],
        };
        let step = f64::from((quantile - nearer).abs()).max(STEP_MIN);
        step.exp_m1().ln() as f32
    };
    quantiles.iter().enumerate().map(output).collect()
}

/// The quantiles of each galaxy, `[batch, level]`, ascending.
///
/// ```text
/// q[middle] = out[middle]
/// q[k] = q[k - 1] + softplus(out[k])    above the middle
/// q[k] = q[k + 1] - softplus(out[k])    below the middle
/// ```
pub(crate) fn quantiles(out: &Tensor) -> Result<Tensor, TchError> {
    let side = out.size2()?.1 / 2;
    // Levels come first: along the last dimension a GPU adds in another order, in which rounding may let a row descend.
    let out = out.f_transpose(0, 1)?.f_contiguous()?;
    let steps = out.f_softplus()?;
    let median = out.f_narrow(0, side, 1)?;
    let above = steps.f_narrow(0, side + 1, side)?.f_cumsum(0, None)?;
    let below = steps.f_narrow(0, 0, side)?.f_flip([0])?;
    let below = below.f_cumsum(0, None)?.f_flip([0])?;
    let rows = [&median.f_sub(&below)?, &median, &median.f_add(&above)?];
    Tensor::f_cat(&rows, 0)?.f_transpose(0, 1)?.f_contiguous()
}
