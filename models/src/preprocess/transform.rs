//! What both kinds of preprocessing share.

use tch::{TchError, Tensor};

/// Applies a transformation with two tensors to `x`, or returns `x` unchanged if there are no tensors.
pub(super) fn transformed(
    x: &Tensor,
    tensors: Option<[Tensor; 2]>,
    transform: fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor, TchError>,
) -> Result<Tensor, TchError> {
    let Some(tensors) = tensors else {
        return Ok(x.shallow_clone());
    };
    let [first, second] = tensors.map(|tensor| tensor.f_to_device(x.device()));
    transform(x, &first?, &second?)
}

/// Checks that a field has one number for each band of another field.
pub(crate) fn one_each(name: &str, found: usize, field: &str, bands: usize) -> Result<(), String> {
    if found == bands {
        return Ok(());
    }
    Err(format!(
        "`{name}` has {found} entries, and `{field}` {bands} bands: it must have one for each of them"
    ))
}

/// Rounds to seven digits, the precision of float32.
pub(crate) fn rounded(value: f64) -> f64 {
    f64::from(value as f32)
}
