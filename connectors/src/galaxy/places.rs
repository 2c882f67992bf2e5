//! The places of a galaxy's columns in a file.

use arrow::datatypes::{DataType, Field, Schema};

use super::columns::{self, ColumnNames};
use super::{FileKind, Request, SchemaError};

/// The indices of the columns in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) object_id: Option<usize>,
    pub(super) ra: Option<usize>,
    pub(super) dec: Option<usize>,
    pub(super) cutout: Option<usize>,
    pub(super) mags: [Option<usize>; 5],
    pub(super) mag_list: Option<usize>,
    pub(super) z_spec: Option<usize>,
    pub(super) deleted: Option<usize>,
}

impl Places {
    pub(super) fn find(schema: &Schema, names: &ColumnNames) -> Result<Places, SchemaError> {
        let place = |column: &str| index_of(schema, names.in_file(column));
        let typed = |column: &str| {
            let is_typed = |index: &usize| *schema.field(*index).data_type() != DataType::Null;
            place(column).map(|index| index.filter(is_typed))
        };
        let mut mags = [None; 5];
        for (mag, column) in mags.iter_mut().zip(columns::MAGS) {
            *mag = place(column)?;
        }
        Ok(Places {
            object_id: place(columns::OBJECT_ID)?,
            ra: place(columns::RA)?,
            dec: place(columns::DEC)?,
            cutout: typed(columns::CUTOUT)?,
            mags,
            mag_list: typed(columns::MAG)?,
            z_spec: place(columns::Z_SPEC)?,
            deleted: place(columns::DELETED)?,
        })
    }

    pub(super) fn has_mags(&self) -> bool {
        self.mag_list.is_some() || self.mags.iter().all(Option::is_some)
    }

    pub(super) fn kind(&self, request: &Request) -> FileKind {
        let has_place = self.ra.is_some() && self.dec.is_some();
        let predicts_without_cutout = !request.needs_cutouts && self.has_mags() && has_place;
        match (self.cutout, self.z_spec) {
            (None, Some(_)) if !predicts_without_cutout => FileKind::SpecZ,
            _ => FileKind::Galaxies,
        }
    }

    /// The missing columns that a prediction needs.
    pub(super) fn missing(&self, kind: FileKind, request: &Request) -> Vec<&'static str> {
        if kind == FileKind::SpecZ {
            return Vec::new();
        }
        let mut missing = Vec::new();
        let mut need = |column, place: Option<usize>| {
            if place.is_none() {
                missing.push(column);
            }
        };
        need(columns::RA, self.ra);
        need(columns::DEC, self.dec);
        if request.needs_cutouts {
            need(columns::CUTOUT, self.cutout);
        }
        if request.needs_mags && !self.has_mags() {
            for (column, place) in columns::MAGS.into_iter().zip(self.mags) {
                need(column, place);
            }
        }
        missing
    }

    /// The columns that are read. If there are both five magnitudes and a list, the five magnitudes are read.
    pub(super) fn wanted(self, kind: FileKind, request: &Request) -> Places {
        let Places {
            object_id,
            z_spec,
            deleted,
            ..
        } = self;
        if kind == FileKind::SpecZ {
            return Places {
                object_id,
                z_spec,
                deleted,
                ..Places::default()
            };
        }
        let in_five = self.mag_list.is_none() || self.mags.iter().all(Option::is_some);
        Places {
            cutout: self.cutout.filter(|_| request.needs_cutouts),
            mags: if in_five { self.mags } else { [None; 5] },
            mag_list: self.mag_list.filter(|_| !in_five),
            ..self
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        let Places {
            object_id,
            ra,
            dec,
            cutout,
            mags,
            mag_list,
            z_spec,
            deleted,
        } = *self;
        let others = [object_id, ra, dec, cutout, mag_list, z_spec, deleted];
        others.into_iter().chain(mags).flatten()
    }
}

/// The length of the shortest list that may be an image: 8 x 8 pixels.
const PIXELS_MIN: i32 = 64;
/// Parts of the names of columns with images.
const IMAGE_NAMES: [&str; 5] = ["cutout", "image", "img", "stamp", "pixel"];

/// Whether a column looks like images, by its type, and by its name where that leaves it open.
pub(super) fn may_be_pixels(field: &Field) -> bool {
    let name = field.name().to_lowercase();
    let is_named = IMAGE_NAMES.iter().any(|part| name.contains(part));
    match field.data_type() {
        DataType::FixedSizeList(inner, length) => {
            inner.data_type().is_nested() || is_named || *length >= PIXELS_MIN
        }
        DataType::List(inner) | DataType::LargeList(inner) => {
            inner.data_type().is_nested() || inner.data_type().is_numeric()
        }
        DataType::Struct(bands) => is_named || bands.iter().any(|band| may_be_pixels(band)),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => is_named,
        _ => false,
    }
}

/// The index of the only column with this name, or `None` if it is missing.
pub(super) fn index_of(schema: &Schema, name: &str) -> Result<Option<usize>, SchemaError> {
    let mut indices = (0..)
        .zip(schema.fields())
        .filter(|(_, field)| field.name() == name);
    let first = indices.next().map(|(index, _)| index);
    match indices.next() {
        Some(_) => Err(SchemaError::Ambiguous {
            column: name.to_owned(),
        }),
        None => Ok(first),
    }
}
