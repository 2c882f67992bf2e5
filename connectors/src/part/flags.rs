//! The bits of `z_flags`, and how many rows have each of them.
use crate::ledger::flag_counts::FlagCounts;

/// The bits of `z_flags` by name. The names are stored in the metadata of the files.
pub const FLAGS: [(&str, i32); 6] = [
    ("DELETED", DELETED),
    ("Z_SPEC_IGNORED", Z_SPEC_IGNORED),
    ("BLANK_BAND", BLANK_BAND),
    ("OUTSIDE_TRAINING", OUTSIDE_TRAINING),
    ("FLUX_MISMATCH", FLUX_MISMATCH),
    ("BELOW_ZERO", BELOW_ZERO),
];
/// The object is withdrawn: position, magnitude and redshifts are null.
pub const DELETED: i32 = 1;
/// The row came with an invalid z_spec (exactly 0, or outside `--z-spec-min` and `--z-spec-max`), which is null in the output.
pub const Z_SPEC_IGNORED: i32 = 2;
/// At least one band of the row's cutout has one value in all pixels, so the model saw nothing there.
pub const BLANK_BAND: i32 = 4;
/// The row is unlike the rows that the model was trained on: by its magnitudes, or because its light is more concentrated than
/// theirs, as that of a star is.
pub const OUTSIDE_TRAINING: i32 = 8;
/// The flux in the centre of the row's cutout does not belong to its magnitudes, compared with the rows of the training.
pub const FLUX_MISMATCH: i32 = 16;
/// The predicted redshift is below 0.
pub const BELOW_ZERO: i32 = 32;

/// Counts rows by their `z_flags`.
///
/// ```
/// use hubbleflow_connectors::part::{BELOW_ZERO, BLANK_BAND, count_flags};
/// let mut counts = count_flags([0, BELOW_ZERO, BELOW_ZERO | BLANK_BAND]);
/// counts += count_flags([BLANK_BAND]);
/// assert_eq!((counts.of_flag("BELOW_ZERO"), counts.of_flag("DELETED")), (2, 0));
/// assert_eq!(counts.to_string(), "2 BELOW_ZERO, 2 BLANK_BAND");
/// ```
pub fn count_flags(rows: impl IntoIterator<Item = i32>) -> FlagCounts {
    let mut counts = FLAGS.map(|(name, _)| (name, 0));
    for flags in rows {
        let bits = FLAGS.iter().zip(&mut counts);
        bits.for_each(|((_, bit), (_, count))| *count += u64::from(flags & bit != 0));
    }
    counts.into_iter().collect()
}
