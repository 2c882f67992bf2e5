//! The kept columns of a part's rows: they stay in their pieces, since all of them together may not fit into one array.
use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, new_null_array},
    compute::{cast, interleave},
    datatypes::{DataType, FieldRef, Fields},
    error::ArrowError,
};

use super::{Folder, OBJECT, PLACE, Piece, ROW, ROW_GROUP, files::PHOTOZ};
use crate::galaxy::kept::comparable;

/// Whether a column of a piece is one that is kept: rows of `photoz/` alone have such columns.
pub(super) fn is_kept(folder: Folder, name: &str) -> bool {
    let own = PHOTOZ.iter().map(|(known, ..)| *known);
    let mut names = own.chain([OBJECT, ROW_GROUP, ROW, PLACE]);
    folder == Folder::Photoz && names.all(|known| known != name)
}

/// The kept columns of a part.
pub(super) struct Kept {
    /// The columns.
    pub fields: Vec<FieldRef>,
    /// By column, then by piece.
    columns: Vec<Vec<ArrayRef>>,
    /// The places of each piece's first row, and of the end.
    starts: Vec<usize>,
}

impl Kept {
    /// The kept columns of pieces of `photoz/`. Their fields are those of the piece of the first object, so they do not
    /// depend on which piece came first.
    ///
    /// # Errors
    /// Where pieces have columns of different types.
    pub fn of<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Result<Self, ArrowError> {
        let pieces: Vec<&Piece> = pieces.collect();
        let mut starts = vec![0];
        for piece in &pieces {
            starts.push(starts[starts.len() - 1] + piece.rows.num_rows());
        }
        let first = pieces.iter().min_by_key(|piece| piece.object_index);
        let names = first.map_or_else(Fields::empty, |piece| piece.rows.schema().fields().clone());
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for field in names
            .iter()
            .filter(|field| is_kept(Folder::Photoz, field.name()))
        {
            let field = agreed(field, &pieces)?;
            let arrays = pieces.iter().map(|piece| {
                let array = of_piece(piece, field.name())?.1;
                match array.data_type() {
                    DataType::Null => Ok(new_null_array(field.data_type(), array.len())),
                    known if known == field.data_type() => Ok(array.clone()),
                    _ => cast(array, field.data_type()),
                }
            });
            columns.push(arrays.collect::<Result<_, ArrowError>>()?);
            fields.push(field);
        }
        Ok(Self {
            fields,
            columns,
            starts,
        })
    }

    /// The kept columns of the rows at some places.
    ///
    /// # Errors
    /// [`ArrowError::OffsetOverflowError`] where they do not fit into one array.
    pub fn rows(&self, places: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        let of_piece = |place: &u32| {
            let place = *place as usize;
            let piece = self.starts.partition_point(|start| *start <= place) - 1;
            (piece, place - self.starts[piece])
        };
        let rows: Vec<(usize, usize)> = places.iter().map(of_piece).collect();
        let of_column = |pieces: &Vec<ArrayRef>| {
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            interleave(&pieces, &rows)
        };
        self.columns.iter().map(of_column).collect()
    }
}

fn of_piece<'a>(piece: &'a Piece, name: &str) -> Result<(&'a FieldRef, &'a ArrayRef), ArrowError> {
    let (place, field) = piece.rows.schema_ref().fields().find(name).ok_or_else(|| {
        ArrowError::SchemaError(format!("rows of {} have no column {name}", piece.object))
    })?;
    Ok((field, piece.rows.column(place)))
}

/// The field of a kept column: that of the first object where its type is known. A file that only withdraws may lack the
/// column; where its type is known of no file, it is text.
fn agreed(field: &FieldRef, pieces: &[&Piece]) -> Result<FieldRef, ArrowError> {
    let mut known = Vec::new();
    for piece in pieces {
        let (field, _) = of_piece(piece, field.name())?;
        if *field.data_type() != DataType::Null {
            known.push((piece.object_index, field));
        }
    }
    let Some((_, first)) = known.iter().min_by_key(|(object, _)| *object) else {
        let unknown = field.as_ref().clone().with_data_type(DataType::Utf8);
        return Ok(Arc::new(unknown.with_nullable(true)));
    };
    let same = |(_, other): &(u32, &FieldRef)| other.data_type() == first.data_type();
    let data_type = match known.iter().all(same) {
        true => first.data_type().clone(),
        false => comparable(first.data_type()),
    };
    let agreed = first.as_ref().clone().with_data_type(data_type);
    Ok(Arc::new(agreed.with_nullable(true)))
}
