//! Photometric redshifts for whole surveys: a streaming dataflow around a foundation model.
//!
//! ```text
//! settings ── builder ── job ── run ── dataflow          what is to be run, and running it
//!                         ├── plan ── todo ── planner    which drops, and handing them in
//!                         ├── watch ── changed ── retry  drops that arrive, change or fail
//!                         └── cluster                    which processes, and whether they are there
//! status   verify   export   preview                     what an output holds, and what a run would do
//! train                                                  a model out of a catalog
//! ```
//! A [`Job`] is built from settings and run; an [`Observer`] receives what happens. The library reads neither the command
//! line nor the environment, writes nothing to standard error, and never ends the process. Timely's threads panic when a
//! connection breaks, and the panic hook of the program decides whether that is printed.
//!
//! ```no_run
//! use hubbleflow::Job;
//!
//! let job = Job::builder("survey/catalog", "survey/photoz").model("astromae").build()?;
//! println!("{} galaxies", job.run()?.rows_written);
//! # Ok::<(), hubbleflow::Error>(())
//! ```
mod builder;
pub mod changed;
pub mod clock;
pub mod cluster;
mod cluster_error;
pub mod dataflow;
mod drop_plan;
mod error;
pub mod export;
pub mod job;
pub mod model;
pub mod observer;
mod on_workers;
mod output_error;
pub mod plan;
mod planner;
mod predict_again;
pub mod preview;
mod retry;
mod run;
pub mod settings;
mod settings_error;
pub mod start;
mod stations;
pub mod status;
mod stop;
pub mod todo;
pub mod train;
pub mod units;
pub mod verify;
mod watch;

pub use builder::JobBuilder;
pub use cluster::{ClusterKey, ClusterSettings};
pub use cluster_error::ClusterError;
pub use connectors::{DropBy, Location, StoreOptions};
pub use error::Error;
pub use job::Job;
pub use model::LoadedModel;
pub use models::{CutoutNeeds, Inputs, Model, ModelOutput, Needs};
pub use observer::{Gathered, Observer, Work};
pub use on_workers::on_workers;
pub use operators::{Outcome, Progress, Published, Settled};
pub use output_error::OutputError;
pub use plan::{Places, Plan};
pub use run::Summary;
pub use settings::{JobSettings, PlanSettings, RowSettings};
pub use settings_error::SettingsError;
pub use stop::{Stop, Stopper};
pub use watch::Watch;

// The crates whose types are in the signatures above.
pub use {connectors, models, operators, tch};
