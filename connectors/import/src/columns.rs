//! The columns of a drop, and the fields that they are read from.
//!
//! | column | array | usual names |
//! |---|---|---|
//! | `cutout` | `[n, B, px, px]` or `[n, px, px, B]`, of the B bands of the settings | `cutout`, `cube`, `image`, `images`, `0` |
//! | `mag` | `[n, B]` | `mag`, `mags`, `magnitude`, `magnitudes`, `1` |
//! | `mag_<band>` for each band, instead of `mag` | `[n]` each | `mag_u`, `dered_petro_u`, … |
//! | `z_spec` | `[n]` or `[n, 1]` | `z_spec`, `redshift`, `z`, `2` |
//! | `object_id` | `[n]`, whole numbers or text | `object_id`, `objID`, `specObjID`, `id` |
//! | `ra`, `dec` | `[n]`, degrees | `ra`, `dec` |
//!
//! The case of names is ignored. A field of records is also found by its own name. Numbers of any type and byte order are
//! read as they are: NaN and sentinels are judged when the drop is read.

use connectors::galaxy::mag_column;

/// The columns that `--column` may name in a file with these bands.
pub(crate) fn columns(bands: &[String]) -> Vec<String> {
    let before = ["cutout", "mag"].map(str::to_owned);
    let after = ["z_spec", "object_id", "ra", "dec"].map(str::to_owned);
    let mags = bands.iter().map(|band| mag_column(band));
    before.into_iter().chain(mags).chain(after).collect()
}

/// The usual names of a column in known files, the likeliest first.
pub(crate) fn usual_names(column: &str) -> Vec<String> {
    let names: &[&str] = match column {
        "cutout" => &["cutout", "cube", "image", "images", "0"],
        "mag" => &["mag", "mags", "magnitude", "magnitudes", "1"],
        "z_spec" => &["z_spec", "redshift", "z", "2"],
        "object_id" => &["object_id", "objID", "specObjID", "id"],
        "ra" => &["ra"],
        "dec" => &["dec"],
        _ => &[],
    };
    let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    if let Some(band) = column.strip_prefix("mag_") {
        names.extend([format!("mag_{band}"), format!("dered_petro_{band}")]);
    }
    names
}
