//! Finds the part of an object by the hash of its id.
use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Int64Type, UInt64Type},
};
use twox_hash::XxHash3_64;

/// The part of an object. It is the same in all drops with the same number of parts.
pub fn part_of(object_id: &dyn Array, row: usize, parts: u32) -> u32 {
    if parts <= 1 || object_id.is_null(row) {
        return 0;
    }
    (id_hash(object_id, row) % u64::from(parts)) as u32
}

/// The hash that decides the part of an object: the XXH3 of the eight little-endian bytes of its id, or of the text.
///
/// # Panics
/// If the ids have a type that no catalog may have.
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
