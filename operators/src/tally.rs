//! The bytes and seconds that a drop cost, summed over the workers.
use serde::{Deserialize, Serialize};

/// Bytes and seconds spent on rows. Seconds are thread seconds: two threads that read for a second make two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows that were adopted from checkpoints of earlier tries.
    pub adopted_rows: u64,
    /// Checkpoints that were stored or adopted.
    pub checkpoints: u64,
    /// Bytes fetched from the catalog.
    pub fetched_bytes: u64,
    /// Seconds of waiting for bytes and decoding them.
    pub read_seconds: f64,
    /// Seconds of judging rows.
    pub validate_seconds: f64,
    /// Seconds of running the model.
    pub infer_seconds: f64,
    /// Seconds of sorting, encoding and staging.
    pub write_seconds: f64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.adopted_rows += other.adopted_rows;
        self.checkpoints += other.checkpoints;
        self.fetched_bytes += other.fetched_bytes;
        self.read_seconds += other.read_seconds;
        self.validate_seconds += other.validate_seconds;
        self.infer_seconds += other.infer_seconds;
        self.write_seconds += other.write_seconds;
    }
}
