//! Copies rows into a batch as a model takes it: the one copy between Arrow and tensors.
//!
//! | input | shape | type |
//! |---|---|---|
//! | cutouts | `[batch, band, y, x]` | float32, nanomaggies |
//! | mags | `[batch, band]` | float32, AB |
//! | embeddings | `[batch, width]` | float32 |
//! | E(B-V) | `[batch]` | float32, magnitudes |
use connectors::galaxy::Galaxies;
use models::{Error, Inputs, Needs};
use tch::{Device, Kind, Tensor};

/// Copies these rows into a batch.
///
/// The copy crops cutouts to the pixels that are needed and closes the gaps between them. `memory` makes the tensors, as
/// [`Model::host_tensor`](models::Model::host_tensor) does.
///
/// # Errors
/// The errors of `memory`.
///
/// # Panics
/// If a row lacks an input that is needed: [`judge`](crate::validate::judge) rejects these rows.
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
/// # use connectors::galaxy::{Layout, MagRequest, Request};
/// # use models::Needs;
/// use hubbleflow_operators::inputs::inputs;
/// # let mut columns: Vec<(&str, ArrayRef)> = vec![
/// #     ("object_id", Arc::new(Int64Array::from(vec![1, 2]))),
/// #     ("ra", Arc::new(Float64Array::from(vec![180.0, 180.0]))),
/// #     ("dec", Arc::new(Float64Array::from(vec![20.0, 20.0]))),
/// # ];
/// # for (mag, value) in [("mag_u", 19.0), ("mag_g", 18.0), ("mag_r", 17.0), ("mag_i", 16.5), ("mag_z", 16.0)] {
/// #     columns.push((mag, Arc::new(Float32Array::from(vec![0.0, value]))));
/// # }
/// # let batch = RecordBatch::try_from_iter(columns).unwrap();
/// # let request = Request { mags: MagRequest::required(["u", "g", "r", "i", "z"], "r"), ..Request::default() };
/// # let galaxies = Layout::resolve(batch.schema_ref(), &request).unwrap().decode(&batch).unwrap();
///
/// // Of two galaxies, the second is to be predicted.
/// let needs = Needs::of_mags(["u", "g", "r", "i", "z"]);
/// let batch = inputs(&needs, &galaxies, &[1], models::host_tensor)?;
/// let mags = batch.mags.unwrap();
/// assert_eq!(mags.size(), [1, 5]);
/// assert_eq!(Vec::<f32>::try_from(mags.flatten(0, 1)).unwrap(), [19.0, 18.0, 17.0, 16.5, 16.0]);
/// assert!(batch.cutouts.is_none());
/// # Ok::<(), models::Error>(())
/// ```
pub fn inputs(
    needs: &Needs,
    galaxies: &Galaxies,
    rows: &[usize],
    memory: impl Fn(&[i64]) -> Result<Tensor, Error>,
) -> Result<Inputs, Error> {
    let batch = rows.len() as i64;
    let cutouts = needs.cutouts.as_ref().map(|needs| {
        let (bands, px) = (needs.bands.len(), needs.px);
        let cutouts = galaxies
            .cutouts
            .as_ref()
            .expect("invariant: rows without a cutout were rejected");
        let tensor = memory(&[batch, bands as i64, px as i64, px as i64])?;
        Ok::<_, Error>(filled(tensor, |pixels| {
            for (&row, pixels) in rows.iter().zip(pixels.chunks_exact_mut(bands * px * px)) {
                cutouts
                    .get(row)
                    .expect("invariant: rows whose cutout is faulty were rejected")
                    .crop_into(px, pixels);
            }
        }))
    });
    let bands = needs.mags.len();
    let mags = needs.mags_required.then(|| {
        let mags = galaxies
            .mags
            .as_ref()
            .expect("invariant: rows without magnitudes were rejected");
        Ok::<_, Error>(filled(memory(&[batch, bands as i64])?, |values| {
            for (&row, values) in rows.iter().zip(values.chunks_exact_mut(bands)) {
                values
                    .iter_mut()
                    .zip(mags)
                    .for_each(|(value, band)| *value = band.value(row));
            }
        }))
    });
    let embeddings = needs.embedding_width.map(|width| {
        let embeddings = galaxies
            .embeddings
            .as_ref()
            .expect("invariant: rows without an embedding were rejected");
        Ok::<_, Error>(filled(memory(&[batch, width as i64])?, |values| {
            for (&row, values) in rows.iter().zip(values.chunks_exact_mut(width)) {
                embeddings.copy_into(row, values);
            }
        }))
    });
    let ebv = (!needs.dereddening.is_empty()).then(|| {
        Ok::<_, Error>(filled(memory(&[batch])?, |values| {
            for (&row, value) in rows.iter().zip(values) {
                *value = galaxies.ebv.value(row);
            }
        }))
    });
    Ok(Inputs {
        cutouts: cutouts.transpose()?,
        mags: mags.transpose()?,
        embeddings: embeddings.transpose()?,
        ebv: ebv.transpose()?,
    })
}

/// The tensor, with its values written by `fill`.
///
/// # Panics
/// If the tensor is not float32, contiguous and on the CPU.
fn filled(tensor: Tensor, fill: impl FnOnce(&mut [f32])) -> Tensor {
    let on_cpu = tensor.device() == Device::Cpu && tensor.is_contiguous();
    let fits = on_cpu && tensor.kind() == Kind::Float;
    assert!(
        fits,
        "invariant: a batch is contiguous float32 in the CPU's memory"
    );
    // SAFETY: the tensor is contiguous, float32, on the CPU and has this number of elements. Nobody else has it, and
    // every bit pattern is an f32.
    let values =
        unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel()) };
    fill(values);
    tensor
}
