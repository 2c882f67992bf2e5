//! Surveys in other bands than ugriz.

use super::*;

/// A row: its columns without bands, and the magnitude and the plane of each band.
#[derive(Debug, Clone, PartialEq)]
struct BandRow {
    others: (u64, u64, Option<u32>, Option<i32>),
    bands: BTreeMap<String, (Option<u32>, Vec<u32>)>,
}

impl BandRow {
    /// The row without the bands that are not in `bands`.
    fn only(mut self, bands: &SampleBands) -> Self {
        self.bands
            .retain(|name, _| bands.names().any(|band| band == name));
        self
    }
}

/// All rows with cutouts by object and drop. Numbers are bits, so that NaN is equal to NaN.
fn band_rows(files: &Files, bands: &SampleBands, side_px: usize) -> BTreeMap<(i64, u32), BandRow> {
    let mut rows = BTreeMap::new();
    for batch in (1..=3).flat_map(|drop| read(files, &format!("survey/drop-000{drop}"))) {
        for row in 0..batch.num_rows() {
            let id = column::<Int64Type>(&batch, "object_id", row).unwrap();
            let visit = (0..).find(|&visit| !rows.contains_key(&(id, visit)));
            rows.insert((id, visit.unwrap()), band_row(&batch, row, bands, side_px));
        }
    }
    rows
}

fn band_row(batch: &RecordBatch, row: usize, bands: &SampleBands, side_px: usize) -> BandRow {
    let degrees = |name| column::<Float64Type>(batch, name, row).map_or(0, f64::to_bits);
    let float = |name: &str| column::<Float32Type>(batch, name, row).map(f32::to_bits);
    let cutouts = batch.column_by_name("cutout").unwrap();
    let pixels = cutouts.as_fixed_size_list().value(row);
    let pixels = pixels.as_primitive::<Float32Type>().values();
    let planes = pixels.chunks_exact(side_px * side_px);
    let of_band = |(name, plane): (&str, &[f32])| {
        // The pixels of a withdrawn row mean nothing.
        let plane: &[f32] = if cutouts.is_null(row) { &[] } else { plane };
        let bits = plane.iter().map(|pixel| pixel.to_bits()).collect();
        (name.to_owned(), (float(&format!("mag_{name}")), bits))
    };
    BandRow {
        others: (
            degrees("ra"),
            degrees("dec"),
            float("z_spec"),
            column::<Int32Type>(batch, "parent", row),
        ),
        bands: bands.names().zip(planes).map(of_band).collect(),
    }
}

fn column<T: arrow::datatypes::ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
    row: usize,
) -> Option<T::Native> {
    let column = batch.column_by_name(name).unwrap().as_primitive::<T>();
    column.is_valid(row).then(|| column.value(row))
}

#[tokio::test]
async fn a_band_is_the_same_whatever_the_other_bands_are() {
    // 11 x 11 pixels are no multiple of the deviates of a draw; 16 x 16 are.
    for side_px in [11, 16] {
        let flags = format!(
            "--px {side_px} --galaxies 90 --corrections 0.1 --withdrawals 0.1 --bad-rows 0 --without-spec-z 0.3 \
             --specz-drops 1"
        );
        let (all_files, all_summary) = make(&flags).await;
        let all = band_rows(&all_files, &SampleBands::default(), side_px);
        for text in ["griz", "g,r,i,z", "zirg", "u", "z", "rzu", "zirgu"] {
            let (files, summary) = make(&format!("{flags} --bands {text}")).await;
            let bands: SampleBands = text.parse().unwrap();
            let rows = band_rows(&files, &bands, side_px);
            let wanted: BTreeMap<_, _> = all
                .iter()
                .map(|(&key, row)| (key, row.clone().only(&bands)))
                .collect();
            assert!(rows == wanted, "{text}, {side_px} px");
            let specz = "survey/drop-0004-specz/part-0000.parquet";
            assert_eq!(files[specz], all_files[specz], "{text}");
            let bytes = all_summary.bytes;
            assert_eq!(SampleSummary { bytes, ..summary }, all_summary, "{text}");
        }
    }
}

#[tokio::test]
async fn columns_and_planes_have_the_order_of_the_bands() {
    let (files, _) = make("--galaxies 30 --bands zgr").await;
    let batches = read(&files, "survey/drop-0001");
    let schema = batches[0].schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|it| it.name().as_str())
        .collect();
    let mags = ["mag_z", "mag_g", "mag_r"];
    let wanted = [
        &["object_id", "ra", "dec"][..],
        &mags,
        &["ebv", "z_spec", "parent", "cutout"],
    ];
    assert_eq!(names, wanted.concat());
    let field = schema.field_with_name("cutout").unwrap();
    let shape = &field.metadata()["ARROW:extension:metadata"];
    assert_eq!(shape, r#"{"shape":[3,16,16]}"#);
    let cutouts = batches[0].column_by_name("cutout").unwrap();
    let cutouts = cutouts.as_fixed_size_list();
    assert_eq!(cutouts.value_length(), 3 * 16 * 16);
    // The sky of z is the noisiest, and that of g the calmest.
    let pixels = cutouts.values().as_primitive::<Float32Type>().values();
    let mut steps: [f64; 3] = [0.0; 3];
    for (place, plane) in pixels.chunks_exact(16 * 16).enumerate() {
        let corner = plane[..4]
            .windows(2)
            .map(|two| f64::from(two[0] - two[1]).abs());
        steps[place % 3] += corner.sum::<f64>();
    }
    assert!(
        steps[0] > 3.0 * steps[2] && steps[2] > steps[1],
        "{steps:?}"
    );
}

#[tokio::test]
async fn all_faults_occur_whatever_the_bands() {
    // The bluest band, the reddest, and the plane with the unfit pixel.
    for (text, bluest, reddest, plane) in [
        ("griz", "g", "z", "r"),
        ("zig", "g", "z", "g"),
        ("i", "i", "i", "i"),
    ] {
        let bands: SampleBands = text.parse().unwrap();
        let (files, summary) = make(&format!("--galaxies 120 --bad-rows 0.1 --bands {text}")).await;
        assert_eq!(summary.bad_rows, 12);
        let rows = band_rows(&files, &bands, SIDE_PX);
        let count = |is: &dyn Fn(&BandRow) -> bool| rows.values().filter(|row| is(row)).count();
        let mag = |row: &BandRow, band: &str| row.bands[band].0.map(f32::from_bits);
        let pixels = |row: &BandRow, is: fn(f32) -> bool| {
            let holds = |bits: &u32| is(f32::from_bits(*bits));
            let planes = row.bands.iter();
            let held = planes.filter(|(_, (_, bits))| bits.iter().any(holds));
            held.map(|(band, _)| band.clone()).collect::<Vec<_>>() == [plane]
        };
        assert_eq!(count(&|row| mag(row, bluest) == Some(-9999.0)), 2, "{text}");
        assert_eq!(count(&|row| mag(row, reddest) == Some(0.0)), 2, "{text}");
        assert_eq!(count(&|row| pixels(row, f32::is_nan)), 2, "{text}");
        assert_eq!(count(&|row| pixels(row, f32::is_infinite)), 2, "{text}");
        assert_eq!(count(&|row| f64::from_bits(row.others.1) == 95.0), 2);
        assert_eq!(count(&|row| f64::from_bits(row.others.0).is_nan()), 2);
    }
}

#[test]
fn impossible_bands_are_refused() {
    for (text, reason) in [
        ("ugx", "the survey has no band 'x'"),
        ("GRZ", "the survey has no band 'G'"),
        ("g r", "the survey has no band ' '"),
        ("grg", "band g is there twice"),
        ("g,r,g", "band g is there twice"),
        ("g,,r", "a band has no name"),
        ("", "a band has no name"),
    ] {
        let error = text.parse::<SampleBands>().unwrap_err();
        assert!(error.is_usage());
        let allowed = "give any of u, g, r, i and z, each once, such as griz or g,r,i,z";
        let wanted = format!("--bands {text}: {reason}; {allowed}");
        assert_eq!(error.to_string(), wanted);
    }
    let bands: SampleBands = " z, g ".parse().unwrap();
    assert_eq!(bands.to_string(), "zg");
}
