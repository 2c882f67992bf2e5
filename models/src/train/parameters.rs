//! The weights in training: what learns, how it learns, and what stays as it is.
//!
//! Everything that learns lies in two long vectors, matrices and the rest; the network's tensors are views of them. A
//! step of AdamW is then a dozen operations on each, whatever the number of layers.
//!
//! Loshchilov & Hutter 2019, [arXiv:1711.05101]: with gradient `g`, step `t`, betas 0.9 and 0.95, epsilon 1e-8,
//! `m <- lerp(m, g, 1 - b1)`, `v <- lerp(v, g^2, 1 - b2)`,
//! `w <- (1 - rate decay) w - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)`. Matrices decay, biases and
//! weights of norms do not.
//!
//! What is scored and kept is the moving average of the weights (Polyak & Juditsky 1992): `a <- lerp(a, w, share)`, of
//! which `share` is `1 - average` in the long run, and a tenth of the steps so far, about, in the beginning.
//!
//! [arXiv:1711.05101]: https://arxiv.org/abs/1711.05101

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use super::random_init;
use super::rows::Rows;
use super::trainer::Schedule;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::{Error, layout};

const BETAS: [f64; 2] = [0.9, 0.95];
const EPSILON: f64 = 1e-8;

/// The weights of a configuration, some of them learning.
#[derive(Debug)]
pub struct Parameters {
    learning: [Group; 2],
    fixed: BTreeMap<String, Tensor>,
    steps: u64,
}

/// Tensors that learn alike, end to end.
#[derive(Debug)]
struct Group {
    names: Vec<String>,
    shapes: Vec<Vec<i64>>,
    /// `[elements]` float32: the weights.
    values: Tensor,
    /// `[elements]`: the mean gradient.
    mean: Tensor,
    /// `[elements]`: the mean of its squares.
    square: Tensor,
    /// `[elements]`: the moving average of the values.
    average: Tensor,
    decays: bool,
}

impl Parameters {
    /// Random weights for `config`, with those of `adopted` in the places of their names, on `device`; the tensors
    /// that `learns` names learn.
    ///
    /// # Errors
    /// [`Error::Torch`] where there is no memory.
    pub fn new(
        config: &Config,
        seed: u64,
        adopted: Option<Checkpoint>,
        learns: impl Fn(&str) -> bool,
        device: Device,
    ) -> Result<Self, Error> {
        let mut tensors = random_init::tensors(config, seed)?;
        for (name, tensor) in adopted.into_iter().flat_map(Checkpoint::into_tensors) {
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

    /// Numbers that learn.
    pub fn learning(&self) -> i64 {
        self.learning
            .iter()
            .map(|group| group.values.numel() as i64)
            .sum()
    }

    /// Whether the encoder stays as it is.
    pub(crate) fn is_encoder_fixed(&self) -> bool {
        let mut learning = self.learning.iter().flat_map(|group| &group.names);
        !learning.any(|name| layout::is_trunk(name))
    }

    /// Steps that were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The weights as a step takes them, in numbers of `kind`: gradients find their way back.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub(crate) fn checkpoint(&self, kind: Kind) -> Result<Checkpoint, Error> {
        self.checkpoint_of(kind, |group| &group.values)
    }

    /// The average of the weights: nothing in it learns, batch normalisations included.
    ///
    /// # Errors
    /// [`Error::Torch`].
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

    /// Lets the output begin at the mean of `z_spec`.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn start_at_mean(&mut self, config: &Config, rows: &Rows) -> Result<(), Error> {
        let Some(z_spec) = &rows.z_spec else {
            return Ok(());
        };
        let name = format!("{}.bias", layout::head_names(config).1);
        let mean = z_spec.f_mean(Kind::Float)?.f_reshape([1])?;
        self.put(&BTreeMap::from([(name, mean)]))
    }

    /// Puts values into the tensors of these names.
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

    /// A copy of every tensor, by name.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let tensors = self.at_rest(Kind::Float)?.into_tensors();
        let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.f_detach_copy()?));
        tensors.into_iter().map(copy).collect()
    }

    /// One step of AdamW down the gradient of `loss`, whose norm is first cut to the schedule's. Returns the norm before.
    ///
    /// # Errors
    /// [`Error::Torch`].
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

    /// The gradient of `loss` by each group's values.
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

    /// The gradients of `loss` by tensor name.
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

    /// Everything that the next step depends on, by name.
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

    /// Goes on from a state after so many steps; `false` where it is another network's.
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

impl Group {
    fn new(
        tensors: BTreeMap<String, Tensor>,
        decays: bool,
        device: Device,
    ) -> Result<Self, TchError> {
        let shapes = tensors.values().map(Tensor::size).collect();
        let flat: Result<Vec<_>, _> = tensors.values().map(|t| t.f_flatten(0, -1)).collect();
        let values = match flat? {
            none if none.is_empty() => Tensor::f_zeros([0], (Kind::Float, device))?,
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

    fn parts(&self) -> [(&'static str, &Tensor); 4] {
        [
            ("values", &self.values),
            ("mean", &self.mean),
            ("square", &self.square),
            ("average", &self.average),
        ]
    }

    /// The tensors that lie in `flat`, in the order of the names.
    fn views(&self, flat: &Tensor) -> Result<Vec<Tensor>, TchError> {
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

    fn step(&mut self, gradient: &Tensor, t: u64, rate: f64, decay: f64) -> Result<(), TchError> {
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
