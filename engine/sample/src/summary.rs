//! The summary of a sample survey.
use std::fmt;

/// The summary of a sample survey.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SampleSummary {
    /// Drops, including spec-z drops.
    pub drops: u64,
    /// Rows of drops with cutouts.
    pub rows: u64,
    /// Bytes of all Parquet objects.
    pub bytes: u64,
    /// Rows that correct an earlier object.
    pub corrections: u64,
    /// Rows that withdraw an earlier object.
    pub withdrawals: u64,
    /// Rows with a fault.
    pub bad_rows: u64,
    /// Rows with a cutout but without spec-z.
    pub rows_without_spec_z: u64,
    /// Rows of spec-z drops.
    pub specz_rows: u64,
    /// Real galaxies that the survey was drawn from.
    pub parents: u64,
    /// The origin of the data, in words.
    pub origin: &'static str,
}

impl fmt::Display for SampleSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} drops, {} rows with cutouts, {} rows of spec-z, {:.1} MB",
            self.drops,
            self.rows,
            self.specz_rows,
            self.bytes as f64 / 1e6
        )?;
        writeln!(
            f,
            "{} corrections, {} withdrawals, {} bad rows, {} without spec-z",
            self.corrections, self.withdrawals, self.bad_rows, self.rows_without_spec_z
        )?;
        write!(
            f,
            "{}; drawn from {} real galaxies",
            self.origin, self.parents
        )
    }
}
