//! Tools that the tests of several packages share.
//!
//! | tools for | modules |
//! |---|---|
//! | places, small catalogs, faulty stores | `places`, `galaxies`, `faulty` |
//! | a suite that every store must pass | [`conformance`] |
//! | the program as a process | `program`, `running`, `finished`, `processes`, `watch`, `hosts`, `python` |
//! | what the program reads | `survey`, `galaxy_rows`, `s3`, `gate` |
//! | what the program wrote | `tree`, `outputs`, `rows`, `rejects`, `protected` |
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test that cannot continue fails"
)]
pub mod conformance;
mod faulty;
pub mod finished;
mod galaxies;
pub mod galaxy_rows;
pub mod gate;
pub mod hosts;
pub mod outputs;
mod places;
pub mod processes;
pub mod program;
pub mod protected;
pub mod python;
pub mod rejects;
pub mod rows;
pub mod running;
pub mod s3;
mod seeded;
pub mod survey;
pub mod tree;
pub mod watch;

pub use faulty::*;
pub use galaxies::*;
pub use places::*;
pub use seeded::Seeded;
