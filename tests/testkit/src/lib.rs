//! Tools that the tests of several packages share.
//!
//! | tools for | modules |
//! |---|---|
//! | places, small catalogs, faulty stores | `places`, `galaxies`, `faulty` |
//! | a suite that every store must pass | [`conformance`] |
//! | the program as a process (feature `program`) | `program`, `running`, `finished`, `processes`, `watch`, `hosts`, `python` |
//! | what the program reads (feature `program`) | `survey`, `galaxy_rows`, `s3`, `gate` |
//! | what the program wrote (feature `program`) | `tree`, `outputs`, `rows`, `rejects`, `protected` |
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test that cannot continue fails"
)]
pub mod conformance;
mod faulty;
mod galaxies;
mod places;
mod seeded;

#[cfg(feature = "program")]
pub mod finished;
#[cfg(feature = "program")]
pub mod galaxy_rows;
#[cfg(feature = "program")]
pub mod gate;
#[cfg(feature = "program")]
pub mod hosts;
#[cfg(feature = "program")]
pub mod outputs;
#[cfg(feature = "program")]
pub mod processes;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "program")]
pub mod protected;
#[cfg(feature = "program")]
pub mod python;
#[cfg(feature = "program")]
pub mod rejects;
#[cfg(feature = "program")]
pub mod rows;
#[cfg(feature = "program")]
pub mod running;
#[cfg(feature = "program")]
pub mod s3;
#[cfg(feature = "program")]
pub mod survey;
#[cfg(feature = "program")]
pub mod tree;
#[cfg(feature = "program")]
pub mod watch;

pub use faulty::*;
pub use galaxies::*;
pub use places::*;
pub use seeded::Seeded;
