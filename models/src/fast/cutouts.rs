//! The cutouts of a batch, in the two forms that the branches take.

use tch::{Kind, TchError, Tensor};

use super::asinh::Asinh;
use super::backend::Backend;

/// Cutouts on a network's device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutouts<'a> {
    /// `[batch, band, y, x]` of float32, in nanomaggies.
    pub(crate) flux: &'a Tensor,
    /// The factor of each band that makes up for the dust of the Milky Way, `[batch, band]` of float32, if the cutouts are
    /// still to be multiplied with it.
    pub(crate) dereddening: Option<&'a Tensor>,
}

/// Cutouts as they are, and scaled.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub(super) cutouts: Cutouts<'a>,
    asinh: Option<&'a Asinh>,
    scaled: Option<Tensor>,
}

impl<'a> Image<'a> {
    /// Cutouts for a network with this scale. They are scaled if a branch takes them so.
    pub(super) fn new(
        cutouts: Cutouts<'a>,
        asinh: Option<&'a Asinh>,
        is_taken_scaled: bool,
        on: Backend,
    ) -> Result<Self, TchError> {
        let scaled = is_taken_scaled.then(|| scaled(cutouts, asinh, on));
        Ok(Self {
            cutouts,
            asinh,
            scaled: scaled.transpose()?,
        })
    }

    /// The cutouts in the scale and the numbers of the network, `[batch, band, y, x]`.
    pub(super) fn scaled(&self) -> &Tensor {
        let scaled = self.scaled.as_ref();
        scaled.expect("invariant: cutouts are scaled if a branch takes them so")
    }

    /// Slope and factor of each band, if the network has a scale: for kernels, which scale cutouts themselves.
    pub(super) fn scales(&self) -> Option<[&Tensor; 2]> {
        self.asinh.map(Asinh::scales)
    }

    /// The factors for dust, `[batch, band]`: ones if cutouts are not to be corrected.
    pub(super) fn dereddening(&self) -> Result<Tensor, TchError> {
        let Cutouts { flux, dereddening } = self.cutouts;
        let (batch, bands, _, _) = flux.size4()?;
        match dereddening {
            Some(factors) => Ok(factors.shallow_clone()),
            None => Tensor::f_ones([batch, bands], (Kind::Float, flux.device())),
        }
    }
}

/// Corrects cutouts for dust and scales them.
fn scaled(cutouts: Cutouts<'_>, asinh: Option<&Asinh>, on: Backend) -> Result<Tensor, TchError> {
    let Cutouts { flux, dereddening } = cutouts;
    let dereddened =
        dereddening.map(|factors| flux.f_mul(&factors.f_unsqueeze(-1)?.f_unsqueeze(-1)?));
    let dereddened = dereddened.transpose()?;
    let flux = dereddened.as_ref().unwrap_or(flux);
    match asinh {
        None => flux.f_to_kind(on.kind),
        Some(asinh) => asinh.forward(flux),
    }
}
