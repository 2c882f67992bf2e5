//! A batch of cutouts, magnitudes and embeddings, checked.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::Error;
use crate::needs::{CutoutNeeds, Needs};

/// An input of a network, as a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputName {
    /// `[batch, band, y, x]`.
    Cutouts,
    /// `[batch, band]`.
    Mags,
    /// `[batch, width]`: the embeddings that another model gave.
    Embedding,
}

impl InputName {
    /// All inputs.
    pub const ALL: [InputName; 3] = [InputName::Cutouts, InputName::Mags, InputName::Embedding];
}

impl fmt::Display for InputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputName::Cutouts => "cutouts",
            InputName::Mags => "mags",
            InputName::Embedding => "embedding",
        })
    }
}

/// A batch of galaxies for a model.
#[derive(Debug, Default)]
pub struct Inputs {
    /// `[batch, band, y, x]` float32 on the CPU: nanomaggies, in the bands that the model takes.
    pub cutouts: Option<Tensor>,
    /// `[batch, band]` float32 on the CPU: AB magnitudes, in the bands that the model takes.
    pub mags: Option<Tensor>,
    /// `[batch, width]` float32 on the CPU: the embeddings that another model gave.
    pub embeddings: Option<Tensor>,
    /// `[batch]` float32 on the CPU: E(B-V) of Schlegel, Finkbeiner & Davis 1998, in magnitudes, if the cutouts are still
    /// dimmed by the dust of the Milky Way and the model corrects them.
    pub ebv: Option<Tensor>,
}

impl Inputs {
    /// The number of galaxies in the batch, by whichever input is there.
    ///
    /// ```
    /// let inputs = hubbleflow_models::init::inputs(3, &hubbleflow_models::Needs::of_mags(["g", "r"]))?;
    /// assert_eq!(inputs.batch(), 3);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn batch(&self) -> usize {
        let mut all = [&self.cutouts, &self.mags, &self.embeddings].into_iter();
        let first = all.find_map(Option::as_ref);
        first.and_then(|t| t.size().first().copied()).unwrap_or(0) as usize
    }

    /// Corrects the cutouts for the dust of the Milky Way, if the model does: each band becomes brighter by `A E(B-V)`
    /// magnitudes. Then `ebv` is not needed any more.
    ///
    /// # Errors
    /// [`Error::Inputs`] if E(B-V) is missing or of other galaxies.
    ///
    /// ```
    /// use hubbleflow_models::{Inputs, Needs};
    /// let ones = tch::Tensor::ones([1, 2, 1, 1], (tch::Kind::Float, tch::Device::Cpu));
    /// let ebv = tch::Tensor::from_slice(&[0.5f32]);
    /// let dimmed = Inputs { cutouts: Some(ones), ebv: Some(ebv), ..Inputs::default() };
    /// let needs = Needs { dereddening: vec![5.0, 0.0], ..Needs::default() };
    /// let cutouts = dimmed.dereddened(&needs)?.cutouts.unwrap();
    /// assert_eq!(Vec::<f32>::try_from(cutouts.flatten(0, 3)).unwrap(), [10.0, 1.0]);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn dereddened(mut self, needs: &Needs) -> Result<Self, Error> {
        let factors = self.dereddening(needs)?;
        if let (Some(cutouts), Some(factors)) = (&self.cutouts, factors) {
            let factors = factors.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
            self.cutouts = Some(aligned(cutouts.f_mul(&factors)?)?);
            self.ebv = None;
        }
        Ok(self)
    }

    /// The factors, `[batch, band]`, that correct the cutouts for the dust of the Milky Way, if the model does.
    ///
    /// # Errors
    /// [`Error::Inputs`] if E(B-V) is missing or of other galaxies.
    pub(crate) fn dereddening(&self, needs: &Needs) -> Result<Option<Tensor>, Error> {
        let cutouts = self.cutouts.as_ref();
        let Some(cutouts) = cutouts.filter(|_| !needs.dereddening.is_empty()) else {
            return Ok(None);
        };
        let ebv = self.ebv.as_ref();
        let ebv = ebv.ok_or_else(|| Error::Inputs("it needs E(B-V)".to_owned()))?;
        let batch = cutouts.size()[0];
        if ebv.size() != [batch] || ebv.kind() != Kind::Float {
            return Err(misshapen("ebv", &format!("[{batch}]"), ebv));
        }
        // One by one, so that a factor has the same bits in any batch.
        let ebv = Vec::<f32>::try_from(ebv)?;
        let of_galaxy = |&ebv: &f32| needs.dereddening_factors(ebv);
        let factors: Vec<f32> = ebv.iter().flat_map(of_galaxy).collect();
        Ok(Some(
            Tensor::f_from_slice(&factors)?.f_reshape([batch, -1])?,
        ))
    }

    /// Takes the inputs in `needs` as [`Self::checked_as_they_are`] does, and corrects cutouts for dust if the model does.
    ///
    /// # Errors
    /// [`Error::Inputs`] if an input is missing or has another shape.
    pub(crate) fn checked(&self, needs: &Needs) -> Result<Inputs, Error> {
        self.checked_as_they_are(needs)?.dereddened(needs)
    }

    /// Takes the inputs in `needs`, checks their shapes, and crops cutouts to their side.
    ///
    /// The results begin at a multiple of 64 bytes, because the last bits of a product can depend on it. Tensors that
    /// begin elsewhere are copied.
    ///
    /// # Errors
    /// [`Error::Inputs`] if an input is missing or has another shape.
    pub(crate) fn checked_as_they_are(&self, needs: &Needs) -> Result<Inputs, Error> {
        let cutouts = match (&self.cutouts, &needs.cutouts) {
            (_, None) => None,
            (None, Some(_)) => return Err(Error::Inputs("it needs cutouts".to_owned())),
            (Some(cutouts), Some(needs)) => Some(cropped(cutouts, needs)?),
        };
        let bands = needs.mags_required.then_some(needs.mags.len());
        let checked = Inputs {
            cutouts,
            mags: rows("mags", &self.mags, bands)?,
            embeddings: rows("embeddings", &self.embeddings, needs.embedding_width)?,
            ebv: self.ebv.as_ref().map(Tensor::shallow_clone),
        };
        checked.agree()?;
        Ok(checked)
    }

    /// The inputs with these names, in this order.
    ///
    /// # Panics
    /// If one of them is missing. [`Inputs::checked`] makes sure that those in the needs are there.
    pub(crate) fn named(&self, names: &[InputName]) -> Vec<&Tensor> {
        let named = names.iter().map(|name| match name {
            InputName::Cutouts => &self.cutouts,
            InputName::Mags => &self.mags,
            InputName::Embedding => &self.embeddings,
        });
        let tensors = named.map(|input| {
            let tensor = input.as_ref();
            tensor.expect("invariant: inputs that were checked are there")
        });
        tensors.collect()
    }

    /// Checks that all inputs are of the same number of galaxies.
    fn agree(&self) -> Result<(), Error> {
        let all = [
            ("cutouts", &self.cutouts),
            ("rows of magnitudes", &self.mags),
            ("embeddings", &self.embeddings),
        ];
        let mut given = all.into_iter().filter_map(|(name, tensor)| {
            let batch = tensor.as_ref()?.size()[0];
            Some((batch, name))
        });
        let Some((batch, name)) = given.next() else {
            return Ok(());
        };
        match given.find(|(other, _)| *other != batch) {
            None => Ok(()),
            Some((other, others)) => Err(Error::Inputs(format!(
                "{batch} {name}, but {other} {others}"
            ))),
        }
    }
}

/// Checks an input of `[batch, width]`, if the model uses it.
fn rows(name: &str, input: &Option<Tensor>, width: Option<usize>) -> Result<Option<Tensor>, Error> {
    let Some(width) = width else {
        return Ok(None);
    };
    let Some(input) = input else {
        return Err(Error::Inputs(format!("it needs {name}")));
    };
    match input.size()[..] {
        [_, found] if found == width as i64 && input.kind() == Kind::Float => {
            Ok(Some(aligned(input.f_contiguous()?)?))
        }
        _ => Err(misshapen(name, &format!("[batch, {width}]"), input)),
    }
}

/// Crops each cutout to the pixels around its centre that are needed.
fn cropped(cutouts: &Tensor, needs: &CutoutNeeds) -> Result<Tensor, Error> {
    let (bands, side) = (needs.bands.len() as i64, needs.px as i64);
    match cutouts.size()[..] {
        [_, found, y, x]
            if found == bands && y == x && x >= side && cutouts.kind() == Kind::Float =>
        {
            let start = (x - side) / 2;
            let cropped = cutouts.f_narrow(2, start, side)?.f_narrow(3, start, side)?;
            aligned(cropped.f_contiguous()?)
        }
        _ => Err(misshapen(
            "cutouts",
            &format!("[batch, {bands}, px, px], px >= {side}"),
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
