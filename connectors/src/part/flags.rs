//! The bits of `z_flags`, and how many rows have each of them.
use crate::ledger::flag_counts::FlagCounts;

/// The bits of `z_flags` by name. The names are stored in the metadata of the files.
pub const FLAGS: [(&str, i32); 3] = [
    ("DELETED", DELETED),
    ("Z_SPEC_IGNORED", Z_SPEC_IGNORED),
    ("BLANK_BAND", BLANK_BAND),
];
/// The object is withdrawn: position, magnitude and redshifts are null.
pub const DELETED: i32 = 1;
/// The row came with an invalid z_spec (exactly 0, or outside `--z-spec-min` and `--z-spec-max`), which is null in the output.
pub const Z_SPEC_IGNORED: i32 = 2;
/// At least one band of the row's cutout has one value in all pixels, so the model saw nothing there.
pub const BLANK_BAND: i32 = 4;

/// Counts rows by their `z_flags`.
///
/// ```
/// use hubbleflow_connectors::part::{BLANK_BAND, DELETED, count_flags};
/// let mut counts = count_flags([0, DELETED, DELETED | BLANK_BAND]);
/// counts += count_flags([BLANK_BAND]);
/// assert_eq!((counts.of_flag("DELETED"), counts.of_flag("Z_SPEC_IGNORED")), (2, 0));
/// assert_eq!(counts.to_string(), "2 BLANK_BAND, 2 DELETED");
/// ```
pub fn count_flags(rows: impl IntoIterator<Item = i32>) -> FlagCounts {
    let mut counts = FLAGS.map(|(name, _)| (name, 0));
    for flags in rows {
        let bits = FLAGS.iter().zip(&mut counts);
        bits.for_each(|((_, bit), (_, count))| *count += u64::from(flags & bit != 0));
    }
    counts.into_iter().collect()
}
