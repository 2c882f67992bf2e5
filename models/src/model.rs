//! The trait that every model implements.

use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::inputs::Inputs;
use crate::needs::Needs;
use crate::output::{ModelOutput, check_wanted};

/// A predictor of redshifts, or of other columns.
///
/// A model of your own needs only a few lines. This one reads the redshift off the r magnitude:
///
/// ```
/// use hubbleflow_models::{Error, Inputs, Model, Needs, ModelOutput};
/// use tch::Tensor;
///
/// struct Hubble1929(Needs);
///
/// impl Model for Hubble1929 {
///     fn id(&self) -> &str { "hubble-1929" }
///     fn name(&self) -> &str { "fainter is farther" }
///     fn needs(&self) -> &Needs { &self.0 }
///     fn forward(&self, inputs: &Inputs, _wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error> {
///         let Some(mags) = &inputs.mags else {
///             return Err(Error::Inputs("no magnitudes".to_owned()));
///         };
///         let mag_r = mags.f_select(1, 1)?;
///         let z_phot = ((mag_r - 17.77) * 0.2 * std::f64::consts::LN_10).f_exp()? * 0.1;
///         Ok(vec![z_phot])
///     }
///     fn replica(&self) -> Result<Box<dyn Model>, Error> { Ok(Box::new(Hubble1929(self.0.clone()))) }
/// }
///
/// let model = Hubble1929(Needs::of_mags(["g", "r"]));
/// let mags = Tensor::from_slice(&[18.2f32, 17.77]).reshape([1, 2]);
/// let z_phot = model.z_phot(&Inputs { mags: Some(mags), ..Inputs::default() })?;
/// assert!((z_phot.double_value(&[0]) - 0.1).abs() < 1e-6);
/// # Ok::<(), Error>(())
/// ```
pub trait Model: Send {
    /// The identity of the model: predictions are filed under it.
    ///
    /// For a model directory, the SHA-256 of the bytes of `config.json` followed by those of `model.safetensors`, in hex.
    /// For a model of your own, any string that changes when its predictions do.
    fn id(&self) -> &str;

    /// A name for people.
    fn name(&self) -> &str;

    /// The inputs that it takes.
    fn needs(&self) -> &Needs;

    /// The outputs that the model can give for a galaxy.
    fn outputs(&self) -> &[ModelOutput] {
        &[ModelOutput::ZPhot]
    }

    /// Allocates an input of `shape`, float32 on the CPU, in the memory that the model's device reads fastest. Its values
    /// are not initialised.
    ///
    /// # Errors
    /// [`Error::Torch`] if there is not enough memory.
    fn host_tensor(&self, shape: &[i64]) -> Result<Tensor, Error> {
        host_tensor(shape)
    }

    /// Predicts `wanted`, some of [`outputs`](Model::outputs): a tensor for each, in this order, float32 on the CPU.
    ///
    /// A tensor has the shape [`ModelOutput::shape`]. The same batch always gives the same bits.
    ///
    /// # Errors
    /// [`Error::Inputs`] if the batch does not fit the model, [`Error::Outputs`] if the model does not give an output of `wanted`,
    /// [`Error::Torch`] if libtorch cannot compute.
    fn forward(&self, inputs: &Inputs, wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error>;

    /// Predicts redshifts alone: `[batch]` float32 on the CPU.
    ///
    /// # Errors
    /// Those of [`forward`](Model::forward), and [`Error::Outputs`] if the model gives no redshifts.
    fn z_phot(&self, inputs: &Inputs) -> Result<Tensor, Error> {
        let wanted = [ModelOutput::ZPhot];
        check_wanted(&wanted, self.outputs())?;
        let z_phot = self.forward(inputs, &wanted)?.pop();
        z_phot.ok_or_else(|| Error::Outputs("the model gave nothing for z_phot".to_owned()))
    }

    /// A handle on this model for another thread. It shares the weights.
    ///
    /// # Errors
    /// [`Error::Torch`] if the device does not have enough memory for another thread.
    fn replica(&self) -> Result<Box<dyn Model>, Error>;
}

/// Allocates an input for a model on the CPU: see [`Model::host_tensor`].
///
/// # Errors
/// [`Error::Torch`] if there is not enough memory.
///
/// ```
/// let mags = hubbleflow_models::host_tensor(&[128, 5])?;
/// assert_eq!((mags.size(), mags.kind()), (vec![128, 5], tch::Kind::Float));
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn host_tensor(shape: &[i64]) -> Result<Tensor, Error> {
    Ok(Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?)
}
