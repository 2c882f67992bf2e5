//! What a model takes: cutouts and magnitudes.

use tch::{Kind, Tensor};

use crate::error::Error;

/// A batch of galaxies for a model.
#[derive(Debug)]
pub struct Inputs {
    /// `[batch, 5, px, px]` float32 on the CPU: bands ugriz, nanomaggies.
    pub cutouts: Option<Tensor>,
    /// `[batch, 5]` float32 on the CPU: bands ugriz, AB magnitudes.
    pub mags: Option<Tensor>,
}

/// The inputs that a model uses. The others may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Whether it uses cutouts.
    pub cutouts: bool,
    /// Whether it uses magnitudes.
    pub mags: bool,
}

impl Inputs {
    /// The number of galaxies in the batch, by whichever input is there.
    ///
    /// ```
    /// let inputs = hubbleflow_models::init::inputs(3, 32)?;
    /// assert_eq!(inputs.batch(), 3);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn batch(&self) -> usize {
        let first = self.cutouts.as_ref().or(self.mags.as_ref());
        first.and_then(|t| t.size().first().copied()).unwrap_or(0) as usize
    }

    /// Takes the inputs in `needs`, checks their shapes, and crops cutouts to `cutout_px`.
    ///
    /// The results begin at a multiple of 64 bytes, because the last bits of a product can depend on it. Tensors that
    /// begin elsewhere are copied.
    ///
    /// # Errors
    /// [`Error::Inputs`] if an input is missing or has another shape.
    pub(crate) fn checked(&self, needs: Needs, cutout_px: usize) -> Result<Inputs, Error> {
        let cutouts = match (&self.cutouts, needs.cutouts) {
            (_, false) => None,
            (None, true) => return Err(Error::Inputs("it needs cutouts".to_owned())),
            (Some(cutouts), true) => Some(cropped(cutouts, cutout_px as i64)?),
        };
        let mags = match (&self.mags, needs.mags) {
            (_, false) => None,
            (None, true) => return Err(Error::Inputs("it needs magnitudes".to_owned())),
            (Some(mags), true) => match mags.size()[..] {
                [_, 5] if mags.kind() == Kind::Float => Some(aligned(mags.f_contiguous()?)?),
                _ => return Err(misshapen("mags", "[batch, 5]", mags)),
            },
        };
        match (&cutouts, &mags) {
            (Some(c), Some(m)) if c.size()[0] != m.size()[0] => Err(Error::Inputs(format!(
                "{} cutouts, but {} rows of magnitudes",
                c.size()[0],
                m.size()[0]
            ))),
            _ => Ok(Inputs { cutouts, mags }),
        }
    }
}

/// Crops each cutout to the `side` by `side` pixels around its centre.
fn cropped(cutouts: &Tensor, side: i64) -> Result<Tensor, Error> {
    match cutouts.size()[..] {
        [_, 5, y, x] if y == x && x >= side && cutouts.kind() == Kind::Float => {
            let start = (x - side) / 2;
            let cropped = cutouts.f_narrow(2, start, side)?.f_narrow(3, start, side)?;
            aligned(cropped.f_contiguous()?)
        }
        _ => Err(misshapen(
            "cutouts",
            &format!("[batch, 5, px, px], px >= {side}"),
            cutouts,
        )),
    }
}

/// Copies a tensor that does not begin at a multiple of 64 bytes.
fn aligned(tensor: Tensor) -> Result<Tensor, Error> {
    if (tensor.data_ptr() as usize).is_multiple_of(64) {
        Ok(tensor)
    } else {
        Ok(tensor.f_to_device_(tensor.device(), tensor.kind(), false, true)?)
    }
}

fn misshapen(name: &str, expected: &str, found: &Tensor) -> Error {
    let (shape, kind) = (found.size(), found.kind());
    Error::Inputs(format!(
        "{name} must be {expected} of Float, not {shape:?} of {kind:?}"
    ))
}
