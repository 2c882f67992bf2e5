//! The doors of an output, and the rows that left by them.
use std::{collections::BTreeMap, path::Path};

use arrow::{
    array::AsArray,
    datatypes::{UInt32Type, UInt64Type},
};

use crate::rows::{column, ids, rows, rows_if_any, strings};

/// The folders by which a row can leave.
pub const DOORS: [&str; 3] = ["photoz", "specz", "rejects"];

/// The ids of a drop that left by any door, sorted.
pub fn ids_that_left(out: &Path, drop: &str) -> Vec<String> {
    let mut all: Vec<String> = DOORS
        .iter()
        .filter_map(|door| rows_if_any(&out.join(door).join(drop)))
        .flat_map(|rows| ids(&rows))
        .collect();
    all.sort();
    all
}

/// Reads the reasons of a drop's rejects, by object, row group and row in the row group.
pub fn reject_reasons(out: &Path, drop: &str) -> BTreeMap<(String, u32, u64), String> {
    let rejects = rows(out.join("rejects").join(drop));
    let groups = column(&rejects, "row_group").as_primitive::<UInt32Type>();
    let places = column(&rejects, "row").as_primitive::<UInt64Type>();
    let objects = strings(&rejects, "object").into_iter();
    objects
        .zip(groups.values())
        .zip(places.values())
        .map(|((object, group), row)| (object, *group, *row))
        .zip(strings(&rejects, "reason"))
        .collect()
}
