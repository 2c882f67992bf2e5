//! Tests that pieces survive encoding and decoding.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{Float32Type, Int64Type},
};
use hubbleflow_connectors::{
    codec::{decode, encode},
    part::{Folder, Piece},
};
use proptest::prelude::*;

fn piece() -> impl Strategy<Value = Piece> {
    let folder = prop_oneof![
        Just(Folder::Photoz),
        Just(Folder::SpecZ),
        Just(Folder::Rejects)
    ];
    let row = (
        any::<i64>(),
        prop::option::of(any::<f32>()),
        prop::option::of("\\PC{0,12}"),
    );
    (
        0_u32..9,
        folder,
        "\\PC{0,20}",
        any::<u32>(),
        prop::collection::vec(row, 1..30),
    )
        .prop_map(|(part, folder, object, object_index, rows)| {
            let ids: ArrayRef =
                Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>());
            let values: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Float32Array>());
            let texts: ArrayRef = Arc::new(
                rows.iter()
                    .map(|row| row.2.as_deref())
                    .collect::<StringArray>(),
            );
            let columns = [("object_id", ids), ("z_phot", values), ("note", texts)];
            Piece {
                part,
                folder,
                object,
                object_index,
                rows: RecordBatch::try_from_iter(columns).unwrap(),
            }
        })
}

/// Compares the floats of pieces as bits, because NaN must come back unchanged.
type Facts = (
    u32,
    Folder,
    String,
    u32,
    Vec<i64>,
    Vec<Option<u32>>,
    Vec<Option<String>>,
);

fn facts(piece: &Piece) -> Facts {
    let ids = piece.rows["object_id"]
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    let values = piece.rows["z_phot"]
        .as_primitive::<Float32Type>()
        .iter()
        .map(|z| z.map(f32::to_bits))
        .collect();
    let notes = piece.rows["note"]
        .as_string::<i32>()
        .iter()
        .map(|note| note.map(str::to_owned))
        .collect();
    (
        piece.part,
        piece.folder,
        piece.object.clone(),
        piece.object_index,
        ids,
        values,
        notes,
    )
}

proptest! {
    #[test]
    fn pieces_come_back_as_they_were(pieces in prop::collection::vec(piece(), 0..5)) {
        let back = decode(&encode(&pieces).unwrap()).unwrap();
        prop_assert_eq!(back.iter().map(facts).collect::<Vec<_>>(), pieces.iter().map(facts).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_end_early_are_an_error(piece in piece(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(std::slice::from_ref(&piece)).unwrap();
        let cut = 1 + cut.index(bytes.len() - 1);
        prop_assert!(decode(&bytes[..cut]).is_err(), "{cut} bytes of {}", bytes.len());
    }
}
