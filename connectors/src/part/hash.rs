//! Which part of a drop an object belongs to.
use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Int64Type, UInt64Type},
};
use twox_hash::XxHash3_64;

/// The part of an object: the same in every drop that has as many parts.
pub fn part_of(object_id: &dyn Array, row: usize, parts: u32) -> u32 {
    if parts <= 1 || object_id.is_null(row) {
        return 0;
    }
    (id_hash(object_id, row) % u64::from(parts)) as u32
}

/// The hash by which objects are divided: XXH3 of the id's eight little-endian bytes, or of its text.
///
/// # Panics
/// If the ids are of none of the types that a catalog may have.
pub fn id_hash(object_id: &dyn Array, row: usize) -> u64 {
    match object_id.data_type() {
        DataType::Int64 => {
            let id = object_id.as_primitive::<Int64Type>().value(row);
            XxHash3_64::oneshot(&id.to_le_bytes())
        }
        DataType::UInt64 => {
            let id = object_id.as_primitive::<UInt64Type>().value(row);
            XxHash3_64::oneshot(&id.to_le_bytes())
        }
        _ => XxHash3_64::oneshot(object_id.as_string::<i32>().value(row).as_bytes()),
    }
}
