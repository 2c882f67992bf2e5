//! The bits of `z_flags`.

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
