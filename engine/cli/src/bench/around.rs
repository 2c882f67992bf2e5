//! What a timing may have to know of the program around it.
use std::ffi::OsString;

use hubbleflow::Stop;

/// What a timing may have to know of the program around it.
#[derive(Default)]
pub struct Around {
    /// The file of settings that was given.
    pub settings: Option<OsString>,
    /// Asks a sweep to end early.
    pub stop: Option<Stop>,
}
