//! The long columns of the rows of a part: kept columns, quantiles, and the columns of `embeddings/`. They stay in their pieces, because
//! all of them may not fit into one array. If they do not fit into memory, they stay compressed, and are decoded as often
//! as needed.
use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array, new_empty_array, new_null_array},
    compute::{cast, interleave, take_record_batch},
    datatypes::{DataType, FieldRef, SchemaRef},
    error::ArrowError,
};

use super::{
    columns::{OBJECT, OF_EMBEDDINGS, PLACE, ROW, ROW_GROUP, Z_QUANTILES},
    door::Folder,
    encoded::{ROW_GROUP_ROWS, WRITE_ROWS},
    photoz,
    pieces::Piece,
};
use crate::{galaxy::kept::comparable, part::codec::CompressedPieces};

/// Whether a column of a piece is a long column. Only predicted and withdrawn rows have long columns.
fn is_long(folder: Folder, name: &str) -> bool {
    let mut names = photoz::in_pieces().chain([OBJECT, ROW_GROUP, ROW, PLACE]);
    folder == Folder::Photoz && names.all(|known| known != name)
}

/// The long columns of a part.
#[derive(Default)]
pub(super) struct LongColumns {
    fields: Vec<FieldRef>,
    groups: Vec<Group>,
    heads: Vec<Head>,
    /// The number of bytes that are gathered at a time.
    window_bytes: u64,
}

/// The facts about a piece that stay in memory.
struct Head {
    object: String,
    object_index: u32,
    schema: SchemaRef,
}

/// Pieces that are decoded together.
struct Group {
    rows: usize,
    bytes: u64,
    /// The long columns of each piece, or `None` while they are compressed.
    here: Option<Vec<RecordBatch>>,
    compressed: Option<CompressedPieces>,
}

impl LongColumns {
    /// Takes the long columns out of pieces, and returns the pieces without these columns. If the columns take more than
    /// `held_bytes`, the columns of compressed pieces stay compressed.
    ///
    /// # Errors
    /// If pieces have columns of different types, or were not compressed by [`CompressedPieces::new`].
    pub fn take_from(
        pieces: Vec<Piece>,
        compressed: Vec<CompressedPieces>,
        held_bytes: u64,
    ) -> Result<(Vec<Piece>, Self), ArrowError> {
        let mut long = Self {
            window_bytes: held_bytes / 2,
            ..Self::default()
        };
        let mut own = long.add(pieces, None)?;
        let (mut bytes, mut fit) = (long.groups[0].bytes, true);
        for compressed in compressed {
            own.extend(long.add(compressed.pieces()?, Some(compressed))?);
            bytes += long.groups.last().map_or(0, |group| group.bytes);
            fit &= bytes <= held_bytes;
            if !fit {
                let compressed = long
                    .groups
                    .iter_mut()
                    .filter(|group| group.compressed.is_some());
                compressed.for_each(|group| group.here = None);
            }
        }
        long.fields = agreed(&long.heads)?;
        for group in &mut long.groups {
            if let Some(here) = &mut group.here {
                *here = in_types(here, &long.fields)?;
            }
        }
        Ok((own, long))
    }

    fn add(
        &mut self,
        pieces: Vec<Piece>,
        compressed: Option<CompressedPieces>,
    ) -> Result<Vec<Piece>, ArrowError> {
        let (mut own, mut here) = (Vec::new(), Vec::new());
        let mut group = Group {
            rows: 0,
            bytes: 0,
            here: None,
            compressed,
        };
        for mut piece in pieces {
            if piece.folder == Folder::Photoz {
                let long = columns(&piece, true)?;
                group.rows += long.num_rows();
                for column in long.columns() {
                    group.bytes += column.to_data().get_slice_memory_size()? as u64;
                }
                self.heads.push(Head {
                    object: piece.object.clone(),
                    object_index: piece.object_index,
                    schema: long.schema(),
                });
                here.push(long);
            }
            piece.rows = columns(&piece, false)?;
            if group.compressed.is_some() {
                // A decoded piece is one buffer, which any of its columns would keep in memory.
                let all = UInt32Array::from_iter_values(0..piece.rows.num_rows() as u32);
                piece.rows = take_record_batch(&piece.rows, &all)?;
            }
            own.push(piece);
        }
        group.here = Some(here);
        self.groups.push(group);
        Ok(own)
    }

    /// The fields of the kept columns of the catalog, each with its place.
    pub fn of_catalog(&self) -> impl Iterator<Item = (usize, &FieldRef)> {
        let fields = self.fields.iter().enumerate();
        fields.filter(|(_, field)| {
            let name = field.name();
            name != Z_QUANTILES && !name.starts_with(OF_EMBEDDINGS)
        })
    }

    /// The place and the field of the quantiles, if the model gives them.
    pub fn of_quantiles(&self) -> Option<(usize, &FieldRef)> {
        let mut fields = self.fields.iter().enumerate();
        fields.find(|(_, field)| field.name() == Z_QUANTILES)
    }

    /// The fields of the columns of `embeddings/`, each with its name there and its place.
    pub fn of_embeddings(&self) -> impl Iterator<Item = (usize, &str, &FieldRef)> {
        let fields = self.fields.iter().enumerate();
        fields.filter_map(|(place, field)| {
            let name = field.name().strip_prefix(OF_EMBEDDINGS)?;
            Some((place, name, field))
        })
    }

    /// The number of rows to gather at a time, a multiple of [`WRITE_ROWS`].
    pub fn window_rows(&self) -> usize {
        let bytes: u64 = self.groups.iter().map(|group| group.bytes).sum();
        let rows: usize = self.groups.iter().map(|group| group.rows).sum();
        let of_a_row = (bytes / rows.max(1) as u64).max(1);
        let fit = usize::try_from(self.window_bytes / of_a_row).unwrap_or(usize::MAX);
        (fit - fit % WRITE_ROWS).clamp(WRITE_ROWS, ROW_GROUP_ROWS)
    }

    /// Gathers some of the columns, for the rows at these places.
    ///
    /// # Errors
    /// [`ArrowError::OffsetOverflowError`] if a column does not fit into one array.
    pub fn rows(&self, places: &[u32], columns: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
        let starts = starts(self.groups.iter().map(|group| group.rows));
        let mut wanted = vec![Vec::new(); self.groups.len()];
        let mut found = Vec::with_capacity(places.len());
        for &place in places {
            let (group, row) = place_in(&starts, place as usize);
            found.push((group, wanted[group].len()));
            wanted[group].push(row);
        }
        let groups = self.groups.iter().zip(&wanted);
        let gathered = groups.map(|(group, rows)| group.rows(rows, &self.fields, columns));
        let gathered = gathered.collect::<Result<Vec<Vec<ArrayRef>>, _>>()?;
        if let [one] = &gathered[..] {
            return Ok(one.clone());
        }
        let column = |column: usize| {
            let arrays: Vec<&dyn Array> = gathered.iter().map(|of| of[column].as_ref()).collect();
            interleave(&arrays, &found)
        };
        (0..columns.len()).map(column).collect()
    }
}

impl Group {
    /// Gathers some of the columns, for some rows of the group.
    fn rows(
        &self,
        rows: &[usize],
        fields: &[FieldRef],
        columns: &[usize],
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        if rows.is_empty() {
            let empty = columns
                .iter()
                .map(|&column| new_empty_array(fields[column].data_type()));
            return Ok(empty.collect());
        }
        let pieces = self.pieces(fields)?;
        let starts = starts(pieces.iter().map(RecordBatch::num_rows));
        let rows: Vec<_> = rows.iter().map(|&row| place_in(&starts, row)).collect();
        let column = |&column: &usize| {
            let arrays = pieces.iter().map(|piece| piece.column(column).as_ref());
            interleave(&arrays.collect::<Vec<&dyn Array>>(), &rows)
        };
        columns.iter().map(column).collect()
    }

    fn pieces(&self, fields: &[FieldRef]) -> Result<Cow<'_, [RecordBatch]>, ArrowError> {
        match (&self.here, &self.compressed) {
            (Some(here), _) => Ok(Cow::Borrowed(here)),
            (None, Some(compressed)) => {
                let pieces = compressed.pieces()?.into_iter();
                let pieces = pieces.filter(|piece| piece.folder == Folder::Photoz);
                let long = pieces.map(|piece| columns(&piece, true));
                let long = long.collect::<Result<Vec<_>, _>>()?;
                in_types(&long, fields).map(Cow::Owned)
            }
            (None, None) => Ok(Cow::Borrowed(&[])),
        }
    }
}

/// The start of each run, from the lengths of the runs.
fn starts(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut end = 0;
    let starts = lengths.map(|length| {
        end += length;
        end - length
    });
    starts.collect()
}

/// The run that holds a place, and the place within the run. Empty runs that begin at the place are skipped.
fn place_in(starts: &[usize], place: usize) -> (usize, usize) {
    let run = starts.partition_point(|start| *start <= place) - 1;
    (run, place - starts[run])
}

/// The long columns of a piece, or its other columns.
fn columns(piece: &Piece, long: bool) -> Result<RecordBatch, ArrowError> {
    let fields = piece.rows.schema_ref().fields().iter().enumerate();
    let chosen = fields.filter(|(_, field)| is_long(piece.folder, field.name()) == long);
    let chosen: Vec<usize> = chosen.map(|(place, _)| place).collect();
    piece.rows.project(&chosen)
}

/// Converts batches to the columns and types of these fields.
fn in_types(batches: &[RecordBatch], fields: &[FieldRef]) -> Result<Vec<RecordBatch>, ArrowError> {
    let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::new(fields.to_vec()));
    let convert = |batch: &RecordBatch| {
        let columns = fields.iter().map(|field| {
            let (place, _) = batch
                .schema_ref()
                .fields()
                .find(field.name())
                .ok_or_else(|| {
                    ArrowError::SchemaError(format!("some rows have no column {}", field.name()))
                })?;
            let array = batch.column(place);
            match array.data_type() {
                DataType::Null => Ok(new_null_array(field.data_type(), array.len())),
                known if known == field.data_type() => Ok(array.clone()),
                _ => cast(array, field.data_type()),
            }
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
    };
    batches.iter().map(convert).collect()
}

/// The fields of the long columns. They are taken from the first object, so they do not depend on the order of pieces. If the
/// first object lacks a column because it only withdraws, the type comes from the first object that has the column. If no
/// object has the column, it is text.
fn agreed(heads: &[Head]) -> Result<Vec<FieldRef>, ArrowError> {
    let Some(first) = heads.iter().min_by_key(|head| head.object_index) else {
        return Ok(Vec::new());
    };
    let fields = first.schema.fields().iter();
    fields.map(|field| agreed_field(field, heads)).collect()
}

fn agreed_field(field: &FieldRef, heads: &[Head]) -> Result<FieldRef, ArrowError> {
    let mut known = Vec::new();
    for head in heads {
        let (_, field) = head.schema.fields().find(field.name()).ok_or_else(|| {
            let (object, name) = (&head.object, field.name());
            ArrowError::SchemaError(format!("rows of {object} have no column {name}"))
        })?;
        if *field.data_type() != DataType::Null {
            known.push((head.object_index, field));
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
