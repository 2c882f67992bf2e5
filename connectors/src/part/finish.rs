//! Makes the files of a part from all its pieces.
use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::concat_batches,
    datatypes::Int32Type,
    error::ArrowError,
};

use super::{
    columns::{OBJECT, PLACE, batch, column, named},
    door::Folder,
    duplicates,
    encoded::{EncodedFile, PartLabel},
    files,
    flags::count_flags,
    long_columns::LongColumns,
    pieces::Piece,
    predicted::PredictedRows,
};
use crate::{
    ledger::{entry::RowCounts, flag_counts::FlagCounts},
    part::codec::CompressedPieces,
};

/// The files of a part, and the numbers of their rows.
#[derive(Clone, Debug, Default)]
pub struct FinishedPart {
    /// The files.
    pub files: Vec<EncodedFile>,
    /// The rows by door.
    pub rows: RowCounts,
    /// The predicted and withdrawn rows by flag.
    pub flags: FlagCounts,
}

/// Removes duplicate ids, then sorts and encodes the rows of a part, which are in `pieces` and in `compressed` pieces. If the
/// long columns take more than `held_bytes`, the columns of compressed pieces stay compressed until they are written.
///
/// # Errors
/// If pieces of the part do not have the same columns.
pub fn finish(
    pieces: Vec<Piece>,
    compressed: Vec<CompressedPieces>,
    held_bytes: u64,
    label: &PartLabel,
) -> Result<FinishedPart, ArrowError> {
    let (pieces, long) = LongColumns::take_from(pieces, compressed, held_bytes)?;
    let objects: HashMap<u32, String> = pieces
        .iter()
        .map(|piece| (piece.object_index, piece.object.clone()))
        .collect();
    let of_folder = |folder| pieces.iter().filter(move |piece| piece.folder == folder);
    let (mut predicted, mut specz, rejects) = (
        gather(of_folder(Folder::Photoz))?,
        gather(of_folder(Folder::SpecZ))?,
        gather(of_folder(Folder::Rejects))?,
    );
    drop(pieces);
    let mut rejected: Vec<RecordBatch> = Vec::new();
    rejected.extend(rejects);
    duplicates::settle_duplicates(&mut predicted, &mut specz, &mut rejected, &objects)?;
    let rejects = match rejected.first() {
        Some(first) => Some(concat_batches(&first.schema(), &rejected)?),
        None => None,
    };
    let count =
        |batch: &Option<RecordBatch>| batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
    let (written, learned, rejected) = (count(&predicted), count(&specz), count(&rejects));
    let flags = predicted.as_ref().map_or_else(FlagCounts::default, |rows| {
        let flags = column(rows, "z_flags");
        let flags = flags.as_primitive::<Int32Type>().values();
        count_flags(flags.iter().copied())
    });
    let mut files = Vec::new();
    let some = |rows: Option<RecordBatch>| rows.filter(|rows| rows.num_rows() > 0);
    if let Some(rows) = some(predicted) {
        files.extend(PredictedRows::new(&rows, label)?.files(&long, label)?);
    }
    if let Some(rows) = some(specz) {
        files.push(files::specz_file(&rows, label)?);
    }
    if let Some(rows) = some(rejects) {
        files.push(files::rejects_file(&rows, &objects, label)?);
    }
    let rows = RowCounts {
        read: written + learned + rejected,
        written,
        learned,
        rejected,
    };
    Ok(FinishedPart { files, rows, flags })
}

/// Joins the pieces of a folder into one batch, and adds the object and the place of each row.
fn gather<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Result<Option<RecordBatch>, ArrowError> {
    let (mut batches, mut place) = (Vec::new(), 0);
    for piece in pieces {
        let rows = piece.rows.num_rows();
        let object: ArrayRef = Arc::new(UInt32Array::from_value(piece.object_index, rows));
        let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(place..place + rows as u32));
        place += rows as u32;
        let fields = piece.rows.schema_ref().fields().iter().cloned();
        let own = fields.zip(piece.rows.columns().iter().cloned());
        let found = [named(OBJECT, object, false), named(PLACE, places, false)];
        batches.push(batch(own.chain(found).collect())?);
    }
    match batches.first() {
        Some(first) => concat_batches(&first.schema(), &batches).map(Some),
        None => Ok(None),
    }
}
