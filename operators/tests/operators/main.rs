//! The operators on a worker of their own: a module an operator.
#![allow(clippy::unwrap_used)]
mod calibration;
mod checkpoint;
mod collectives;
mod commit;
mod deal;
mod feed;
mod gather;
mod infer;
mod intervals;
mod judge;
mod judge_random;
mod metrics;
mod offload;
mod plain;
mod score;
mod score_history;
mod score_output;
mod survey;
mod write;
