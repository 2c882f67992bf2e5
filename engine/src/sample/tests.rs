//! What the sample survey promises, read back from its files.
#![allow(clippy::unwrap_used)]

use super::*;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use bytes::Bytes;
use object_store::{ObjectStoreExt, memory::InMemory};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, HashMap, HashSet};

const SIDE_PX: usize = 16;

#[derive(clap::Parser)]
#[command(args_override_self = true)]
struct CommandLine {
    #[command(flatten)]
    args: SampleArgs,
}

fn args(flags: &str) -> SampleArgs {
    let px = format!("--px={SIDE_PX}");
    let words = ["sample", &px].into_iter().chain(flags.split_whitespace());
    <CommandLine as clap::Parser>::parse_from(words).args
}

/// The objects of a survey, by path.
type Files = BTreeMap<String, Bytes>;

async fn make_on(threads: usize, args: &SampleArgs) -> Result<(Files, SampleSummary), SampleError> {
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let prefix = Path::from("survey");
    let summary = sample_on(threads, Arc::clone(&store), prefix, args, |_| ()).await?;
    let mut files = Files::new();
    let listed: Vec<_> = store.list(None).try_collect().await?;
    for object in listed {
        let bytes = store.get(&object.location).await?.bytes().await?;
        files.insert(object.location.to_string(), bytes);
    }
    Ok((files, summary))
}

async fn make(flags: &str) -> (Files, SampleSummary) {
    make_on(2, &args(flags)).await.unwrap()
}

/// All rows below a path.
fn read(files: &Files, below: &str) -> Vec<RecordBatch> {
    files
        .iter()
        .filter(|(path, _)| path.starts_with(below) && path.ends_with(".parquet"))
        .flat_map(|(_, bytes)| {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
            reader.build().unwrap().map(Result::unwrap)
        })
        .collect()
}

/// A row as read: withdrawn rows have nothing but an id.
#[derive(Debug, Clone, PartialEq)]
struct ReadRow {
    object_id: i64,
    is_withdrawn: bool,
    position: (f64, f64),
    mags: [f32; 5],
    z_spec: Option<f32>,
    parent: i32,
    cutout: Vec<f32>,
}

impl ReadRow {
    fn is_bad(&self) -> bool {
        let (ra_deg, dec_deg) = self.position;
        let in_range = |mag: &f32| (5.0..35.0).contains(mag);
        ra_deg.is_nan()
            || dec_deg > 90.0
            || !self.mags.iter().all(in_range)
            || !self.cutout.iter().all(|pixel| pixel.is_finite())
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<ReadRow> {
    batches.iter().flat_map(rows_of_batch).collect()
}

fn rows_of_batch(batch: &RecordBatch) -> Vec<ReadRow> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let ids = column("object_id").as_primitive::<Int64Type>();
    let degrees = |name: &str| column(name).as_primitive::<Float64Type>();
    let floats = |name: &str| column(name).as_primitive::<Float32Type>();
    let parents = column("parent").as_primitive::<Int32Type>();
    let cutouts = column("cutout").as_fixed_size_list();
    let deleted = batch.column_by_name("deleted").map(|it| it.as_boolean());
    (0..batch.num_rows())
        .map(|row| {
            let is_withdrawn = deleted.is_some_and(|deleted| deleted.value(row));
            for name in ["ra", "dec", "mag_u", "mag_z", "parent", "cutout"] {
                assert_eq!(column(name).is_null(row), is_withdrawn, "{name}");
            }
            let z_spec = floats("z_spec");
            ReadRow {
                object_id: ids.value(row),
                is_withdrawn,
                position: (degrees("ra").value(row), degrees("dec").value(row)),
                mags: ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"]
                    .map(|name| floats(name).value(row)),
                z_spec: z_spec.is_valid(row).then(|| z_spec.value(row)),
                parent: parents.value(row),
                cutout: cutouts
                    .value(row)
                    .as_primitive::<Float32Type>()
                    .values()
                    .to_vec(),
            }
        })
        .collect()
}

#[tokio::test]
async fn a_survey_is_the_same_to_the_byte_on_any_number_of_threads() {
    let args = args("--galaxies 300 --withdrawals 0.02 --without-spec-z 0.3 --specz-drops 1");
    let one = make_on(1, &args).await.unwrap();
    let four = make_on(4, &args).await.unwrap();
    assert_eq!(one, four);
    let other_seed = SampleArgs { seed: 2, ..args };
    let other = make_on(4, &other_seed).await.unwrap();
    assert_ne!(one.0, other.0);
}

#[tokio::test]
async fn a_drop_is_a_directory_that_ends_with_success() {
    let (files, summary) = make("--galaxies 30 --specz-drops 1").await;
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    let wanted = ["drop-0001", "drop-0002", "drop-0003", "drop-0004-specz"].map(|drop| {
        [
            format!("survey/{drop}/_SUCCESS"),
            format!("survey/{drop}/part-0000.parquet"),
        ]
    });
    assert_eq!(paths, wanted.concat());
    let bytes: usize = files.values().map(Bytes::len).sum();
    assert_eq!(summary.bytes, bytes as u64);
    assert_eq!(summary.drops, 4);
    assert!(summary.to_string().contains("rendered, not observed"));
}

#[tokio::test]
async fn drops_hold_the_rows_that_were_asked_for() {
    let flags = "--galaxies 1200 --corrections 0.05 --withdrawals 0.02 --bad-rows 0.01";
    let (files, summary) = make(flags).await;
    let drops: Vec<Vec<ReadRow>> = ["survey/drop-0001", "survey/drop-0002", "survey/drop-0003"]
        .map(|drop| rows(&read(&files, drop)))
        .into();
    let mut first_rows: HashMap<i64, ReadRow> = HashMap::new();
    let (mut corrections, mut withdrawals, mut bad) = (0, 0, 0);
    for drop in &drops {
        let ids: HashSet<i64> = drop.iter().map(|row| row.object_id).collect();
        assert_eq!(ids.len(), drop.len(), "an object is twice in a drop");
        assert!(ids.iter().all(|&id| id >= 0));
        for row in drop {
            match first_rows.get(&row.object_id) {
                Some(_) if row.is_withdrawn => withdrawals += 1,
                Some(first) => {
                    corrections += 1;
                    assert!(!row.is_bad());
                    assert_eq!((row.z_spec, row.parent), (first.z_spec, first.parent));
                    assert_ne!(row.cutout, first.cutout);
                    assert_ne!(row.mags, first.mags);
                }
                None => bad += u64::from(row.is_bad()),
            }
        }
        first_rows.extend(drop.iter().map(|row| (row.object_id, row.clone())));
    }
    assert_eq!(first_rows.len(), 1_200);
    let rows = drops.iter().map(|drop| drop.len() as u64).sum::<u64>();
    assert_eq!(
        (rows, corrections, withdrawals, bad),
        (
            summary.rows,
            summary.corrections,
            summary.withdrawals,
            summary.bad_rows
        )
    );
    let later_rows = (drops[1].len() + drops[2].len()) as f64;
    assert!((corrections as f64 / later_rows - 0.05).abs() < 0.003);
    assert!((withdrawals as f64 / later_rows - 0.02).abs() < 0.003);
    assert!((bad as f64 / rows as f64 - 0.01).abs() < 0.001);
}

#[tokio::test]
async fn every_fault_takes_its_turn() {
    let (files, summary) = make("--galaxies 120 --bad-rows 0.1").await;
    let all = rows(&read(&files, "survey"));
    let count = |is: &dyn Fn(&ReadRow) -> bool| all.iter().filter(|row| is(row)).count();
    let any_pixel = |row: &ReadRow, is: fn(f32) -> bool| row.cutout.iter().any(|&pixel| is(pixel));
    assert_eq!(summary.bad_rows, 12);
    assert_eq!(count(&|row| any_pixel(row, f32::is_nan)), 2);
    assert_eq!(count(&|row| any_pixel(row, f32::is_infinite)), 2);
    assert_eq!(count(&|row| row.mags[0] == -9999.0), 2);
    assert_eq!(count(&|row| row.mags[4] == 0.0), 2);
    assert_eq!(count(&|row| row.position.1 == 95.0), 2);
    assert_eq!(count(&|row| row.position.0.is_nan()), 2);
}

#[tokio::test]
async fn spec_z_drops_bring_what_image_drops_lack() {
    let flags = "--galaxies 600 --corrections 0 --without-spec-z 0.4 --specz-drops 2";
    let (files, summary) = make(flags).await;
    let image_rows: Vec<ReadRow> = (1..=3)
        .flat_map(|drop| rows(&read(&files, &format!("survey/drop-000{drop}"))))
        .collect();
    let lacking: HashSet<i64> = image_rows
        .iter()
        .filter(|row| row.z_spec.is_none())
        .map(|row| row.object_id)
        .collect();
    assert!((lacking.len() as f64 / 600.0 - 0.4).abs() < 0.06);
    let mut brought = HashSet::new();
    for drop in ["survey/drop-0004-specz", "survey/drop-0005-specz"] {
        let batches = read(&files, drop);
        let before = brought.len();
        for batch in &batches {
            assert_eq!(batch.num_columns(), 2);
            let ids = batch.column(0).as_primitive::<Int64Type>();
            brought.extend(ids.values().iter().copied());
        }
        assert!(brought.len() > before + 80, "{drop} is thin");
    }
    assert_eq!(brought, lacking);
    assert_eq!(summary.specz_rows, lacking.len() as u64);
    assert_eq!(summary.rows_without_spec_z, lacking.len() as u64);
}

#[tokio::test]
async fn without_gaps_a_tenth_is_observed_again() {
    let (files, summary) = make("--galaxies 1000 --specz-drops 1").await;
    assert!(
        (70..130).contains(&summary.specz_rows),
        "{}",
        summary.specz_rows
    );
    let known: HashMap<i64, f32> = (1..=3)
        .flat_map(|drop| rows(&read(&files, &format!("survey/drop-000{drop}"))))
        .map(|row| (row.object_id, row.z_spec.unwrap()))
        .collect();
    for batch in read(&files, "survey/drop-0004-specz") {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let z_spec = batch.column(1).as_primitive::<Float32Type>();
        for (id, z_again) in ids.values().iter().zip(z_spec.values()) {
            assert!((z_again - known[id]).abs() < 1e-3);
        }
    }
}

#[tokio::test]
async fn a_galaxy_is_the_same_in_any_number_of_drops_and_at_any_size() {
    let truths = |files: &Files| -> BTreeMap<i64, (i32, [f32; 5])> {
        rows(&read(files, "survey"))
            .into_iter()
            .map(|row| (row.object_id, (row.parent, row.mags)))
            .collect()
    };
    let flags = "--galaxies 60 --corrections 0 --bad-rows 0";
    let (three, _) = make(flags).await;
    let (one, _) = make(&format!("{flags} --drops 1")).await;
    let (small, _) = make_on(
        2,
        &SampleArgs {
            px: 8,
            ..args(flags)
        },
    )
    .await
    .unwrap();
    assert_eq!(truths(&three), truths(&one));
    assert_eq!(truths(&three), truths(&small));
}

#[tokio::test]
async fn parents_are_those_of_the_split() {
    for (name, split) in [("train", ParentSplit::Train), ("test", ParentSplit::Test)] {
        let (files, summary) = make(&format!("--galaxies 200 --parents {name}")).await;
        let all = rows(&read(&files, "survey"));
        assert!(all.iter().all(|row| split.holds(row.parent as u64)));
        assert!(summary.parents > 1_900 && summary.parents < 8_100);
    }
}

#[tokio::test]
async fn cutouts_are_tensors_with_their_shape() {
    let (files, _) = make("--galaxies 30").await;
    let batches = read(&files, "survey/drop-0001");
    let first = files["survey/drop-0001/part-0000.parquet"].clone();
    let reader = ParquetRecordBatchReaderBuilder::try_new(first).unwrap();
    let schema = Arc::clone(reader.schema());
    let field = schema.field_with_name("cutout").unwrap();
    let metadata = |key: &str| field.metadata()[key].as_str();
    assert_eq!(metadata("ARROW:extension:name"), "arrow.fixed_shape_tensor");
    assert_eq!(
        metadata("ARROW:extension:metadata"),
        r#"{"shape":[5,16,16]}"#
    );
    assert!(schema.metadata()["origin"].contains("not observed"));
    let cutouts = batches[0].column_by_name("cutout").unwrap();
    assert_eq!(cutouts.as_fixed_size_list().value_length(), 5 * 16 * 16);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    for (flags, wanted) in [
        ("--galaxies 2", "3 drops"),
        ("--px 4", "--px 4"),
        ("--corrections 1.5", "--corrections"),
        ("--corrections 0.6 --withdrawals 0.6", "together"),
        (
            "--corrections 0.5 --withdrawals 0.4 --drops 2",
            "came before it",
        ),
        ("--photometry no-such-file", "no-such-file"),
    ] {
        let error = make_on(1, &args(flags)).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn a_place_that_is_taken_is_left_alone() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let prefix = Path::from("survey");
    let mine = prefix.clone().join("mine");
    store.put(&mine, Vec::new().into()).await.unwrap();
    let result = sample(store, prefix, &args("--galaxies 30"), |_| ()).await;
    assert!(matches!(result, Err(SampleError::NotEmpty(_))));
}

#[test]
fn a_galaxy_has_the_flux_of_its_dimmed_magnitudes() {
    let side_px = 256;
    let photometry = Photometry::parse(
        photometry::BUNDLED,
        photometry::BUNDLED_NAME,
        ParentSplit::Test,
    )
    .unwrap();
    let survey = Survey::new(&args("--galaxies 100"), photometry).unwrap();
    let mut compact = 0;
    for object in 0..40 {
        let truth = survey.truth(object);
        // Disk and bulge come first.
        let galaxy = &survey.scene(object, &truth)[..2];
        let is_compact = galaxy
            .iter()
            .all(|part| part.scale_px < 6.0 || part.fluxes_nmgy[2] == 0.0);
        if !is_compact {
            continue;
        }
        compact += 1;
        let mut cutout = vec![0.0; camera::BANDS * side_px * side_px];
        camera::expose(galaxy, 1.0, side_px, &mut cutout);
        let dimmed = camera::dimmed_fluxes_nmgy(&truth.draw.galaxy.mags, truth.reddening);
        for (pixels, wanted) in cutout.chunks_exact(side_px * side_px).zip(dimmed) {
            let total: f64 = pixels.iter().map(|&pixel| f64::from(pixel)).sum();
            assert!((total / wanted - 1.0).abs() < 0.01, "{total}, not {wanted}");
        }
    }
    assert!(compact > 5, "{compact} galaxies were compact");
}

#[test]
fn a_small_survey_fills_cells_and_a_large_one_the_footprint() {
    let positions = |galaxies: u64| -> Vec<(f64, f64)> {
        let table = Photometry::parse(photometry::BUNDLED, "bundled", ParentSplit::Test).unwrap();
        let args = SampleArgs {
            galaxies,
            ..args("")
        };
        let survey = Survey::new(&args, table).unwrap();
        let truths = (0..2_000).map(|object| survey.truth(object));
        truths.map(|truth| (truth.ra_deg, truth.dec_deg)).collect()
    };
    let width = |of: &[f64]| {
        of.iter().copied().fold(f64::MIN, f64::max) - of.iter().copied().fold(f64::MAX, f64::min)
    };
    for (galaxies, ra_deg, dec_deg) in [(4_000, 10.4, 4.8), (10_000_000, 120.0, 60.0)] {
        let (ra, dec): (Vec<f64>, Vec<f64>) = positions(galaxies).into_iter().unzip();
        assert!((width(&ra) / ra_deg - 1.0).abs() < 0.03, "{}", width(&ra));
        assert!(
            (width(&dec) / dec_deg - 1.0).abs() < 0.05,
            "{}",
            width(&dec)
        );
        assert!(dec.iter().all(|dec_deg| (0.0..=60.0).contains(dec_deg)));
    }
}
