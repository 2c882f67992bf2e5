//! Tests of the gradients, and of whole trainings.
#![allow(clippy::unwrap_used)]

mod gradients;
mod heads;
mod quantiles;
mod training;
