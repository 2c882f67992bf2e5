//! Shared by the tests of a galaxy's columns: makes cutouts in all forms and a catalog with them, and writes it as Parquet.
#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};

use super::*;

mod bands;
mod columns;
mod cutouts;
mod fluxes;
mod refusals;

const UGRIZ: [&str; 5] = ["u", "g", "r", "i", "z"];

/// The names of bands, as a model has them.
fn bands(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The cutouts in ugriz of a model, from a catalog of the same bands.
fn ugriz(px: usize) -> CutoutRequest {
    CutoutRequest::new(&bands(&UGRIZ), px).unwrap()
}

fn request(cutout_px: usize) -> Request {
    Request {
        cutouts: Some(ugriz(cutout_px)),
        mags: MagRequest::required(UGRIZ, "r"),
        ..Request::default()
    }
}

/// The field `item` of a list.
fn item(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type.clone(), true))
}

/// A list type of Arrow.
#[derive(Clone, Copy, Debug)]
enum ListKind {
    Fixed,
    Small,
    Large,
}

/// Makes lists of `length` elements each. The lists at `nulls` are null.
fn lists(kind: ListKind, length: usize, elements: ArrayRef, nulls: &[usize]) -> ArrayRef {
    let count = elements.len() / length;
    let nulls = (!nulls.is_empty())
        .then(|| NullBuffer::from_iter((0..count).map(|entry| !nulls.contains(&entry))));
    let field = item(elements.data_type());
    match kind {
        ListKind::Fixed => Arc::new(FixedSizeListArray::new(
            field,
            length as i32,
            elements,
            nulls,
        )),
        ListKind::Small => {
            let offsets = OffsetBuffer::from_lengths(vec![length; count]);
            Arc::new(ListArray::new(field, offsets, elements, nulls))
        }
        ListKind::Large => {
            let offsets = OffsetBuffer::from_lengths(vec![length; count]);
            Arc::new(LargeListArray::new(field, offsets, elements, nulls))
        }
    }
}

/// The pixels `[row, band, y, x]` of cutouts with the side `side_px`, and which rows are null.
#[derive(Clone, Debug)]
struct Pictures {
    bands: usize,
    side_px: usize,
    pixels: Vec<f32>,
    null_rows: Vec<usize>,
}

impl Pictures {
    fn new(side_px: usize, rows: usize, null_rows: Vec<usize>) -> Pictures {
        Pictures::of_bands(5, side_px, rows, null_rows)
    }

    fn of_bands(bands: usize, side_px: usize, rows: usize, null_rows: Vec<usize>) -> Pictures {
        let count = rows * bands * side_px * side_px;
        // Each pixel has a different value, so that a pixel in the wrong place is noticed.
        Pictures {
            bands,
            side_px,
            pixels: (0..count).map(|pixel| pixel as f32).collect(),
            null_rows,
        }
    }

    fn rows(&self) -> usize {
        self.pixels.len() / self.pixels_a_row()
    }

    fn pixels_a_row(&self) -> usize {
        self.bands * self.side_px * self.side_px
    }

    fn floats(&self) -> ArrayRef {
        Arc::new(Float32Array::from(self.pixels.clone()))
    }

    fn flat(&self, kind: ListKind) -> ArrayRef {
        lists(kind, self.pixels_a_row(), self.floats(), &self.null_rows)
    }

    fn nested(&self, kinds: [ListKind; 3]) -> ArrayRef {
        let lines = lists(kinds[2], self.side_px, self.floats(), &[]);
        let bands = lists(kinds[1], self.side_px, lines, &[]);
        lists(kinds[0], self.bands, bands, &self.null_rows)
    }

    fn binary(&self) -> ArrayRef {
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flat_map(|pixel| pixel.to_le_bytes())
            .collect();
        let size = 4 * self.pixels_a_row();
        let valid = |row: &usize| !self.null_rows.contains(row);
        let nulls = NullBuffer::from_iter((0..self.rows()).map(|row| valid(&row)));
        Arc::new(FixedSizeBinaryArray::new(
            size as i32,
            bytes.into(),
            Some(nulls),
        ))
    }

    /// The form of the Multimodal Universe: bands in a different order, and two unknown bands.
    fn named(&self, list_of_structs: bool) -> ArrayRef {
        const NAMES: [(&str, Option<usize>); 8] = [
            ("sdss-z", Some(4)),
            ("hsc_q", None),
            ("DES_U", Some(0)),
            ("r", Some(2)),
            ("wise-w1", None),
            ("SDSS_g", Some(1)),
            ("des-i", Some(3)),
            ("lsst.Y", Some(5)),
        ];
        let there = |band: &Option<usize>| band.is_none_or(|band| band < self.bands);
        let named = NAMES.into_iter().filter(|(_, band)| there(band));
        let (names, order): (Vec<&str>, Vec<Option<usize>>) = named.unzip();
        let names_a_row = names.len();
        let plane = self.side_px * self.side_px;
        let mut pixels = Vec::new();
        for row in self.pixels.chunks(self.bands * plane) {
            for &band in &order {
                match band {
                    Some(band) => pixels.extend_from_slice(&row[band * plane..][..plane]),
                    None => pixels.extend(std::iter::repeat_n(f32::NAN, plane)),
                }
            }
        }
        let lines = lists(
            ListKind::Small,
            self.side_px,
            Arc::new(Float32Array::from(pixels)),
            &[],
        );
        let images = lists(ListKind::Small, self.side_px, lines, &[]);
        let names = names
            .iter()
            .cycle()
            .take(names_a_row * self.rows())
            .copied();
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        let scale: ArrayRef = Arc::new(Float64Array::from(vec![0.396; names.len()]));
        let structs = |columns: Vec<(&str, ArrayRef)>, nulls| -> ArrayRef {
            let field = |(name, array): &(&str, ArrayRef)| {
                Field::new(*name, array.data_type().clone(), true)
            };
            let fields: Fields = columns.iter().map(field).collect();
            let arrays = columns.into_iter().map(|(_, array)| array).collect();
            Arc::new(StructArray::new(fields, arrays, nulls))
        };
        if list_of_structs {
            let entries = vec![("flux", images), ("scale", scale), ("band", names)];
            return lists(
                ListKind::Small,
                names_a_row,
                structs(entries, None),
                &self.null_rows,
            );
        }
        let list = |array| lists(ListKind::Small, names_a_row, array, &[]);
        let columns = vec![
            ("band", list(names)),
            ("flux", list(images)),
            ("scale", list(scale)),
        ];
        let valid = (0..self.rows()).map(|row| !self.null_rows.contains(&row));
        structs(columns, Some(NullBuffer::from_iter(valid)))
    }

    fn every_form(&self) -> Vec<ArrayRef> {
        use ListKind::{Fixed, Large, Small};
        vec![
            self.flat(Fixed),
            self.flat(Small),
            self.flat(Large),
            self.binary(),
            self.nested([Small; 3]),
            self.nested([Large, Small, Fixed]),
            self.nested([Fixed, Fixed, Fixed]),
            self.nested([Small, Fixed, Large]),
            self.named(false),
            self.named(true),
        ]
    }

    /// Copies the centre of a cutout, pixel by pixel.
    fn crop(&self, row: usize, px: usize) -> Vec<f32> {
        let margin = (self.side_px - px) / 2;
        let mut out = Vec::new();
        for band in 0..self.bands {
            for y in margin..margin + px {
                for x in margin..margin + px {
                    let line = ((row * self.bands + band) * self.side_px + y) * self.side_px;
                    out.push(self.pixels[line + x]);
                }
            }
        }
        out
    }
}

fn crop(cutouts: &Cutouts, row: usize, px: usize) -> Result<Vec<f32>, CutoutFault> {
    cutouts.get(row).map(|cutout| {
        assert!(cutout.is_finite());
        let mut out = vec![f32::NAN; cutout.bands() * px * px];
        cutout.crop_into(px, &mut out);
        out
    })
}

/// Makes the columns of a file with these cutouts.
fn catalog(cutout: ArrayRef) -> RecordBatch {
    let rows = cutout.len();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (
            "note".into(),
            Arc::new(StringArray::from(vec!["seen"; rows])),
        ),
        (
            "object_id".into(),
            Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        ),
        ("cutout".into(), cutout),
        ("ra".into(), Arc::new(Float64Array::from(vec![180.5; rows]))),
        (
            "dec".into(),
            Arc::new(Float64Array::from(vec![-1.25; rows])),
        ),
    ];
    for (number, band) in UGRIZ.iter().enumerate() {
        let mag: ArrayRef = Arc::new(Float32Array::from(vec![20.0 - number as f32; rows]));
        columns.push((format!("mag_{band}"), mag));
    }
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn through_parquet(batch: &RecordBatch, request: &Request) -> (Layout, Galaxies) {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let layout = Layout::resolve(reader.schema(), request).unwrap();
    let roots = layout.columns().iter().copied();
    let mask = ProjectionMask::roots(reader.parquet_schema(), roots);
    let mut batches = reader
        .with_projection(mask)
        .with_batch_size(1000)
        .build()
        .unwrap();
    let galaxies = layout.decode(&batches.next().unwrap().unwrap()).unwrap();
    assert!(batches.next().is_none());
    (layout, galaxies)
}
