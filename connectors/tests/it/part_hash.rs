//! Tests the hash that decides the part of an object.
use arrow::array::{Array, Int64Array, StringArray, UInt64Array};
use hubbleflow_connectors::part::part_of;

#[test]
fn a_part_is_the_xxh3_of_the_id() {
    // Computed by a different implementation, Python's xxhash: xxh3_64_intdigest of the little-endian bytes, or of the text.
    let signed = [
        (0, 14374147212387527897_u64),
        (1, 3439722301264460078),
        (-1, 5841669975847748627),
        (1237650495565824000, 2067751508074216316),
        (i64::MAX, 11687913294787043142),
    ];
    let unsigned = [
        (u64::MAX, 5841669975847748627),
        (1 << 63, 9407778237848358495),
    ];
    let texts = [
        ("", 3244421341483603138),
        ("NGC 224", 18354947092003906700),
        ("J004244.33+411607.5", 13569415500931989665),
        ("galaxie-é", 9057158607797388440),
    ];
    let check = |ids: &dyn Array, hash: u64| {
        for parts in [1, 2, 7, 1000, u32::MAX] {
            assert_eq!(
                u64::from(part_of(ids, 0, parts)),
                hash % u64::from(parts),
                "{ids:?}, {parts} parts"
            );
        }
    };
    signed
        .iter()
        .for_each(|(id, hash)| check(&Int64Array::from(vec![*id]), *hash));
    unsigned
        .iter()
        .for_each(|(id, hash)| check(&UInt64Array::from(vec![*id]), *hash));
    texts
        .iter()
        .for_each(|(id, hash)| check(&StringArray::from(vec![*id]), *hash));
}
