//! Finds the columns of a galaxy in the schema of a file, and decodes the batches of the file.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, NullArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use super::columns::{self, ColumnNames, index_of};
use super::places::{Places, may_be_pixels};
use super::reserved::{CARRIED, OF_EMBEDDINGS, ON_THE_WAY, OWN};
use super::{
    Cutouts, Embeddings, FileKind, Galaxies, IdKind, Request, SchemaError, convert, kept, tensor,
};

/// Maps the columns of one file to [`Galaxies`].
///
/// # What a file may lack
/// - Columns that no branch of the model needs.
/// - All columns but `object_id` and `z_spec`, if it has no cutouts. Then it is a [`FileKind::SpecZ`], and only these columns
///   and `deleted` are read. (If the model needs no cutouts, a file with positions and magnitudes has galaxies.)
/// - All columns but `object_id`, if it has `deleted`. It can withdraw objects, and its other rows lack columns that a
///   prediction needs. A kept column that is missing has the type null.
///
/// A column of cutouts or lists of magnitudes with Arrow's type null counts as missing, because its writer had no values.
#[derive(Clone, Debug)]
pub struct Layout {
    kind: FileKind,
    doubt: Option<Doubt>,
    id_kind: IdKind,
    /// The ascending indices of the columns in the file, and their fields.
    columns: Vec<usize>,
    fields: Vec<FieldRef>,
    places: Places,
    keep: Vec<Option<usize>>,
    keep_fields: Vec<FieldRef>,
    request: Request,
    /// Columns that would be read but are missing in this file, by their names in files.
    lacking: Vec<String>,
}

/// The columns of galaxies in a file that is read as spec-z.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// Whether it has magnitudes.
    pub has_mags: bool,
    /// Its columns that may be cutouts, by their types.
    pub pixels: Vec<String>,
    /// All its columns.
    pub found: Vec<String>,
}

impl Layout {
    /// Finds the columns of a file. Refuses a file if a column is missing or has a type that is not accepted.
    ///
    /// # Errors
    /// [`SchemaError`] names the columns, what the file has and what it must have.
    pub fn resolve(schema: &Schema, request: &Request) -> Result<Layout, SchemaError> {
        let found = Places::find(schema, request)?;
        let kind = found.kind(request);
        let missing = found.missing(kind, request);
        let withdraws_only = found.deleted.is_some() && !missing.is_empty();
        if found.object_id.is_none() || (!missing.is_empty() && !withdraws_only) {
            return Err(lacks(schema, &found, missing, request));
        }
        let doubt = doubt(schema, &found, kind, request);
        let may_withdraw = found.deleted.is_some();
        let places = found.wanted(kind, request);
        let keep = match kind {
            FileKind::Galaxies => find_kept(schema, request, withdraws_only)?,
            // Of these rows, only withdrawn rows go to `photoz/`, where columns are kept.
            FileKind::SpecZ if may_withdraw => find_kept(schema, request, true)?,
            FileKind::SpecZ => vec![None; request.keep.len()],
        };
        let keep_field = |(name, index): (&String, &Option<usize>)| match index {
            Some(index) => kept::field(&schema.fields()[*index]),
            None => Ok(Arc::new(Field::new(name, DataType::Null, true))),
        };
        let keep_fields = request.keep.iter().zip(&keep).map(keep_field);
        let keep_fields = keep_fields.collect::<Result<_, SchemaError>>()?;

        let mut columns: Vec<usize> = places.all().chain(keep.iter().flatten().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        let fields: Vec<FieldRef> = columns
            .iter()
            .map(|index| Arc::clone(&schema.fields()[*index]))
            .collect();
        if let (Some(index), Some(cutouts)) = (places.cutout, &request.cutouts) {
            tensor::check_tensor(schema.field(index), cutouts)?;
        }
        let id = places.object_id.map(|index| schema.field(index));
        let id = id.expect("invariant: the file has object_id, as checked above");
        let id_kind = convert::id_kind(id.name(), id.data_type())?;
        let layout = Layout {
            kind,
            doubt,
            id_kind,
            columns,
            fields,
            places,
            keep,
            keep_fields,
            request: request.clone(),
            lacking: lacking(schema, request),
        };
        // Only the decoder knows the accepted types, so it decodes an empty batch.
        let projected = Arc::new(Schema::new(layout.fields.clone()));
        layout.decode(&RecordBatch::new_empty(projected))?;
        Ok(layout)
    }

    /// The kind of the file's rows.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// The columns of galaxies in the file, if it is read as spec-z because it has no cutouts.
    pub fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    /// Whether rows of the file may withdraw objects.
    pub fn may_withdraw(&self) -> bool {
        self.places.deleted.is_some()
    }

    /// Refuses a file if a column that would be read is missing in the file but is in its path, such as the folder
    /// `z_spec=0.1`.
    ///
    /// # Errors
    /// [`SchemaError::InPath`], naming the column.
    pub fn check_path(&self, path: &str) -> Result<(), SchemaError> {
        let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
        let pairs = folders.split('/').filter_map(|part| part.split_once('='));
        for (column, value) in pairs {
            if self.lacking.iter().any(|lacking| lacking == column) {
                let (column, value) = (column.to_owned(), value.to_owned());
                return Err(SchemaError::InPath { column, value });
            }
        }
        Ok(())
    }

    /// The type of the file's object ids.
    pub fn id_kind(&self) -> IdKind {
        self.id_kind
    }

    /// The ascending indices of the top-level columns to read.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The fields of the columns to read, as in the file.
    pub(crate) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// The fields of [`Galaxies::keep`].
    pub fn keep_fields(&self) -> &[FieldRef] {
        &self.keep_fields
    }

    /// Decodes a batch of the columns [`Layout::columns`], in their order.
    ///
    /// # Errors
    /// If the batch has other columns, or if the ids do not fit into one array of strings (2 GiB).
    pub fn decode(&self, batch: &RecordBatch) -> Result<Galaxies, SchemaError> {
        self.check(batch)?;
        let rows = batch.num_rows();
        let float64 = |place| match self.column(batch, place) {
            Some((name, array)) => convert::float64(name, array),
            None => Ok(Float64Array::new_null(rows)),
        };
        let float32 = |place| match self.column(batch, place) {
            Some((name, array)) => convert::float32(name, array),
            None => Ok(Float32Array::new_null(rows)),
        };
        let (id_name, id) = self
            .column(batch, self.places.object_id)
            .expect("invariant: a layout has object_id");
        let cutouts = self.column(batch, self.places.cutout);
        let cutouts = cutouts.zip(self.request.cutouts.as_ref());
        let open = |((name, array), request)| Cutouts::open(name, array, request);
        let embeddings = self.column(batch, self.places.embedding);
        let embeddings = embeddings.zip(self.request.embedding_width);
        let embeddings =
            embeddings.map(|((name, array), width)| Embeddings::open(name, array, width));
        let keep = |place: &Option<usize>| match self.column(batch, *place) {
            Some((_, array)) => Arc::clone(array),
            None => Arc::new(NullArray::new(rows)) as ArrayRef,
        };
        let mag_column = |place| {
            let column = self.column(batch, Some(place));
            column.expect("invariant: the columns of magnitudes are among those read")
        };
        let (mags, mag_faults) = self.places.mags.decode(&self.request, rows, mag_column)?;
        let reference = self.request.mags.reference();
        Ok(Galaxies {
            rows,
            object_id: convert::object_id(id_name, id, self.id_kind)?,
            ra: float64(self.places.ra)?,
            dec: float64(self.places.dec)?,
            reference_mag: mags
                .as_ref()
                .zip(reference)
                .map(|(mags, place)| mags[place].clone()),
            mags,
            mag_faults,
            cutouts: cutouts.map(open).transpose()?,
            embeddings: embeddings.transpose()?,
            ebv: float32(self.places.ebv)?,
            z_spec: float32(self.places.z_spec)?,
            deleted: match self.column(batch, self.places.deleted) {
                Some((name, array)) => convert::flags(name, array)?,
                None => convert::no_flags(rows),
            },
            keep: self.keep.iter().map(keep).collect(),
        })
    }

    /// The column at `place` in the file, and its name.
    fn column<'a>(
        &'a self,
        batch: &'a RecordBatch,
        place: Option<usize>,
    ) -> Option<(&'a str, &'a ArrayRef)> {
        let position = self.columns.binary_search(&place?).ok()?;
        Some((self.fields[position].name(), batch.column(position)))
    }

    /// Makes sure that the batch has the columns of this layout.
    fn check(&self, batch: &RecordBatch) -> Result<(), SchemaError> {
        let schema = batch.schema_ref();
        let same = |(one, other): (&FieldRef, &FieldRef)| {
            one.name() == other.name() && one.data_type() == other.data_type()
        };
        let all = schema.fields().len() == self.fields.len();
        if all && schema.fields().iter().zip(&self.fields).all(same) {
            return Ok(());
        }
        let list = |fields: &[FieldRef]| {
            let columns = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), field.data_type()));
            columns.collect::<Vec<_>>().join(", ")
        };
        let (found, expected) = (list(schema.fields()), list(&self.fields));
        Err(SchemaError::Batch { found, expected })
    }
}

/// The error for a file without these columns.
fn lacks(schema: &Schema, found: &Places, missing: Vec<String>, request: &Request) -> SchemaError {
    let id = found.object_id.is_none().then_some(columns::OBJECT_ID);
    let missing = id.map(str::to_owned).into_iter().chain(missing);
    let mut missing: Vec<String> = missing
        .map(|column| labelled(&column, &request.names))
        .collect();
    // What the user named and is not there is said too, though a file may lack it.
    for (column, name) in request.names.given() {
        let label = labelled(column, &request.names);
        if schema.fields().find(name).is_none() && !missing.contains(&label) {
            missing.push(label);
        }
    }
    SchemaError::Missing {
        missing,
        found: names(schema),
        fluxes: match request.mags.required {
            true => found.mags.unread_fluxes().to_vec(),
            false => Vec::new(),
        },
    }
}

/// The columns of galaxies in a file that is read as spec-z, or `None` if there are none.
fn doubt(schema: &Schema, found: &Places, kind: FileKind, request: &Request) -> Option<Doubt> {
    let is_other = |name: &str| request.names.in_file(columns::MAG) != name;
    let fields = schema.fields().iter();
    let pixels = fields.filter(|field| is_other(field.name()) && may_be_pixels(field));
    let doubt = Doubt {
        has_mags: found.mags.are_complete(),
        pixels: match request.cutouts.is_some() {
            true => pixels.map(|field| field.name().clone()).collect(),
            false => Vec::new(),
        },
        found: names(schema),
    };
    let is_like_galaxies = doubt.has_mags || !doubt.pixels.is_empty();
    (kind == FileKind::SpecZ && is_like_galaxies).then_some(doubt)
}

/// The columns that would be read but are missing in a file, by their names in files.
fn lacking(schema: &Schema, request: &Request) -> Vec<String> {
    let known = columns::KNOWN.iter().map(|name| (*name).to_owned());
    let with_fluxes = request.mags.flux_zero_point.is_some();
    let of_band = |band: &String| {
        let fluxes = [columns::flux(band), columns::transmission(band)];
        let fluxes = fluxes.into_iter().filter(move |_| with_fluxes);
        fluxes.chain([columns::mag(band)])
    };
    let known = known.chain(request.mags.bands.iter().flat_map(of_band));
    let read = known.map(|name| request.names.in_file(&name).to_owned());
    let lacks = |name: &String| schema.fields().find(name).is_none();
    read.chain(request.keep.iter().cloned())
        .filter(lacks)
        .collect()
}

/// Finds the kept columns. If `may_lack`, missing columns are allowed.
fn find_kept(
    schema: &Schema,
    request: &Request,
    may_lack: bool,
) -> Result<Vec<Option<usize>>, SchemaError> {
    check_kept(&request.keep, request.mags.reference_band.as_deref())?;
    let mut places = Vec::with_capacity(request.keep.len());
    for column in &request.keep {
        let place = index_of(schema, column)?;
        if place.is_none() && !may_lack {
            return Err(SchemaError::KeepMissing {
                column: column.clone(),
                found: names(schema),
            });
        }
        places.push(place);
    }
    Ok(places)
}

/// Makes sure that each kept column is named once, and that the output has no column of the same name. The output has the
/// magnitude in the reference band.
///
/// # Errors
/// [`SchemaError::KeepReserved`] and [`SchemaError::KeepTwice`], naming the column.
pub fn check_kept(keep: &[String], reference_band: Option<&str>) -> Result<(), SchemaError> {
    let reference_mag = reference_band.map(columns::mag);
    for (position, column) in keep.iter().enumerate() {
        let column = column.clone();
        if CARRIED.contains(&column.as_str()) || reference_mag.as_ref() == Some(&column) {
            let reason = "from the catalog: leave --keep out";
            return Err(SchemaError::KeepReserved { column, reason });
        }
        if ON_THE_WAY.contains(&column.as_str()) || column.starts_with(OF_EMBEDDINGS) {
            let reason = "while rows are on their way: rename the column in the catalog";
            return Err(SchemaError::KeepReserved { column, reason });
        }
        if OWN.contains(&column.as_str()) {
            let reason = "of its own: rename the column in the catalog";
            return Err(SchemaError::KeepReserved { column, reason });
        }
        if keep[..position].contains(&column) {
            return Err(SchemaError::KeepTwice { column });
        }
    }
    Ok(())
}

/// The name of a column for messages: the name in this project, and the name in the file if `--column` maps it.
fn labelled(column: &str, names: &ColumnNames) -> String {
    match names.in_file(column) {
        name if name == column => column.to_owned(),
        name => format!("{column}={name}"),
    }
}

fn names(schema: &Schema) -> Vec<String> {
    let fields = schema.fields().iter();
    let named = fields.map(|field| match field.data_type() {
        DataType::Null => format!("{} (of type null)", field.name()),
        _ => field.name().clone(),
    });
    named.collect()
}
