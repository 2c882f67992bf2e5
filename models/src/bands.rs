//! The bands of the survey.

/// The survey's bands, in the order in which every cutout and every row of magnitudes holds them.
pub const BANDS: [&str; 5] = ["u", "g", "r", "i", "z"];
