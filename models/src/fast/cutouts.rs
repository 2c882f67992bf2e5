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

impl Cutouts<'_> {
    /// The factors, ones if there are none.
    pub(super) fn dereddening_or_ones(&self) -> Result<Tensor, TchError> {
        let (batch, bands, _, _) = self.flux.size4()?;
        match self.dereddening {
            Some(factors) => Ok(factors.shallow_clone()),
            None => Tensor::f_ones([batch, bands], (Kind::Float, self.flux.device())),
        }
    }
}

/// Cutouts, and the same in the scale and the numbers of a network.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub(super) cutouts: Cutouts<'a>,
    scaled: Option<Tensor>,
}

impl<'a> Image<'a> {
    /// The cutouts as they are, for branches whose kernels scale them.
    pub(super) fn unscaled(cutouts: Cutouts<'a>) -> Self {
        Self {
            cutouts,
            scaled: None,
        }
    }

    /// The cutouts and the same scaled.
    pub(super) fn scaled_by(
        asinh: Option<&Asinh>,
        cutouts: Cutouts<'a>,
        on: Backend,
    ) -> Result<Self, TchError> {
        let Cutouts { flux, dereddening } = cutouts;
        let dereddened = dereddening.map(|factors| {
            let (batch, bands) = factors.size2()?;
            flux.f_mul(&factors.f_view([batch, bands, 1, 1])?)
        });
        let dereddened = dereddened.transpose()?;
        let flux = dereddened.as_ref().unwrap_or(flux);
        let scaled = match asinh {
            None => flux.f_to_kind(on.kind)?,
            Some(asinh) => asinh.forward(flux)?,
        };
        Ok(Self {
            cutouts,
            scaled: Some(scaled),
        })
    }

    /// The scaled cutouts, `[batch, band, y, x]`.
    pub(super) fn scaled(&self) -> &Tensor {
        let scaled = self.scaled.as_ref();
        scaled.expect("invariant: cutouts are scaled if a branch takes them so")
    }
}
