//! Tests of what a training learns of its inputs, and of the block in `config.json`.
#![allow(clippy::unwrap_used)]

mod block;
mod learning;
