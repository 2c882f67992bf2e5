//! Which array of a file is which column of a drop.
//!
//! | column | array | by default |
//! |---|---|---|
//! | `cutout` | `[n, 5, px, px]` or `[n, px, px, 5]`, bands ugriz | `cutout`, `cube`, `image`, `images`, `0` |
//! | `mag` | `[n, 5]` | `mag`, `mags`, `magnitude`, `magnitudes`, `1` |
//! | `mag_u` … `mag_z`, in place of it | `[n]` each | `mag_u`, `dered_petro_u`, … |
//! | `z_spec` | `[n]` or `[n, 1]` | `z_spec`, `redshift`, `z`, `2` |
//! | `object_id` | `[n]`, whole numbers or text | `object_id`, `objID`, `specObjID`, `id` |
//! | `ra`, `dec` | `[n]`, degrees | `ra`, `dec` |
//!
//! Names are compared without regard to case; a field of records is found by its own name too. Numbers are taken as they
//! stand, in whatever type and byte order: NaN and sentinels are judged when the drop is read.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

use super::array::{Dtype, Table};
use super::positions::{Places, Positions};
use super::{ImportError, Without};
use crate::drop_writer::{cutout_field, cutouts, unit_field};
use crate::galaxy::{BANDS, IdKind};

/// The names that a column has in the files that are known, the likeliest first.
fn usual_names(column: &str) -> Vec<String> {
    let names: &[&str] = match column {
        "cutout" => &["cutout", "cube", "image", "images", "0"],
        "mag" => &["mag", "mags", "magnitude", "magnitudes", "1"],
        "z_spec" => &["z_spec", "redshift", "z", "2"],
        "object_id" => &["object_id", "objID", "specObjID", "id"],
        "ra" => &["ra"],
        "dec" => &["dec"],
        _ => &[],
    };
    let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    if let Some(band) = column.strip_prefix("mag_") {
        names.extend([format!("mag_{band}"), format!("dered_petro_{band}")]);
    }
    names
}

/// The columns that `--column` may name.
pub(super) const COLUMNS: [&str; 11] = [
    "cutout",
    "mag",
    "mag_u",
    "mag_g",
    "mag_r",
    "mag_i",
    "mag_z",
    "z_spec",
    "object_id",
    "ra",
    "dec",
];

/// A file, and which of its fields is which column.
pub(super) struct Galaxies {
    file: PathBuf,
    table: Table,
    cutout: usize,
    mags: Option<Mags>,
    z_spec: Option<usize>,
    object_id: Option<usize>,
    position: Option<[usize; 2]>,
    rows: u64,
}

enum Mags {
    /// One array of five columns.
    Together(usize),
    Each([usize; 5]),
}

/// What all files of a drop must have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) side_px: usize,
    pub(super) ids: IdKind,
    /// Columns and the fields they come from, for people.
    pub(super) columns: Vec<(&'static str, String)>,
    has_mags: bool,
    has_z_spec: bool,
}

/// What a row needs and the file does not have.
pub(super) struct Given<'a> {
    /// The ids of the next rows, where they are numbered.
    pub(super) next_id: Option<&'a mut i64>,
    /// The positions of the next rows; `None` where they are in the file.
    pub(super) positions: Option<&'a mut Positions>,
}

impl Galaxies {
    /// Finds the columns; `names` are those of `--column`.
    pub(super) fn resolve(
        file: &Path,
        mut table: Table,
        names: &[(String, String)],
        without: &[Without],
    ) -> Result<Self, ImportError> {
        let finder = Finder {
            file,
            table: &table,
            names,
        };
        let cutout = finder.need("cutout", "a model looks at cutouts")?;
        let mags = if without.contains(&Without::Mags) {
            None
        } else {
            Some(finder.mags()?)
        };
        let position = match [finder.find("ra")?, finder.find("dec")?] {
            _ if without.contains(&Without::Positions) => None,
            [Some(ra), Some(dec)] => Some([ra, dec]),
            [None, None] => None,
            _ => return Err(finder.refuse("it has one of ra and dec without the other")),
        };
        let (z_spec, object_id) = (finder.find("z_spec")?, finder.find("object_id")?);
        let rows = table.fields[cutout].1.rows();
        turn_cutouts(file, &mut table, cutout)?;
        let galaxies = Self {
            file: file.to_owned(),
            table,
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

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many rows may be read together.
    pub(super) fn rows_together(&self) -> u64 {
        let mut fields = vec![self.cutout];
        match &self.mags {
            Some(Mags::Together(field)) => fields.push(*field),
            Some(Mags::Each(each)) => fields.extend(each),
            None => {}
        }
        fields.extend(self.position.into_iter().flatten());
        fields.extend(self.z_spec.into_iter().chain(self.object_id));
        self.table.rows_together(&fields)
    }

    pub(super) fn has_positions(&self) -> bool {
        self.position.is_some()
    }

    pub(super) fn has_ids(&self) -> bool {
        self.object_id.is_some()
    }

    pub(super) fn kind(&self) -> Kind {
        let mut columns = Vec::new();
        let mut add = |column, field: usize| {
            columns.push((column, self.table.fields[field].0.clone()));
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
            Some(Mags::Together(field)) => add("mag", *field),
            Some(Mags::Each(fields)) => fields
                .iter()
                .enumerate()
                .for_each(|(band, field)| add(COLUMNS[2 + band], *field)),
            None => {}
        }
        if let Some(field) = self.z_spec {
            add("z_spec", field);
        }
        let dtype = |field: usize| self.table.fields[field].1.dtype;
        Kind {
            side_px: self.table.fields[self.cutout].1.shape[2] as usize,
            ids: self
                .object_id
                .map_or(IdKind::Int64, |field| id_kind(dtype(field))),
            columns,
            has_mags: self.mags.is_some(),
            has_z_spec: self.z_spec.is_some(),
        }
    }

    /// The shapes and types of what was found, and that it lies within the file.
    fn check(&self) -> Result<(), ImportError> {
        let refuse = |reason: String| ImportError::columns(&self.file, reason);
        let mut used: Vec<(usize, Option<Vec<u64>>)> = vec![(self.cutout, None)];
        match &self.mags {
            Some(Mags::Together(field)) => used.push((*field, Some(vec![5]))),
            Some(Mags::Each(fields)) => used.extend(fields.map(|field| (field, Some(vec![])))),
            None => {}
        }
        let position = self.position.into_iter().flatten();
        used.extend(position.map(|field| (field, Some(vec![]))));
        if let Some(field) = self.z_spec {
            let shape = self.table.fields[field]
                .1
                .shape
                .get(1..)
                .unwrap_or_default();
            used.push((field, Some(if shape == [1] { vec![1] } else { vec![] })));
        }
        for (field, row_shape) in &used {
            let (name, array) = &self.table.fields[*field];
            if !array.dtype.is_number() {
                return Err(refuse(format!(
                    "`{name}` is of {}, not of numbers",
                    array.dtype
                )));
            }
            if let Some(row_shape) = row_shape
                && array.shape.get(1..) != Some(row_shape)
            {
                let expected: Vec<_> = [self.rows].iter().chain(row_shape).copied().collect();
                let reason = format!("`{name}` is of shape {:?}, not {expected:?}", array.shape);
                return Err(refuse(reason));
            }
        }
        if let Some(field) = self.object_id {
            let (name, array) = &self.table.fields[field];
            if !array.dtype.is_whole() && !array.dtype.is_text() {
                let reason = format!(
                    "`{name}` is of {}: object ids are whole numbers or text, never floats, which lose digits; \
                     name another with --column object_id=…, or number the rows with --column object_id= --first-id 0",
                    array.dtype
                );
                return Err(refuse(reason));
            }
            used.push((field, None));
            if array.shape.len() != 1 {
                return Err(refuse(format!(
                    "`{name}` is of shape {:?}, not one id a row",
                    array.shape
                )));
            }
        }
        for (field, _) in used {
            let (name, array) = &self.table.fields[field];
            if array.rows() != self.rows {
                let reason = format!(
                    "`{name}` has {} rows, and the cutouts have {}",
                    array.rows(),
                    self.rows
                );
                return Err(refuse(reason));
            }
            array
                .check(self.table.members[array.member].size())
                .map_err(|reason| {
                    ImportError::corrupt(&self.file, format!("`{name}`: {reason}"))
                })?;
        }
        Ok(())
    }

    /// Some rows as a batch of a drop.
    pub(super) fn read(
        &mut self,
        rows: Range<u64>,
        given: &mut Given<'_>,
    ) -> Result<RecordBatch, ImportError> {
        let kind = self.kind();
        let count = rows.end - rows.start;
        let positions = match &mut given.positions {
            Some(positions) => Some(positions.take(count)?),
            None => None,
        };
        let places = match positions {
            Some(places) => places,
            None => self.read_positions(&rows)?,
        };
        let degrees = |degrees: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(degrees)) };
        let ids: ArrayRef = match places.ids {
            Some(ids) => Arc::new(Int64Array::from(ids)),
            None => self.read_ids(&rows, given.next_id.as_deref_mut())?,
        };
        let mut columns: Vec<(Field, ArrayRef)> = vec![
            (Field::new("object_id", ids.data_type().clone(), false), ids),
            (
                unit_field("ra", DataType::Float64, "deg", false),
                degrees(places.ra_deg),
            ),
            (
                unit_field("dec", DataType::Float64, "deg", false),
                degrees(places.dec_deg),
            ),
        ];
        for (band, mags) in BANDS
            .iter()
            .zip(self.read_mags(&rows)?.into_iter().flatten())
        {
            let field = unit_field(&format!("mag_{band}"), DataType::Float32, "mag", false);
            columns.push((field, Arc::new(Float32Array::from(mags))));
        }
        if let Some(field) = self.z_spec {
            let z_spec = Float32Array::from(self.floats(field, &rows)?);
            let field = Field::new("z_spec", DataType::Float32, true);
            columns.push((field, Arc::new(z_spec)));
        }
        let pixels = self.floats(self.cutout, &rows)?;
        self.batch(kind.side_px, columns, pixels).map_err(|error| {
            ImportError::corrupt(&self.file, format!("its rows do not go together: {error}"))
        })
    }

    fn batch(
        &self,
        side_px: usize,
        mut columns: Vec<(Field, ArrayRef)>,
        pixels: Vec<f32>,
    ) -> Result<RecordBatch, ArrowError> {
        let cutouts = cutouts(side_px, pixels, None)?;
        columns.push((cutout_field(side_px, false), Arc::new(cutouts)));
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    fn floats(&mut self, field: usize, rows: &Range<u64>) -> Result<Vec<f32>, ImportError> {
        let bytes = self.table.read(field, rows.clone())?;
        let floats = self.table.fields[field].1.dtype.to_f32(&bytes);
        Ok(floats.expect("columns of numbers are checked when they are found"))
    }

    fn read_positions(&mut self, rows: &Range<u64>) -> Result<Places, ImportError> {
        let mut degrees = |field: usize| {
            let bytes = self.table.read(field, rows.clone())?;
            let degrees = self.table.fields[field].1.dtype.to_f64(&bytes);
            Ok(degrees.expect("columns of numbers are checked when they are found"))
        };
        let nowhere = || vec![0.0; (rows.end - rows.start) as usize];
        let [ra_deg, dec_deg] = match self.position {
            Some([ra, dec]) => [degrees(ra)?, degrees(dec)?],
            None => [nowhere(), nowhere()],
        };
        Ok(Places {
            ids: None,
            ra_deg,
            dec_deg,
        })
    }

    fn read_mags(&mut self, rows: &Range<u64>) -> Result<Option<[Vec<f32>; 5]>, ImportError> {
        let mut mags: [Vec<f32>; 5] = Default::default();
        match self.mags {
            None => return Ok(None),
            Some(Mags::Each(fields)) => {
                for (mags, field) in mags.iter_mut().zip(fields) {
                    *mags = self.floats(field, rows)?;
                }
            }
            Some(Mags::Together(field)) => {
                let all = self.floats(field, rows)?;
                for (band, mags) in mags.iter_mut().enumerate() {
                    *mags = all.iter().skip(band).step_by(5).copied().collect();
                }
            }
        }
        Ok(Some(mags))
    }

    fn read_ids(
        &mut self,
        rows: &Range<u64>,
        next_id: Option<&mut i64>,
    ) -> Result<ArrayRef, ImportError> {
        let count = (rows.end - rows.start) as i64;
        let Some(field) = self.object_id else {
            let next = next_id.expect("rows without ids are numbered, or have theirs from a file");
            let end = next.checked_add(count).ok_or_else(|| {
                ImportError::columns(&self.file, "--first-id is too large for its rows")
            })?;
            let ids = Int64Array::from_iter_values(*next..end);
            *next = end;
            return Ok(Arc::new(ids));
        };
        let bytes = self.table.read(field, rows.clone())?;
        let (name, array) = &self.table.fields[field];
        let bad = |what: &str| ImportError::columns(&self.file, format!("`{name}`: {what}"));
        let whole = || {
            let whole = array.dtype.to_whole(&bytes);
            whole.expect("the type of the ids is checked when they are found")
        };
        Ok(match id_kind(array.dtype) {
            IdKind::Int64 => {
                let ids = whole().into_iter().map(|id| id as i64);
                Arc::new(Int64Array::from_iter_values(ids))
            }
            IdKind::UInt64 => {
                let ids = whole().into_iter().map(|id| id as u64);
                Arc::new(UInt64Array::from_iter_values(ids))
            }
            IdKind::String => {
                let text = array.dtype.to_text(&bytes);
                let text = text.ok_or_else(|| bad("an object id is no text of its alphabet"))?;
                Arc::new(StringArray::from(text))
            }
        })
    }
}

/// uint64 has ids that int64 has not; all others fit into int64.
fn id_kind(dtype: Dtype) -> IdKind {
    match dtype.kind {
        super::array::Kind::Uint if dtype.bytes == 8 => IdKind::UInt64,
        super::array::Kind::Ascii | super::array::Kind::Unicode => IdKind::String,
        _ => IdKind::Int64,
    }
}

/// Brings the bands before the pixels.
fn turn_cutouts(file: &Path, table: &mut Table, cutout: usize) -> Result<(), ImportError> {
    let (name, array) = &mut table.fields[cutout];
    let bands = BANDS.len() as u64;
    match array.shape[..] {
        [_, five, y, x] if five == bands && y == x && x > 0 => Ok(()),
        [_, y, x, five] if five == bands && y == x && x > 0 => {
            array.shape[1..].rotate_right(1);
            array.strides[1..].rotate_right(1);
            Ok(())
        }
        _ => Err(ImportError::columns(
            file,
            format!(
                "`{name}` is of shape {:?}; cutouts are [n, 5, px, px] or [n, px, px, 5]",
                array.shape
            ),
        )),
    }
}

/// Finds fields by the names that a column may have.
struct Finder<'a> {
    file: &'a Path,
    table: &'a Table,
    names: &'a [(String, String)],
}

impl Finder<'_> {
    fn refuse(&self, reason: impl Into<String>) -> ImportError {
        ImportError::columns(self.file, reason)
    }

    /// The field of a column, if there is one. An empty name says that there is none.
    fn find(&self, column: &str) -> Result<Option<usize>, ImportError> {
        let given = self.names.iter().rev().find(|(of, _)| of == column);
        if let Some((_, name)) = given {
            if name.is_empty() {
                return Ok(None);
            }
            let found = self.field(name)?;
            return found
                .map(Some)
                .ok_or_else(|| self.refuse(self.missing(column, name)));
        }
        for name in usual_names(column) {
            if let Some(field) = self.field(&name)? {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }

    fn need(&self, column: &str, why: &str) -> Result<usize, ImportError> {
        let names = || usual_names(column).join(", ");
        self.find(column)?.ok_or_else(|| {
            self.refuse(format!(
                "none of its fields is known as {column} ({}): {why}; it has {}; name one with --column {column}=FIELD",
                names(),
                self.all()
            ))
        })
    }

    fn mags(&self) -> Result<Mags, ImportError> {
        if let Some(field) = self.find("mag")? {
            return Ok(Mags::Together(field));
        }
        let mut fields = [0; 5];
        for (field, band) in fields.iter_mut().zip(BANDS) {
            let why = "five magnitudes are wanted, corrected for extinction (without them: --without mags)";
            *field = self.need(&format!("mag_{band}"), why)?;
        }
        Ok(Mags::Each(fields))
    }

    /// A field by its whole name or, in records, its own.
    fn field(&self, name: &str) -> Result<Option<usize>, ImportError> {
        let fields = self.table.fields.iter().map(|(name, _)| name.as_str());
        let whole = fields
            .clone()
            .position(|field| field.eq_ignore_ascii_case(name));
        if whole.is_some() {
            return Ok(whole);
        }
        let own = |field: &str| {
            let own = field.split_once('.').map(|(_, own)| own);
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        let mut found = fields.enumerate().filter(|(_, field)| own(field));
        match (found.next(), found.next()) {
            (Some((_, one)), Some((_, other))) => Err(self.refuse(format!(
                "`{name}` may be {one} or {other}; name one with --column COLUMN=FIELD"
            ))),
            (one, _) => Ok(one.map(|(place, _)| place)),
        }
    }

    fn missing(&self, column: &str, name: &str) -> String {
        let objects = self.table.objects.iter();
        match objects
            .into_iter()
            .find(|array| array.eq_ignore_ascii_case(name))
        {
            Some(array) => format!(
                "`{array}` holds Python objects, not numbers; convert it (array.astype) and save it anew"
            ),
            None => format!(
                "there is no field {name} for {column}; it has {}",
                self.all()
            ),
        }
    }

    /// What the file has, for people.
    fn all(&self) -> String {
        let fields = self
            .table
            .fields
            .iter()
            .map(|(name, array)| format!("{name} ({} {:?})", array.dtype, array.shape));
        let objects = self.table.objects.iter();
        let objects = objects.map(|array| format!("{array} (Python objects, not read)"));
        fields.chain(objects).collect::<Vec<_>>().join(", ")
    }
}
