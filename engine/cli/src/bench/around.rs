//! Parts of the program that a timing needs.
use std::ffi::OsString;

use hubbleflow::Stop;

/// Parts of the program that a timing needs.
#[derive(Default)]
pub struct Around {
    /// The file of settings that was given.
    pub settings: Option<OsString>,
    /// Asks a sweep to end early.
    pub stop: Option<Stop>,
}
