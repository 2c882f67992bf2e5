//! Checks the metadata of fixed-shape tensors, which says how their values are laid out.

use arrow::datatypes::Field;
use serde::Deserialize;

use super::SchemaError;
use super::cutout::advice;
use super::request::CutoutRequest;

/// The metadata of `arrow.fixed_shape_tensor`, without the names of its dimensions.
#[derive(Deserialize)]
struct TensorShape {
    shape: Vec<usize>,
    permutation: Option<Vec<usize>>,
}

/// Refuses a fixed-shape tensor whose layout is not `[band, y, x]`.
pub(super) fn check_tensor(field: &Field, request: &CutoutRequest) -> Result<(), SchemaError> {
    let metadata = field.metadata();
    if metadata
        .get("ARROW:extension:name")
        .is_none_or(|name| name != "arrow.fixed_shape_tensor")
    {
        return Ok(());
    }
    let text = metadata
        .get("ARROW:extension:metadata")
        .map_or("", String::as_str);
    let bands = request.catalog_bands();
    let refused = || SchemaError::Type {
        column: field.name().clone(),
        found: format!("a fixed-shape tensor {text}"),
        expected: format!(
            "of shape [{}, s, s]: [band, y, x], and not permuted, with s of {} pixels or more. {}",
            bands.len(),
            request.px,
            advice(bands)
        ),
    };
    let tensor: TensorShape = serde_json::from_str(text).map_err(|_| refused())?;
    let in_order = tensor
        .permutation
        .is_none_or(|permutation| permutation == [0, 1, 2]);
    match tensor.shape[..] {
        [n, height, width] if n == bands.len() && height == width && in_order => Ok(()),
        _ => Err(refused()),
    }
}
