//! An opened image file whose columns are found.

mod check;
mod read;

use std::path::{Path, PathBuf};

use crate::dtype::{Dtype, ElementKind};
use crate::error::ImportError;
use crate::finder::{Finder, MagFields};
use crate::named_arrays::NamedArrays;
use crate::settings::{ImportSettings, Without};
use crate::{npy, torch, zip};
use connectors::drop_writer::CutoutShape;
use connectors::galaxy::{IdKind, mag_column};

pub(crate) use read::GivenColumns;

/// An image file and the fields of its columns.
pub(crate) struct ImageFile {
    file: PathBuf,
    /// The bands of cutouts and magnitudes.
    bands: Vec<String>,
    arrays: NamedArrays,
    cutout: usize,
    mags: Option<MagFields>,
    z_spec: Option<usize>,
    object_id: Option<usize>,
    position: Option<[usize; 2]>,
    rows: u64,
}

/// The properties that all files of a drop must share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DropLayout {
    pub(crate) cutouts: CutoutShape,
    pub(crate) ids: IdKind,
    /// The columns and the fields that they are read from.
    pub(crate) columns: Vec<(String, String)>,
    has_mags: bool,
    has_z_spec: bool,
}

impl ImageFile {
    /// Opens a `.pt` or `.npz` file and finds its columns.
    pub(crate) fn open(file: &Path, settings: &ImportSettings) -> Result<Self, ImportError> {
        let archive = zip::Archive::open(file)?;
        let arrays = if archive.names().any(|name| name.ends_with("data.pkl")) {
            torch::arrays(archive)?
        } else if archive.names().any(|name| name.ends_with(".npy")) {
            npy::arrays(archive)?
        } else {
            let reason = "it is a zip archive, but neither a file of torch.save (.pt) nor of numpy.savez (.npz)";
            return Err(ImportError::unsupported(file, reason));
        };
        Self::resolve(file, arrays, settings)
    }

    fn resolve(
        file: &Path,
        mut arrays: NamedArrays,
        settings: &ImportSettings,
    ) -> Result<Self, ImportError> {
        let (bands, without) = (&settings.bands, &settings.without);
        let finder = Finder {
            file,
            arrays: &arrays,
            names: &settings.columns,
            bands,
        };
        let cutout = finder.need("cutout", "models need cutouts")?;
        let mags = if without.contains(&Without::Mags) {
            None
        } else {
            Some(finder.mags()?)
        };
        let position = match [finder.find("ra")?, finder.find("dec")?] {
            _ if without.contains(&Without::Positions) => None,
            [Some(ra), Some(dec)] => Some([ra, dec]),
            [None, None] => None,
            _ => return Err(finder.refuse("it has only one of ra and dec")),
        };
        let (z_spec, object_id) = (finder.find("z_spec")?, finder.find("object_id")?);
        let rows = arrays.fields[cutout].1.rows();
        put_bands_first(file, &mut arrays, cutout, bands)?;
        let galaxies = Self {
            file: file.to_owned(),
            bands: bands.clone(),
            arrays,
            cutout,
            mags,
            z_spec,
            object_id,
            position,
            rows,
        };
        galaxies.check()?;
        Ok(galaxies)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The number of rows that may be read together.
    pub(crate) fn rows_together(&self) -> u64 {
        let mut fields = vec![self.cutout];
        match &self.mags {
            Some(MagFields::Together(field)) => fields.push(*field),
            Some(MagFields::Each(each)) => fields.extend(each),
            None => {}
        }
        fields.extend(self.position.into_iter().flatten());
        fields.extend(self.z_spec.into_iter().chain(self.object_id));
        self.arrays.rows_together(&fields)
    }

    pub(crate) fn has_positions(&self) -> bool {
        self.position.is_some()
    }

    pub(crate) fn has_ids(&self) -> bool {
        self.object_id.is_some()
    }

    /// The properties that all files of a drop must share.
    pub(crate) fn layout(&self) -> DropLayout {
        let mut columns = Vec::new();
        let mut add = |column: &str, field: usize| {
            columns.push((column.to_owned(), self.arrays.fields[field].0.clone()));
        };
        if let Some(field) = self.object_id {
            add("object_id", field);
        }
        if let Some([ra, dec]) = self.position {
            add("ra", ra);
            add("dec", dec);
        }
        add("cutout", self.cutout);
        match &self.mags {
            Some(MagFields::Together(field)) => add("mag", *field),
            Some(MagFields::Each(fields)) => {
                for (band, field) in self.bands.iter().zip(fields) {
                    add(&mag_column(band), *field);
                }
            }
            None => {}
        }
        if let Some(field) = self.z_spec {
            add("z_spec", field);
        }
        let dtype = |field: usize| self.arrays.fields[field].1.dtype;
        DropLayout {
            cutouts: CutoutShape {
                bands: self.bands.len(),
                side_px: self.arrays.fields[self.cutout].1.shape[2] as usize,
            },
            ids: self
                .object_id
                .map_or(IdKind::Int64, |field| id_kind(dtype(field))),
            columns,
            has_mags: self.mags.is_some(),
            has_z_spec: self.z_spec.is_some(),
        }
    }
}

/// The type of ids of an element type. Only uint64 does not fit into int64.
fn id_kind(dtype: Dtype) -> IdKind {
    match dtype.kind {
        ElementKind::Uint if dtype.bytes == 8 => IdKind::UInt64,
        ElementKind::Ascii | ElementKind::Unicode => IdKind::String,
        _ => IdKind::Int64,
    }
}

/// Moves the axis of the bands before the axes of the pixels.
fn put_bands_first(
    file: &Path,
    arrays: &mut NamedArrays,
    cutout: usize,
    bands: &[String],
) -> Result<(), ImportError> {
    let (name, array) = &mut arrays.fields[cutout];
    let count = bands.len() as u64;
    match array.shape[..] {
        [_, n, y, x] if n == count && y == x && x > 0 => Ok(()),
        [_, y, x, n] if n == count && y == x && x > 0 => {
            array.shape[1..].rotate_right(1);
            array.strides[1..].rotate_right(1);
            Ok(())
        }
        _ => Err(ImportError::columns(
            file,
            format!(
                "`{name}` is of shape {:?}; cutouts in {} have the shape [n, {count}, px, px] or [n, px, px, {count}]. If they hold \
                 other bands, name all of them in their order with --bands",
                array.shape,
                bands.join(", ")
            ),
        )),
    }
}
