//! The forms against each other, through Parquet, and every refusal's words.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use proptest::prelude::*;

use super::*;

fn request(cutout_px: usize) -> Request {
    let names = ColumnNames::default();
    Request {
        names,
        keep: Vec::new(),
        needs_cutouts: true,
        needs_mags: true,
        cutout_px,
    }
}

/// A column `item`, for lists of it.
fn item(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type.clone(), true))
}

/// Which of Arrow's list types to make.
#[derive(Clone, Copy, Debug)]
enum ListKind {
    Fixed,
    Small,
    Large,
}

/// Lists of `length` elements each, of which those at `nulls` are null.
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

/// `[row, band, y, x]` pixels of rows of `side_px`, and which rows are null.
#[derive(Clone, Debug)]
struct Pictures {
    side_px: usize,
    pixels: Vec<f32>,
    null_rows: Vec<usize>,
}

impl Pictures {
    fn new(side_px: usize, rows: usize, null_rows: Vec<usize>) -> Pictures {
        let count = rows * 5 * side_px * side_px;
        // Every pixel another number: what lies in the wrong place, shows.
        Pictures {
            side_px,
            pixels: (0..count).map(|pixel| pixel as f32).collect(),
            null_rows,
        }
    }

    fn rows(&self) -> usize {
        self.pixels.len() / (5 * self.side_px * self.side_px)
    }

    fn floats(&self) -> ArrayRef {
        Arc::new(Float32Array::from(self.pixels.clone()))
    }

    fn flat(&self, kind: ListKind) -> ArrayRef {
        lists(
            kind,
            5 * self.side_px * self.side_px,
            self.floats(),
            &self.null_rows,
        )
    }

    fn nested(&self, kinds: [ListKind; 3]) -> ArrayRef {
        let lines = lists(kinds[2], self.side_px, self.floats(), &[]);
        let bands = lists(kinds[1], self.side_px, lines, &[]);
        lists(kinds[0], 5, bands, &self.null_rows)
    }

    fn binary(&self) -> ArrayRef {
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flat_map(|pixel| pixel.to_le_bytes())
            .collect();
        let size = 20 * self.side_px * self.side_px;
        let valid = |row: &usize| !self.null_rows.contains(row);
        let nulls = NullBuffer::from_iter((0..self.rows()).map(|row| valid(&row)));
        Arc::new(FixedSizeBinaryArray::new(
            size as i32,
            bytes.into(),
            Some(nulls),
        ))
    }

    /// As the Multimodal Universe has it: bands in another order, and two that are not ours.
    fn named(&self, list_of_structs: bool) -> ArrayRef {
        const ORDER: [Option<usize>; 7] = [Some(4), None, Some(0), Some(2), None, Some(1), Some(3)];
        const NAMES: [&str; 7] = [
            "sdss-z", "hsc_y", "DES_U", "r", "wise-w1", "SDSS_g", "des-i",
        ];
        let plane = self.side_px * self.side_px;
        let mut pixels = Vec::new();
        for row in self.pixels.chunks(5 * plane) {
            for band in ORDER {
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
        let names = NAMES.iter().cycle().take(7 * self.rows()).copied();
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
            return lists(ListKind::Small, 7, structs(entries, None), &self.null_rows);
        }
        let list = |array| lists(ListKind::Small, 7, array, &[]);
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

    /// The centre of a row, pixel by pixel.
    fn crop(&self, row: usize, px: usize) -> Vec<f32> {
        let margin = (self.side_px - px) / 2;
        let mut out = Vec::new();
        for band in 0..5 {
            for y in margin..margin + px {
                for x in margin..margin + px {
                    let line = ((row * 5 + band) * self.side_px + y) * self.side_px;
                    out.push(self.pixels[line + x]);
                }
            }
        }
        out
    }
}

fn crop(cutouts: &Cutouts, row: usize, px: usize) -> Result<Vec<f32>, CutoutFault> {
    let mut out = vec![f32::NAN; 5 * px * px];
    cutouts.get(row).map(|cutout| {
        assert!(cutout.is_finite());
        cutout.crop_into(px, &mut out);
        out
    })
}

/// A file's worth of columns around the cutouts.
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
    for (number, band) in BANDS.iter().enumerate() {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_form_gives_the_same_crop(
        side_px in 32usize..=70,
        null_row in 0usize..5,
        from in 0usize..5,
        length in 0usize..5,
        odd in any::<bool>(),
    ) {
        let pictures = Pictures::new(side_px, 5, vec![null_row]);
        let length = length.min(5 - from);
        let px = if odd { 31 } else { 32 };
        for form in pictures.every_form() {
            let data_type = form.data_type().clone();
            let cutouts = Cutouts::open("cutout", &form.slice(from, length), 31).unwrap();
            prop_assert_eq!(cutouts.len(), length);
            for row in 0..length {
                let expected = match from + row {
                    row if row == null_row => Err(CutoutFault::Null),
                    row => Ok(pictures.crop(row, px)),
                };
                prop_assert!(crop(&cutouts, row, px) == expected, "row {row} of {data_type}");
            }
        }
    }

    #[test]
    fn one_bad_pixel_of_any_band_shows(
        side_px in 1usize..40,
        pixel in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-42, -0.0]),
    ) {
        let mut pictures = Pictures::new(side_px, 1, Vec::new());
        let pixel = pixel.index(pictures.pixels.len());
        pictures.pixels[pixel] = bad;
        let cutouts = Cutouts::open("cutout", &pictures.flat(ListKind::Fixed), 1).unwrap();
        let naive = pictures.pixels.iter().all(|pixel| pixel.is_finite());
        prop_assert_eq!(cutouts.get(0).unwrap().is_finite(), naive);
    }
}

#[test]
fn every_form_survives_parquet() {
    let pictures = Pictures::new(33, 4, vec![2]);
    for form in pictures.every_form() {
        let data_type = form.data_type().clone();
        let mut request = request(32);
        request.keep = vec!["note".into()];
        let (layout, galaxies) = through_parquet(&catalog(form), &request);
        assert_eq!(layout.kind(), FileKind::Galaxies);
        let cutouts = galaxies.cutouts.unwrap();
        for row in [0, 1, 3] {
            assert!(
                crop(&cutouts, row, 32).unwrap() == pictures.crop(row, 32),
                "{data_type}"
            );
        }
        assert_eq!(crop(&cutouts, 2, 32), Err(CutoutFault::Null), "{data_type}");
        assert_eq!(galaxies.ra.value(3), 180.5);
        assert_eq!(galaxies.mags.unwrap()[4].value(0), 16.0);
        assert_eq!(galaxies.z_spec.null_count(), 4);
        assert_eq!(
            galaxies.deleted.true_count() + galaxies.deleted.null_count(),
            0
        );
        assert_eq!(galaxies.keep[0].as_string::<i32>().value(1), "seen");
    }
}

#[test]
fn ids_are_read_in_each_type() {
    let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let cases: [(ArrayRef, IdKind); 5] = [
        (
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
            IdKind::Int64,
        ),
        (
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            IdKind::UInt64,
        ),
        (words.clone(), IdKind::String),
        (cast(&words, &DataType::LargeUtf8).unwrap(), IdKind::String),
        (cast(&words, &DataType::Utf8View).unwrap(), IdKind::String),
    ];
    for (ids, kind) in cases {
        let z_spec: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
        let batch = RecordBatch::try_from_iter([("object_id", ids.clone()), ("z_spec", z_spec)]);
        let (layout, galaxies) = through_parquet(&batch.unwrap(), &request(32));
        assert_eq!((layout.kind(), layout.id_kind()), (FileKind::SpecZ, kind));
        assert_eq!(*galaxies.object_id.data_type(), kind.arrow_type());
        assert_eq!(
            &galaxies.object_id,
            &cast(&ids, &kind.arrow_type()).unwrap()
        );
        assert_eq!(galaxies.z_spec, Float32Array::from(vec![Some(0.5), None]));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
}

#[test]
fn magnitudes_come_as_five_columns_or_one_list() {
    let list = |values: Vec<Option<Vec<Option<f64>>>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<
            arrow::datatypes::Float64Type,
            _,
            _,
        >(values))
    };
    let whole = Some((0..5).map(|band| Some(f64::from(band))).collect());
    let holed = Some(vec![None, Some(1.0), Some(2.0), Some(3.0), Some(f64::NAN)]);
    let column = list(vec![
        whole.clone(),
        None,
        Some(vec![Some(1.0); 4]),
        holed,
        whole,
    ]);
    let [u, g, _, _, z] = convert::mag_list("mag", &column.slice(1, 4)).unwrap();
    assert_eq!(u, Float32Array::from(vec![None, None, None, Some(0.0)]));
    assert_eq!(
        g,
        Float32Array::from(vec![None, None, Some(1.0), Some(1.0)])
    );
    assert!(z.value(2).is_nan() && z.is_null(1));
    let four: ArrayRef = lists(
        ListKind::Fixed,
        4,
        Arc::new(Float32Array::from(vec![1.0; 8])),
        &[],
    );
    let error = convert::mag_list("mag", &four).unwrap_err().to_string();
    assert!(error.contains("must be a list of five float32"), "{error}");
}

#[test]
fn a_null_flag_is_not_set() {
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![
        Some(true),
        None,
        Some(false),
        Some(true),
    ]));
    let decoded = convert::flags("deleted", &flags.slice(1, 3)).unwrap();
    assert_eq!(decoded, BooleanArray::from(vec![false, false, true]));
    assert!(decoded.nulls().is_none());
}

#[test]
fn a_file_that_withdraws_needs_ids_alone() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let deleted: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let batch = RecordBatch::try_from_iter([("object_id", ids), ("deleted", deleted)]).unwrap();
    let mut request = request(32);
    request.keep = vec!["note".into()];
    let (layout, galaxies) = through_parquet(&batch, &request);
    assert_eq!(layout.kind(), FileKind::Galaxies);
    assert!(galaxies.cutouts.is_none() && galaxies.mags.is_none());
    assert_eq!(
        (galaxies.ra.null_count(), galaxies.dec.null_count()),
        (2, 2)
    );
    assert_eq!(galaxies.deleted, BooleanArray::from(vec![true, false]));
    assert_eq!(*layout.keep_fields()[0].data_type(), DataType::Null);
    assert_eq!(galaxies.keep[0].len(), 2);
}

#[test]
fn what_no_branch_needs_is_not_read() {
    let batch = catalog(Pictures::new(32, 1, vec![]).binary());
    let mut without = request(32);
    without.needs_cutouts = false;
    let layout = Layout::resolve(&batch.schema(), &without).unwrap();
    assert!(!layout.columns().contains(&2), "the cutout is column 2");
    assert_eq!(layout.columns().len(), 8);
    without.needs_mags = false;
    assert_eq!(
        Layout::resolve(&batch.schema(), &without)
            .unwrap()
            .columns()
            .len(),
        8,
        "mags are there"
    );
    let some = batch.project(&[1, 2, 3, 4, 7]).unwrap();
    let mut images_only = request(32);
    images_only.needs_mags = false;
    let layout = Layout::resolve(&some.schema(), &images_only).unwrap();
    let [u, _, r, _, _] = layout.decode(&some).unwrap().mags.unwrap();
    assert_eq!(
        (u.null_count(), r.value(0)),
        (1, 18.0),
        "mag_r is carried where it is there"
    );
}

#[test]
fn a_file_without_cutouts_is_what_the_model_makes_of_it() {
    let z_spec: ArrayRef = Arc::new(Float32Array::from(vec![0.1]));
    let galaxies = catalog(Pictures::new(32, 1, vec![]).binary());
    let mut columns: Vec<_> = galaxies.columns().iter().cloned().map(Some).collect();
    columns[2] = None;
    let names = galaxies.schema();
    let named = names
        .fields()
        .iter()
        .zip(columns)
        .filter_map(|(f, c)| Some((f.name().clone(), c?)));
    let batch = RecordBatch::try_from_iter(named.chain([("z_spec".to_owned(), z_spec)])).unwrap();
    let layout = Layout::resolve(&batch.schema(), &request(32)).unwrap();
    assert_eq!(
        (layout.kind(), layout.columns()),
        (FileKind::SpecZ, &[1, 9][..])
    );
    let mut mags_only = request(32);
    mags_only.needs_cutouts = false;
    let layout = Layout::resolve(&batch.schema(), &mags_only).unwrap();
    assert_eq!(layout.kind(), FileKind::Galaxies);
}

#[test]
fn rows_that_are_no_cutout_say_why() {
    use ListKind::Small;
    let reason = |array: ArrayRef, row: usize| {
        Cutouts::open("cutout", &array, 32)
            .unwrap()
            .get(row)
            .unwrap_err()
            .to_string()
    };
    let tail = "not 5 bands of 32x32 pixels or more";
    let flat = |length| {
        lists(
            Small,
            length,
            Arc::new(Float32Array::from(vec![0.0; length])),
            &[],
        )
    };
    assert_eq!(
        reason(flat(5119), 0),
        format!("cutout is 5119 values, {tail}")
    );
    assert_eq!(
        reason(flat(4805), 0),
        format!("cutout is 5 bands of 31x31 pixels, {tail}")
    );

    let mut pixels: Vec<Option<f32>> = vec![Some(1.0); 10240];
    pixels[5120 + 77] = None;
    let with_null = lists(Small, 5120, Arc::new(Float32Array::from(pixels)), &[]);
    assert_eq!(reason(with_null.clone(), 1), "cutout has a null pixel");
    assert!(
        Cutouts::open("cutout", &with_null, 32)
            .unwrap()
            .get(0)
            .is_ok()
    );

    let floats = |count: usize| -> ArrayRef { Arc::new(Float32Array::from(vec![0.0; count])) };
    let nested = |bands, height, width, null_lines: &[usize]| {
        let lines = lists(Small, width, floats(bands * height * width), null_lines);
        lists(Small, bands, lists(Small, height, lines, &[]), &[])
    };
    assert_eq!(
        reason(nested(5, 32, 32, &[40]), 0),
        "cutout has a null pixel"
    );
    assert_eq!(
        reason(nested(4, 32, 32, &[]), 0),
        format!("cutout is 4 bands, {tail}")
    );
    assert_eq!(
        reason(nested(5, 32, 33, &[]), 0),
        format!("cutout is a band of 32x33 pixels, {tail}")
    );
    let lines = concat(&[
        &*lists(Small, 32, floats(5 * 32 * 32 - 64), &[]),
        &*lists(Small, 31, floats(31), &[]),
        &*lists(Small, 33, floats(33), &[]),
    ])
    .unwrap();
    let ragged = lists(Small, 5, lists(Small, 32, lines, &[]), &[]);
    assert_eq!(
        reason(ragged, 0),
        format!("cutout is a band with lines of unequal length, {tail}")
    );

    let named = |names: &[&str]| -> ArrayRef {
        let images = lists(
            Small,
            32,
            lists(Small, 32, floats(names.len() * 1024), &[]),
            &[],
        );
        let bands: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let columns = [
            ("flux", lists(Small, names.len(), images, &[])),
            ("band", lists(Small, names.len(), bands, &[])),
        ];
        Arc::new(StructArray::from(
            RecordBatch::try_from_iter(columns).unwrap(),
        ))
    };
    assert_eq!(
        reason(named(&["des-g", "des-r", "z", "hsc-y"]), 0),
        "cutout lacks bands u, i; it has des-g, des-r, z, hsc-y"
    );
    let twice = reason(named(&["u", "g", "r", "i", "z", "des_G"]), 0);
    assert_eq!(
        twice,
        "cutout has band g more than once: u, g, r, i, z, des_G"
    );
}

/// The message of refusing a catalog with one column changed, added or left out.
fn refused(change: impl FnOnce(&mut Vec<Field>), adjust: impl FnOnce(&mut Request)) -> String {
    let batch = catalog(Pictures::new(32, 1, vec![]).binary());
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone())
        .collect();
    change(&mut fields);
    let mut request = request(32);
    adjust(&mut request);
    Layout::resolve(&Schema::new(fields), &request)
        .unwrap_err()
        .to_string()
}

fn with_type(column: usize, data_type: DataType) -> impl FnOnce(&mut Vec<Field>) {
    move |fields| fields[column] = fields[column].clone().with_data_type(data_type)
}

#[test]
fn every_refusal_says_what_and_what_to_do() {
    let no_change = |_: &mut Request| {};
    let missing = refused(
        |fields| fields.retain(|f| !["cutout", "mag_g", "ra"].contains(&f.name().as_str())),
        no_change,
    );
    assert!(
        missing.starts_with(
            "no column `ra`, `cutout`, `mag_g`; the file has `note`, `object_id`, `dec`"
        ),
        "{missing}"
    );
    assert!(missing.ends_with("say so: --column ra=NAME"), "{missing}");
    let mapped = refused(
        |_| {},
        |r| r.names = ColumnNames::parse(["cutout=image", "object_id=id"]).unwrap(),
    );
    assert!(
        mapped.starts_with("no column `object_id=id`, `cutout=image`;"),
        "{mapped}"
    );
    assert!(mapped.ends_with("--column object_id=NAME"), "{mapped}");

    let float_id = refused(with_type(1, DataType::Float64), no_change);
    assert!(float_id.starts_with("column `object_id` is Float64, and must be int64, uint64 or string, and never a float: a float loses digits above 2^53"), "{float_id}");
    let small_id = refused(with_type(1, DataType::Int32), no_change);
    assert!(
        small_id
            .starts_with("column `object_id` is Int32, and must be int64, uint64 or string: cast"),
        "{small_id}"
    );
    assert!(
        refused(with_type(3, DataType::Utf8), no_change)
            .contains("`ra` is Utf8, and must be float64")
    );
    assert!(
        refused(with_type(5, DataType::Int16), no_change)
            .contains("`mag_u` is Int16, and must be float32 or float64")
    );
    let flag = Field::new("deleted", DataType::Int8, true);
    assert!(
        refused(|fields| fields.push(flag), no_change)
            .contains("`deleted` is Int8, and must be bool")
    );
    let again = Field::new("ra", DataType::Float64, true);
    assert!(
        refused(|fields| fields.push(again), no_change)
            .starts_with("column `ra` stands in the file more than once")
    );

    let keep = |columns: &'static [&str]| {
        refused(
            |_| {},
            |r| r.keep = columns.iter().map(|c| (*c).to_owned()).collect(),
        )
    };
    assert!(keep(&["nota"]).starts_with("no column `nota` to keep; the file has `note`"));
    assert!(keep(&["note", "note"]).starts_with("--keep note is given twice"));
    for column in [&["object_id"], &["ra"], &["dec"], &["z_spec"], &["mag_r"]] {
        assert!(keep(column).ends_with("already, from the catalog: leave --keep out"));
    }
    for column in [
        &["_healpix_29"],
        &["z_phot"],
        &["z_flags"],
        &["model_id"],
        &["drop"],
    ] {
        assert!(keep(column).ends_with("already, of its own: rename the column in the catalog"));
    }
}

#[test]
fn every_refused_form_of_cutout_says_what_to_do() {
    let refused = |data_type: DataType, expected: &str| {
        let message = refused(with_type(2, data_type.clone()), |_| {});
        let start = format!("column `cutout` is {data_type}, and must be ");
        assert!(
            message.starts_with(&start) && message.contains(expected),
            "{message}"
        );
    };
    let fixed = |data_type: DataType, length| DataType::FixedSizeList(item(&data_type), length);
    let list = |data_type: DataType| DataType::List(item(&data_type));
    let size = "5 bands of 32x32 pixels or more";
    for length in [5 * 31 * 31, 5 * 32 * 33, 4 * 32 * 32, 0] {
        refused(fixed(DataType::Float32, length), size);
        refused(DataType::FixedSizeBinary(4 * length), size);
    }
    refused(DataType::FixedSizeBinary(5 * 32 * 32 * 4 + 1), size);
    refused(fixed(list(list(DataType::Float32)), 4), size);
    refused(list(fixed(fixed(DataType::Float32, 31), 31)), size);
    refused(list(fixed(list(DataType::Float32), 31)), size);
    refused(list(list(fixed(DataType::Float32, 31))), size);
    refused(list(fixed(fixed(DataType::Float32, 40), 39)), size);
    refused(list(list(DataType::Float32)), "[band][y][x]");
    for leaf in [
        DataType::Float64,
        DataType::Float16,
        DataType::Int16,
        DataType::UInt8,
    ] {
        refused(fixed(leaf.clone(), 5120), "of float32: cast the pixels");
        refused(list(list(list(leaf))), "of float32: cast the pixels");
    }
    refused(
        DataType::ListView(item(&DataType::Float32)),
        "views are not read",
    );
    refused(
        list(DataType::LargeListView(item(&DataType::Float32))),
        "views are not read",
    );
    refused(DataType::Utf8, size);
    let structs = |fields: Vec<Field>| DataType::Struct(fields.into());
    refused(
        structs(vec![Field::new(
            "flux",
            list(list(list(DataType::Float32))),
            true,
        )]),
        "a struct of `flux`",
    );
    let flux = Field::new("flux", list(DataType::Float32), true);
    let band = Field::new("band", list(DataType::Utf8), true);
    refused(structs(vec![flux, band]), "a struct of `flux`");
}

#[test]
fn a_tensor_must_lie_as_bands_lines_pixels() {
    let tensor = |metadata: &str| {
        let batch = catalog(Pictures::new(32, 1, vec![]).flat(ListKind::Fixed));
        let mut fields: Vec<Field> = batch
            .schema()
            .fields()
            .iter()
            .map(|f| f.as_ref().clone())
            .collect();
        let metadata = [
            ("ARROW:extension:name", "arrow.fixed_shape_tensor"),
            ("ARROW:extension:metadata", metadata),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        fields[2] = fields[2]
            .clone()
            .with_metadata(std::collections::HashMap::from(metadata));
        let batch = batch.with_schema(Arc::new(Schema::new(fields))).unwrap();
        Layout::resolve(&batch.schema(), &request(32))
            .map(|_| through_parquet(&batch, &request(32)))
    };
    let (_, galaxies) = tensor(r#"{"shape":[5,32,32],"dim_names":["band","y","x"]}"#).unwrap();
    assert!(galaxies.cutouts.unwrap().get(0).is_ok());
    assert!(tensor(r#"{"shape":[5,32,32],"permutation":[0,1,2]}"#).is_ok());
    for bad in [
        r#"{"shape":[32,32,5]}"#,
        r#"{"shape":[5,1024]}"#,
        r#"{"shape":[5,32,32],"permutation":[2,0,1]}"#,
        "",
        r#"{"shape":[5,16,64]}"#,
    ] {
        let message = tensor(bad).unwrap_err().to_string();
        assert!(
            message.contains(&format!(
                "a fixed-shape tensor {bad}, and must be of shape [5, s, s]"
            )),
            "{message}"
        );
    }
}

#[test]
fn another_files_batch_is_refused() {
    let batch = catalog(Pictures::new(32, 1, vec![]).binary());
    let layout = Layout::resolve(&batch.schema(), &request(32)).unwrap();
    assert!(
        layout
            .decode(&batch)
            .unwrap_err()
            .to_string()
            .starts_with("the batch has note Utf8, object_id Int64")
    );
    assert_eq!(layout.columns(), (1..10).collect::<Vec<_>>());
    assert!(
        layout
            .decode(&batch.project(layout.columns()).unwrap())
            .is_ok()
    );
}
