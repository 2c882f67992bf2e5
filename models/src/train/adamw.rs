//! AdamW on one long vector of weights.
//!
//! Loshchilov & Hutter 2019, [arXiv:1711.05101]. With gradient `g`, step `t`, betas 0.9 and 0.95, and epsilon 1e-8:
//! `m <- lerp(m, g, 1 - b1)`, `v <- lerp(v, g^2, 1 - b2)`,
//! `w <- (1 - rate decay) w - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)`.
//!
//! [arXiv:1711.05101]: https://arxiv.org/abs/1711.05101

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

const BETAS: [f64; 2] = [0.9, 0.95];
const EPSILON: f64 = 1e-8;

/// Tensors that learn alike, in one long vector.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) names: Vec<String>,
    shapes: Vec<Vec<i64>>,
    /// `[elements]` float32: the weights.
    pub(super) values: Tensor,
    /// `[elements]`: the moving average of the gradient.
    mean: Tensor,
    /// `[elements]`: the moving average of its square.
    square: Tensor,
    /// `[elements]`: the moving average of the values.
    pub(super) average: Tensor,
    /// Whether the weights decay.
    pub(super) decays: bool,
}

impl Group {
    pub(super) fn new(
        tensors: BTreeMap<String, Tensor>,
        decays: bool,
        device: Device,
    ) -> Result<Self, TchError> {
        let shapes = tensors.values().map(Tensor::size).collect();
        let flat: Result<Vec<_>, _> = tensors.values().map(|t| t.f_flatten(0, -1)).collect();
        let values = match flat? {
            flat if flat.is_empty() => Tensor::f_zeros([0], (Kind::Float, device))?,
            flat => Tensor::f_cat(&flat, 0)?,
        };
        Ok(Self {
            names: tensors.into_keys().collect(),
            shapes,
            mean: values.f_zeros_like()?,
            average: values.f_detach_copy()?,
            square: values.f_zeros_like()?,
            values: values.f_set_requires_grad(true)?,
            decays,
        })
    }

    /// The vectors that the next step depends on, by name.
    pub(super) fn parts(&self) -> [(&'static str, &Tensor); 4] {
        [
            ("values", &self.values),
            ("mean", &self.mean),
            ("square", &self.square),
            ("average", &self.average),
        ]
    }

    /// The tensors whose elements lie in `flat`, in the order of the names.
    pub(super) fn views(&self, flat: &Tensor) -> Result<Vec<Tensor>, TchError> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let sizes: Vec<i64> = self
            .shapes
            .iter()
            .map(|shape| shape.iter().product())
            .collect();
        let pieces = flat.f_split_with_sizes(&sizes, 0)?;
        let shaped = pieces
            .iter()
            .zip(&self.shapes)
            .map(|(piece, shape)| piece.f_view(shape.as_slice()));
        shaped.collect()
    }

    /// Takes step number `t`.
    pub(super) fn step(
        &mut self,
        gradient: &Tensor,
        t: u64,
        rate: f64,
        decay: f64,
    ) -> Result<(), TchError> {
        let [b1, b2] = BETAS;
        let corrected = |beta: f64| 1.0 - beta.powi(t.min(1 << 30) as i32);
        let _ = self.mean.f_lerp_(gradient, 1.0 - b1)?;
        let _ = self.square.f_lerp_(&gradient.f_square()?, 1.0 - b2)?;
        let mut spread = self.square.f_sqrt()?;
        let _ = spread
            .f_mul_scalar_(corrected(b2).sqrt().recip())?
            .f_add_scalar_(EPSILON)?;
        let mut change = self.mean.f_div(&spread)?;
        let _ = change.f_mul_scalar_(-rate / corrected(b1))?;
        let _ = self
            .values
            .f_mul_scalar_(1.0 - rate * decay)?
            .f_add_(&change)?;
        Ok(())
    }
}
