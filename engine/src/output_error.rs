//! Why an output is not as a command needs it.
use connectors::drop_writer::WriteError;

/// An output is not as a command needs it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Nothing was ever committed there.
    #[error("{out} has no ledger: nothing is committed there; check the URL")]
    NoLedger {
        /// The URL of the output.
        out: String,
    },
    /// An earlier state is asked for, and a later commit has replaced files of it.
    #[error(
        "{out} cannot be exported as it was then: the files of drop {drop} (entry {entry}) were replaced by entry {by}"
    )]
    Replaced {
        /// The URL of the output.
        out: String,
        /// The drop.
        drop: String,
        /// The entry that listed the files.
        entry: u64,
        /// The entry that replaced them.
        by: u64,
    },
    /// A drop has embeddings, and no redshifts to export.
    #[error("{out}: drop {drop} has embeddings and no redshifts, so there is nothing to export")]
    NoRedshifts {
        /// The URL of the output.
        out: String,
        /// The drop.
        drop: String,
    },
    /// A committed file is not what was committed.
    #[error("drop {drop}: {file}: {fault}")]
    Damaged {
        /// The drop.
        drop: String,
        /// The URL of the file.
        file: String,
        /// What is wrong with it.
        fault: String,
    },
    /// Committed rows or their metrics cannot be read.
    #[error("{out}: {reason}")]
    Unreadable {
        /// The URL of the output.
        out: String,
        /// What is missing, or which file is wrong and how.
        reason: String,
    },
    /// An ensemble is asked for, and rows have no quantiles.
    #[error(
        "{file} has no quantiles of redshifts for --qp; leave --qp out, or predict the drop again with a model that gives quantiles (--again, without --no-quantiles)"
    )]
    NoQuantiles {
        /// The URL of the file.
        file: String,
    },
    /// An ensemble is asked for, and its rows have quantiles at different levels.
    #[error(
        "an ensemble has the same levels in all rows, and {} has the levels {:?}, {} the levels {:?}; leave --qp out, or predict the one drop again with the model of the other (--again)",
        files[0], levels[0], files[1], levels[1]
    )]
    OtherLevels {
        /// The URLs of the files.
        files: [String; 2],
        /// The levels of each.
        levels: [Vec<f64>; 2],
    },
    /// The calibration of intervals is not known.
    #[error(
        "{out}: its intervals cannot be calibrated, because its metrics are not known: {reason}"
    )]
    NotCalibrated {
        /// The URL of the output.
        out: String,
        /// Why the metrics are not known.
        reason: String,
    },
    /// A file cannot be encoded.
    #[error("{file}: {source}{}", cause_of(.source))]
    NotEncoded {
        /// The URL of the file.
        file: String,
        /// The fault.
        source: WriteError,
    },
}

/// What lies behind an error, for the end of its message.
fn cause_of(error: &WriteError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(String::new, |cause| format!(": {cause}"))
}
