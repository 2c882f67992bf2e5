//! The places of a galaxy's columns in a file.

use arrow::datatypes::{DataType, Field, Schema};

use super::columns::{self, index_of};
use super::mags::MagPlaces;
use super::{FileKind, Request, SchemaError};

/// The indices of the columns in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) object_id: Option<usize>,
    pub(super) ra: Option<usize>,
    pub(super) dec: Option<usize>,
    pub(super) cutout: Option<usize>,
    pub(super) mags: MagPlaces,
    pub(super) embedding: Option<usize>,
    pub(super) ebv: Option<usize>,
    pub(super) z_spec: Option<usize>,
    pub(super) deleted: Option<usize>,
}

impl Places {
    pub(super) fn find(schema: &Schema, request: &Request) -> Result<Places, SchemaError> {
        let place = |column: &str| index_of(schema, request.names.in_file(column));
        let typed = |column: &str| {
            let is_typed = |index: &usize| *schema.field(*index).data_type() != DataType::Null;
            place(column).map(|index| index.filter(is_typed))
        };
        Ok(Places {
            object_id: place(columns::OBJECT_ID)?,
            ra: place(columns::RA)?,
            dec: place(columns::DEC)?,
            cutout: typed(columns::CUTOUT)?,
            mags: MagPlaces::find(schema, request)?,
            embedding: typed(columns::EMBEDDING)?,
            ebv: place(columns::EBV)?,
            z_spec: place(columns::Z_SPEC)?,
            deleted: place(columns::DELETED)?,
        })
    }

    pub(super) fn kind(&self, request: &Request) -> FileKind {
        let has_place = self.ra.is_some() && self.dec.is_some();
        // What a model uses if it uses no cutouts.
        let has_inputs = match request.embedding_width {
            Some(_) => self.embedding.is_some(),
            None => self.mags.would_be_complete(),
        };
        let predicts_without_cutout = request.cutouts.is_none() && has_inputs && has_place;
        match (self.cutout, self.z_spec) {
            (None, Some(_)) if !predicts_without_cutout => FileKind::SpecZ,
            _ => FileKind::Galaxies,
        }
    }

    /// The missing columns that a prediction needs.
    pub(super) fn missing(&self, kind: FileKind, request: &Request) -> Vec<String> {
        if kind == FileKind::SpecZ {
            return Vec::new();
        }
        let mut missing = Vec::new();
        let mut need = |column: &str, place: Option<usize>| {
            if place.is_none() {
                missing.push(column.to_owned());
            }
        };
        need(columns::RA, self.ra);
        need(columns::DEC, self.dec);
        if request.cutouts.is_some() {
            need(columns::CUTOUT, self.cutout);
        }
        if request.embedding_width.is_some() {
            need(columns::EMBEDDING, self.embedding);
        }
        if request.ebv {
            need(columns::EBV, self.ebv);
        }
        if request.mags.required {
            missing.extend(self.mags.missing(request));
        }
        missing
    }

    /// The columns that are read.
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
        Places {
            cutout: self.cutout.filter(|_| request.cutouts.is_some()),
            mags: self.mags.wanted(),
            embedding: self.embedding.filter(|_| request.embedding_width.is_some()),
            ebv: self.ebv.filter(|_| request.ebv),
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
            embedding,
            ebv,
            z_spec,
            deleted,
        } = self;
        let others = [object_id, ra, dec, cutout, embedding, ebv, z_spec, deleted];
        others.into_iter().copied().flatten().chain(mags.all())
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
