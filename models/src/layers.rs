//! The layers of the networks. Each takes its weights from a checkpoint, under its path.

use tch::{Kind, TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::Error;

/// Float64 if `kind` is float64, else float32.
pub(crate) fn wide(kind: Kind) -> Kind {
    match kind {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    }
}

/// A linear layer: `x W^T + b`, on the last dimension.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(checkpoint: &Checkpoint, path: &str) -> Result<Self, Error> {
        let bias = checkpoint.tensor(&format!("{path}.bias"))?;
        Self::with_bias(checkpoint, path, bias)
    }

    /// The layer at `path` with a bias that is not in the checkpoint.
    pub(crate) fn with_bias(c: &Checkpoint, path: &str, bias: Tensor) -> Result<Self, Error> {
        Ok(Self {
            weight: c.tensor(&format!("{path}.weight"))?,
            bias,
        })
    }

    /// The same layer in float32, or in float64 if it is in float64.
    pub(crate) fn widened(&self) -> Result<Self, TchError> {
        let kind = wide(self.weight.kind());
        Ok(Self {
            weight: self.weight.f_to_kind(kind)?,
            bias: self.bias.f_to_kind(kind)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, Some(&self.bias))
    }
}

/// Linear layers with a ReLU between them, but not after the last.
#[derive(Debug)]
pub(crate) struct Mlp(Vec<Linear>);

impl Mlp {
    /// The layers at `positions` of the sequence at `path`.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        path: &str,
        positions: &[usize],
    ) -> Result<Self, Error> {
        let layer = |n: &usize| Linear::new(checkpoint, &format!("{path}.{n}"));
        Ok(Self(positions.iter().map(layer).collect::<Result<_, _>>()?))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let mut x = x.shallow_clone();
        for (n, layer) in self.0.iter().enumerate() {
            x = if n == 0 {
                layer.forward(&x)?
            } else {
                layer.forward(&x.f_relu()?)?
            };
        }
        Ok(x)
    }
}

/// Layer normalisation: mean 0 and variance 1 over the last dimension, then scale and shift; epsilon 1e-6.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(crate) fn new(checkpoint: &Checkpoint, path: &str) -> Result<Self, Error> {
        Ok(Self {
            weight: checkpoint.tensor(&format!("{path}.weight"))?,
            bias: checkpoint.tensor(&format!("{path}.bias"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_layer_norm(
            self.weight.size(),
            Some(&self.weight),
            Some(&self.bias),
            1e-6,
            true,
        )
    }
}

/// A square convolution: `[batch, channels, y, x]` in and out.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
    groups: i64,
}

impl Conv {
    /// A convolution with stride 1, padded so that the side does not change.
    pub(crate) fn same(checkpoint: &Checkpoint, path: &str, groups: usize) -> Result<Self, Error> {
        let weight = checkpoint.tensor(&format!("{path}.weight"))?;
        let bias = checkpoint.tensor(&format!("{path}.bias"))?;
        let padding = weight.size4()?.3 / 2;
        Ok(Self {
            weight,
            bias,
            stride: 1,
            padding,
            groups: groups as i64,
        })
    }

    /// A convolution without overlap: the stride is the side of the kernel.
    pub(crate) fn patches(checkpoint: &Checkpoint, path: &str) -> Result<Self, Error> {
        let conv = Self::same(checkpoint, path, 1)?;
        Ok(Self {
            stride: conv.weight.size4()?.3,
            padding: 0,
            ..conv
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.f_conv2d(
            &self.weight,
            Some(&self.bias),
            stride,
            padding,
            [1, 1],
            self.groups,
        )
    }
}

/// Batch normalisation; epsilon 1e-5.
///
/// If its weights learn, it uses the statistics of the batch, and moves the running statistics towards them by a tenth. If
/// not, because that part of the network is frozen or predicts, it uses the running statistics.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
}

impl BatchNorm {
    pub(crate) fn new(checkpoint: &Checkpoint, path: &str) -> Result<Self, Error> {
        Ok(Self {
            weight: checkpoint.tensor(&format!("{path}.weight"))?,
            bias: checkpoint.tensor(&format!("{path}.bias"))?,
            mean: checkpoint.tensor(&format!("{path}.running_mean"))?,
            var: checkpoint.tensor(&format!("{path}.running_var"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let affine = (Some(&self.weight), Some(&self.bias));
        let statistics = (Some(&self.mean), Some(&self.var));
        let learns = self.weight.requires_grad();
        x.f_batch_norm(
            affine.0,
            affine.1,
            statistics.0,
            statistics.1,
            learns,
            0.1,
            1e-5,
            true,
        )
    }
}
