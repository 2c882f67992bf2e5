//! The weights of a network in training: those that learn and those that are fixed.
//!
//! All weights that learn lie in two long vectors, one for matrices and one for the others. The network's tensors are views
//! of these vectors. So a step of AdamW is a dozen operations on each vector, for any number of layers. Matrices decay,
//! biases and weights of norms do not.
//!
//! The moving average of the weights is scored and kept (Polyak & Juditsky 1992): `a <- lerp(a, w, share)`. In the long run
//! `share` is `1 - average`. At the beginning it is larger, so that the average covers about a tenth of the steps so far.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::adamw::Group;
use super::random_init;
use super::rows::TrainingRows;
use super::schedule::Schedule;
use super::trainable::Trainable;
use crate::checkpoint::Checkpoint;
use crate::config::HeadKind;
use crate::error::Error;
use crate::layout;
use crate::quantiles::outputs_of;

/// The weights of a configuration. Some of them learn.
#[derive(Debug)]
pub struct Parameters {
    /// The matrices and the vectors that learn.
    learning: [Group; 2],
    fixed: BTreeMap<String, Tensor>,
    steps: u64,
}

impl Parameters {
    /// Makes random weights for `config` on `device`, and replaces those that are in `given`. A tensor learns if `learns` says
    /// so for its name.
    ///
    /// # Errors
    /// [`Error::Torch`] if there is not enough memory.
    ///
    /// ```
    /// use hubbleflow_models::{Config, train::Parameters};
    /// let config = Config::preset("astromae-tiny").unwrap();
    /// let is_head = |name: &str| name.starts_with("concat_block.2.");
    /// let parameters = Parameters::new(&config, 0, None, is_head, tch::Device::Cpu)?;
    /// assert_eq!(parameters.learning(), 1024 + 1);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn new(
        config: &impl Trainable,
        seed: u64,
        given: Option<Checkpoint>,
        learns: impl Fn(&str) -> bool,
        device: Device,
    ) -> Result<Self, Error> {
        let mut tensors = random_init::tensors(config, seed)?;
        for (name, tensor) in given.into_iter().flat_map(Checkpoint::into_tensors) {
            if let Some(place) = tensors.get_mut(&name) {
                *place = tensor;
            }
        }
        let mut groups = [BTreeMap::new(), BTreeMap::new()];
        let mut fixed = BTreeMap::new();
        for (name, tensor) in tensors {
            let is_constant = name.contains("pos_embed") || name.contains(".running_");
            let vector = tensor.dim() < 2;
            let place = match is_constant || !learns(&name) {
                true => &mut fixed,
                false => &mut groups[usize::from(vector)],
            };
            place.insert(name, tensor.f_to_device_(device, Kind::Float, false, true)?);
        }
        let [matrices, vectors] = groups;
        Ok(Self {
            learning: [
                Group::new(matrices, true, device)?,
                Group::new(vectors, false, device)?,
            ],
            fixed,
            steps: 0,
        })
    }

    /// The number of weights that learn.
    pub fn learning(&self) -> i64 {
        self.learning
            .iter()
            .map(|group| group.values.numel() as i64)
            .sum()
    }

    /// Whether the encoder does not learn.
    pub(crate) fn is_encoder_fixed(&self) -> bool {
        let mut learning = self.learning.iter().flat_map(|group| &group.names);
        !learning.any(|name| layout::is_trunk(name))
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The weights for a step, in numbers of `kind`. Gradients flow back to them.
    ///
    /// # Errors
    /// [`Error::Torch`] if there is not enough memory.
    pub(crate) fn checkpoint(&self, kind: Kind) -> Result<Checkpoint, Error> {
        self.checkpoint_of(kind, |group| &group.values)
    }

    /// The moving average of the weights. Nothing in it learns, so batch normalisations use their running statistics.
    ///
    /// # Errors
    /// [`Error::Torch`] if there is not enough memory.
    pub(crate) fn at_rest(&self, kind: Kind) -> Result<Checkpoint, Error> {
        self.checkpoint_of(kind, |group| &group.average)
    }

    fn checkpoint_of(&self, kind: Kind, of: fn(&Group) -> &Tensor) -> Result<Checkpoint, Error> {
        let mut tensors = BTreeMap::new();
        for group in &self.learning {
            let values = of(group);
            let cast = values.f_to_kind(kind)?;
            let views = group.views(values)?.into_iter().zip(group.views(&cast)?);
            for (name, (full, cast)) in group.names.iter().zip(views) {
                let tensor = if layout::is_batch_norm(name) {
                    full
                } else {
                    cast
                };
                tensors.insert(name.clone(), tensor);
            }
        }
        for (name, tensor) in &self.fixed {
            let tensor = if layout::is_batch_norm(name) {
                tensor.shallow_clone()
            } else {
                tensor.f_to_kind(kind)?
            };
            tensors.insert(name.clone(), tensor);
        }
        Ok(Checkpoint::of(tensors))
    }

    /// Sets the biases of the output so that the first redshifts are the mean of `z_spec`, and the first quantiles those of
    /// `z_spec`. From there a step need not cross orders of magnitude to the spread of a galaxy.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot compute.
    pub fn start_at_z_spec(
        &mut self,
        config: &impl Trainable,
        rows: &TrainingRows,
    ) -> Result<(), Error> {
        let Some(z_spec) = &rows.z_spec else {
            return Ok(());
        };
        let name = format!("{}.bias", config.output_layer());
        let biases = match config.head() {
            HeadKind::Point => z_spec.f_mean(Kind::Float)?.f_reshape([1])?,
            HeadKind::Quantiles { levels } => {
                let mut sorted = Vec::<f32>::try_from(z_spec)?;
                sorted.sort_by(f32::total_cmp);
                let last = sorted.len().saturating_sub(1);
                let place = |level: &f64| (level * last as f64).round() as usize;
                let quantiles = levels.iter().map(|level| sorted.get(place(level)).copied());
                let quantiles: Vec<f32> = quantiles.map(Option::unwrap_or_default).collect();
                Tensor::f_from_slice(&outputs_of(&quantiles))?
            }
        };
        self.put(&BTreeMap::from([(name, biases)]))
    }

    /// Sets the tensors of these names, and their averages, to these values.
    pub(crate) fn put(&mut self, values: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        let _guard = tch::no_grad_guard();
        let (now, averaged) = (self.checkpoint(Kind::Float)?, self.at_rest(Kind::Float)?);
        for (name, mut tensor) in now
            .into_tensors()
            .into_iter()
            .chain(averaged.into_tensors())
        {
            if let Some(value) = values.get(&name) {
                tensor.f_copy_(value)?;
            }
        }
        Ok(())
    }

    /// Copies the averages of all tensors, by name.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let tensors = self.at_rest(Kind::Float)?.into_tensors();
        let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.f_detach_copy()?));
        tensors.into_iter().map(copy).collect()
    }

    /// Takes one step of AdamW along the gradient of `loss`, whose norm is clipped to that of the schedule. Returns the norm
    /// before clipping.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot compute.
    pub(crate) fn step(
        &mut self,
        loss: &Tensor,
        rate: f64,
        schedule: &Schedule,
    ) -> Result<f64, Error> {
        let gradients = self.gradients(loss)?;
        let _guard = tch::no_grad_guard();
        let mut squares = 0.0;
        for gradient in &gradients {
            squares += gradient.f_norm()?.f_double_value(&[])?.powi(2);
        }
        let norm = squares.sqrt();
        let scale = (schedule.clip / (norm + 1e-6)).min(1.0);
        self.steps += 1;
        let share = (10.0 / (self.steps as f64 + 9.0)).max(1.0 - schedule.average);
        for (group, gradient) in self.learning.iter_mut().zip(gradients) {
            let decay = if group.decays { schedule.decay } else { 0.0 };
            group.step(&gradient.f_mul_scalar(scale)?, self.steps, rate, decay)?;
            let _ = group.average.f_lerp_(&group.values, share)?;
        }
        Ok(norm)
    }

    /// The gradient of `loss` with respect to the values of each group.
    fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>, Error> {
        let values: Vec<&Tensor> = self.learning.iter().map(|group| &group.values).collect();
        let used: Vec<&Tensor> = values.into_iter().filter(|v| v.numel() > 0).collect();
        let mut found = Tensor::f_run_backward(&[loss], &used, false, false)?.into_iter();
        let gradient = |group: &Group| match group.values.numel() {
            0 => Ok(group.values.shallow_clone()),
            _ => Ok(found.next().expect("invariant: a gradient for each input")),
        };
        self.learning.iter().map(gradient).collect()
    }

    /// The gradients of `loss`, by tensor name.
    #[cfg(test)]
    pub(super) fn gradients_by_name(
        &self,
        loss: &Tensor,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut named = BTreeMap::new();
        for (group, gradient) in self.learning.iter().zip(self.gradients(loss)?) {
            named.extend(group.names.iter().cloned().zip(group.views(&gradient)?));
        }
        Ok(named)
    }

    /// All tensors that the next step depends on, by name.
    pub(crate) fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for (n, group) in self.learning.iter().enumerate() {
            for (part, tensor) in group.parts() {
                state.insert(format!("{part}.{n}"), tensor.detach());
            }
        }
        let fixed = self.fixed.iter();
        state.extend(fixed.map(|(name, tensor)| (format!("fixed.{name}"), tensor.shallow_clone())));
        state
    }

    /// Continues from a state after `steps` steps. Returns `false` if the state is that of another network.
    pub(crate) fn restore(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        steps: u64,
    ) -> Result<bool, Error> {
        let _guard = tch::no_grad_guard();
        let mine = self.state();
        let same = |(name, tensor): (&String, &Tensor)| {
            mine.get(name)
                .is_some_and(|own| own.size() == tensor.size())
        };
        if state.len() != mine.len() || !state.iter().all(same) {
            return Ok(false);
        }
        for (name, mut own) in mine {
            own.f_copy_(&state[&name])?;
        }
        self.steps = steps;
        Ok(true)
    }
}
