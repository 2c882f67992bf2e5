//! A committed row in the twenty bytes that scoring keeps of it, and the key of its object.
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use arrow::{
    array::{AsArray, PrimitiveArray, RecordBatch},
    datatypes::{ArrowPrimitiveType, Float32Type, Int32Type, Int64Type, UInt64Type},
};
use connectors::{
    part::{DELETED, Folder},
    sky::{ORDER_POSITION, ORDER_TILE},
};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::metrics::{Slice, mag_hundredths};

/// The columns of `photoz/` that scoring reads, beside the magnitude.
const PHOTOZ_COLUMNS: [&str; 5] = ["object_id", "_healpix_29", "z_phot", "z_spec", "z_flags"];
/// The columns of `specz/` that scoring reads.
const SPECZ_COLUMNS: [&str; 2] = ["object_id", "z_spec"];

/// The columns that scoring reads from a file of a folder. `mag` is the column of the magnitude, if there is one.
pub fn columns_of(folder: Folder, mag: Option<&str>) -> Vec<&str> {
    match folder {
        Folder::SpecZ => SPECZ_COLUMNS.to_vec(),
        _ => PHOTOZ_COLUMNS.into_iter().chain(mag).collect(),
    }
}

/// The key of an object: its id, or the XXH3 of its id if the id is a string. Among ten million strings, two share a key
/// with a probability of 3 in a million.
pub type ObjectKey = u64;

/// Stands for a missing magnitude.
const NO_MAG: i16 = i16::MIN;

/// What a row contributes to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKind {
    /// A photo-z.
    Predicted,
    /// The withdrawal of the object.
    Withdrawn,
    /// A spec-z and nothing else.
    SpecZ,
}

/// A redshift or none. It is ordered by its bits, because differential needs all data to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Redshift(u32);

impl Redshift {
    /// Makes a redshift. NaN counts as none.
    pub fn new(z: Option<f32>) -> Self {
        Self(z.unwrap_or(f32::NAN).to_bits())
    }

    /// The value.
    pub fn get(self) -> Option<f32> {
        Some(f32::from_bits(self.0)).filter(|z| !z.is_nan())
    }
}

/// A committed row, as scoring keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommittedRow {
    /// The number of its entry.
    pub entry: u32,
    /// The photo-z, if one was predicted.
    pub z_phot: Redshift,
    /// The spec-z that came with the row.
    pub z_spec: Redshift,
    /// The magnitude in the reference band, in hundredths.
    mag: i16,
    /// The HEALPix cell of order 5.
    tile: u16,
    /// What the row contributes to its object.
    pub kind: RowKind,
}

impl CommittedRow {
    /// A row of `photoz/` with a prediction. `mag` is in AB magnitudes, `healpix_29` as it is in the file.
    pub fn predicted(
        entry: u32,
        z_phot: f32,
        z_spec: Option<f32>,
        mag: Option<f32>,
        healpix_29: i64,
    ) -> Self {
        Self {
            entry,
            z_phot: Redshift::new(Some(z_phot)),
            z_spec: Redshift::new(z_spec),
            mag: mag
                .filter(|mag| !mag.is_nan())
                .map_or(NO_MAG, mag_hundredths),
            tile: (healpix_29 >> (2 * (ORDER_POSITION - ORDER_TILE))) as u16,
            kind: RowKind::Predicted,
        }
    }

    /// A row of `photoz/` that withdraws its object.
    pub fn withdrawn(entry: u32) -> Self {
        Self {
            z_phot: Redshift::new(None),
            kind: RowKind::Withdrawn,
            ..Self::predicted(entry, 0.0, None, None, 0)
        }
    }

    /// A row of `specz/`.
    pub fn specz(entry: u32, z_spec: Option<f32>) -> Self {
        Self {
            z_phot: Redshift::new(None),
            z_spec: Redshift::new(z_spec),
            kind: RowKind::SpecZ,
            ..Self::predicted(entry, 0.0, None, None, 0)
        }
    }

    /// The magnitude in the reference band, rounded down to a hundredth.
    pub fn mag(&self) -> Option<f32> {
        (self.mag != NO_MAG).then(|| f32::from(self.mag) / 100.0)
    }

    /// Both redshifts, or `None` if one is missing.
    pub fn redshifts(&self) -> Option<(f32, f32)> {
        self.z_phot.get().zip(self.z_spec.get())
    }

    /// The slice of the magnitude.
    pub fn mag_slice(&self) -> Option<Slice> {
        (self.mag != NO_MAG).then(|| Slice::of_mag(self.mag))
    }

    /// The slices that count a row with both redshifts.
    pub fn slices(&self) -> impl Iterator<Item = Slice> + use<> {
        let mag = self.mag_slice();
        let z_spec = self.z_spec.get().map(Slice::of_z_spec);
        let always = [Slice::All, Slice::Drop(self.entry), Slice::Tile(self.tile)];
        always.into_iter().chain(mag).chain(z_spec)
    }
}

/// The drop of each entry, by the number of the entry. Which of two rows is later depends on these names. Each worker has
/// its own.
pub type DropNames = Rc<RefCell<BTreeMap<u32, String>>>;

/// Reduces the rows of an object to its current state: the latest row that predicts or withdraws it, with the latest
/// spec-z of all rows. Returns `None` if the object is withdrawn or has no spec-z. The later of two rows is the one whose
/// drop has the later name.
pub fn current_state<'a>(
    rows: &[CommittedRow],
    drop_of: impl Fn(u32) -> &'a str,
) -> Option<CommittedRow> {
    let latest = |row: &CommittedRow| (drop_of(row.entry), row.entry);
    let newest = |of: &dyn Fn(&&CommittedRow) -> bool| match rows {
        [row] => Some(row).filter(of).copied(),
        rows => rows
            .iter()
            .filter(of)
            .max_by_key(|row| latest(row))
            .copied(),
    };
    let z_spec = newest(&|row| row.z_spec.get().is_some())?;
    match newest(&|row| row.kind != RowKind::SpecZ) {
        Some(row) if row.kind == RowKind::Withdrawn => None,
        Some(row) => Some(CommittedRow {
            z_spec: z_spec.z_spec,
            ..row
        }),
        None => Some(z_spec),
    }
}

/// The rows of a batch of a committed file, each with the key of its object. `entry` is the number of the file's entry, and
/// `mag` is the column of the magnitude, if there is one.
///
/// # Errors
/// The name of a column that is missing or has a wrong type.
pub fn rows_of(
    batch: &RecordBatch,
    folder: Folder,
    entry: u32,
    mag: Option<&str>,
) -> Result<Vec<(ObjectKey, CommittedRow)>, String> {
    let keys = keys(batch)?;
    let z_spec = floats(batch, "z_spec")?;
    let rows: Vec<CommittedRow> = match folder {
        Folder::Rejects | Folder::Embeddings => Vec::new(),
        Folder::SpecZ => z_spec.map(|z| CommittedRow::specz(entry, z)).collect(),
        Folder::Photoz => {
            let z_phot = floats(batch, "z_phot")?;
            let mags = mag.map(|mag| floats(batch, mag)).transpose()?;
            let mags = mags.into_iter().flatten().chain(std::iter::repeat(None));
            let cells = primitive::<Int64Type>(batch, "_healpix_29")?;
            let flags = primitive::<Int32Type>(batch, "z_flags")?;
            let predictions = z_phot.zip(mags).zip(z_spec);
            let rows = predictions.zip(cells.iter().zip(flags.values()));
            let row =
                |(((z_phot, mag), z_spec), (cell, flags)): (_, (Option<i64>, &i32))| match z_phot {
                    Some(z_phot) if flags & DELETED == 0 => CommittedRow::predicted(
                        entry,
                        z_phot,
                        z_spec,
                        mag,
                        cell.unwrap_or_default(),
                    ),
                    _ => CommittedRow::withdrawn(entry),
                };
            rows.map(row).collect()
        }
    };
    Ok(keys.into_iter().zip(rows).collect())
}

/// The keys of the objects of a batch of rows.
///
/// # Errors
/// If `object_id` is missing or has a wrong type.
pub fn keys(batch: &RecordBatch) -> Result<Vec<ObjectKey>, String> {
    let ids = batch
        .column_by_name("object_id")
        .ok_or("there is no column object_id")?;
    if let Some(ids) = ids.as_primitive_opt::<Int64Type>() {
        return Ok(ids.values().iter().map(|&id| id as u64).collect());
    }
    if let Some(ids) = ids.as_primitive_opt::<UInt64Type>() {
        return Ok(ids.values().to_vec());
    }
    let ids = ids
        .as_string_opt::<i32>()
        .ok_or("object_id is neither an integer nor a string")?;
    let hash = |id: &str| XxHash3_64::oneshot(id.as_bytes());
    Ok(ids.iter().map(|id| hash(id.unwrap_or_default())).collect())
}

fn primitive<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, String> {
    let column = batch
        .column_by_name(name)
        .and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| format!("there is no column {name} of {}", T::DATA_TYPE))
}

fn floats<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<impl Iterator<Item = Option<f32>> + use<'a>, String> {
    Ok(primitive::<Float32Type>(batch, name)?.iter())
}
