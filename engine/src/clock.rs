//! The clock. Time is read nowhere else.
#![expect(clippy::disallowed_methods, reason = "this is where the clock is")]
use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

static START: OnceLock<Instant> = OnceLock::new();

/// Time since the first call in this process.
pub fn clock() -> Duration {
    START.get_or_init(Instant::now).elapsed()
}
