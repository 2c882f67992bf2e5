//! Hubbleflow: the job, its cluster and its command line.
//!
//! ```text
//! cli ── settings ── job ── run ── dataflow          what is to be run, and running it
//!                     ├── plan   watch     changed   which drops, and what has changed
//!                     ├── cluster   heartbeat        which processes, and whether they are there
//!                     └── observe   console          what one sees
//! ```
//! Settings (what a user writes) become a [`job::Job`] (things that work); [`run::run`] runs it. Only this crate reads
//! the command line, the environment and the clock.
mod bench;
pub mod bundled;
pub mod changed;
pub mod cli;
pub mod clock;
pub mod cluster;
mod console;
pub mod dataflow;
pub mod demo;
mod error;
pub mod export;
#[cfg(not(fuzzing))]
mod greeting;
#[cfg(fuzzing)]
pub mod greeting;
pub mod heartbeat;
pub mod import;
pub mod job;
pub mod memory;
pub mod observe;
pub mod plan;
mod predict_again;
pub mod report;
mod retry;
pub mod run;
pub mod s3_server;
pub mod sample;
pub mod settings;
pub mod signals;
pub mod status;
pub mod supervise;
pub mod train;
pub mod verify;
pub mod watch;

pub use error::Error;
pub use job::Job;
pub use run::{Summary, run, watch};
pub use watch::Watch;
