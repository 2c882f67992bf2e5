//! Imports of files that were written by PyTorch and numpy, intact and damaged.
#![allow(clippy::unwrap_used)]
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use connectors::Location;
use hubbleflow_import::{ImportError, ImportSettings, Imported, Without, import_images, weights};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

const DATASET: &[u8] = include_bytes!("data/pytorch-2.11-dataset.pt");
const MODULE: &[u8] = include_bytes!("data/pytorch-2.11-module.pt");
const RECORDS: &[u8] = include_bytes!("data/numpy-2.4-records.npz");

/// Imports bytes as one file and reads the drop if the import succeeds.
fn import(
    bytes: &[u8],
    settings: &ImportSettings,
) -> (Result<Imported, ImportError>, Option<RecordBatch>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, bytes).unwrap();
    let drop = folder.path().join("catalog/drop");
    let imported = import_file(&file, &drop, settings);
    let names = || std::fs::read_dir(&drop).into_iter().flatten().flatten();
    if imported.is_err() {
        assert_eq!(names().count(), 0, "objects of a failed drop are left");
        return (imported, None);
    }
    assert!(drop.join("_SUCCESS").exists());
    let part = std::fs::File::open(drop.join("part-0000.parquet")).ok();
    let rows = part.map(|part| {
        let mut rows = ParquetRecordBatchReaderBuilder::try_new(part)
            .unwrap()
            .build()
            .unwrap();
        rows.next().unwrap().unwrap()
    });
    (imported, rows)
}

fn import_file(
    file: &Path,
    drop: &Path,
    settings: &ImportSettings,
) -> Result<Imported, ImportError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let place = Location::open(drop.to_str().unwrap(), &[]).unwrap();
    runtime.block_on(import_images(
        &place,
        &[file.to_owned()],
        settings,
        |_, _| {},
    ))
}

fn numbered() -> ImportSettings {
    ImportSettings {
        first_id: Some(7),
        without: vec![Without::Positions],
        ..ImportSettings::default()
    }
}

fn floats(rows: &RecordBatch, name: &str) -> Vec<f32> {
    let column = rows.column_by_name(name).unwrap();
    column.as_primitive::<Float32Type>().values().to_vec()
}

/// The columns that all three rows have in both files.
fn check(rows: &RecordBatch) {
    let ids = rows.column_by_name("object_id").unwrap();
    assert_eq!(ids.as_primitive::<Int64Type>().values(), &[7, 8, 9]);
    assert_eq!(floats(rows, "z_spec"), [0.25, 0.5, 0.125]);
    assert_eq!(floats(rows, "mag_u"), [20.0, 21.0, 22.0]);
    assert_eq!(floats(rows, "mag_z"), [16.5, 17.5, 18.5]);
    let cutouts = rows.column_by_name("cutout").unwrap().as_fixed_size_list();
    let pixels = cutouts.values().as_primitive::<Float32Type>().values();
    assert!(
        pixels
            .iter()
            .enumerate()
            .all(|(i, &pixel)| pixel == i as f32 / 4.0)
    );
    assert_eq!(pixels.len(), 3 * 5 * 8 * 8);
}

#[test]
fn a_pytorch_dataset_becomes_a_drop() {
    let (imported, rows) = import(DATASET, &numbered());
    let imported = imported.unwrap();
    assert_eq!((imported.rows, imported.numbered), (3, Some(7..10)));
    let rows = rows.unwrap();
    check(&rows);
    let ra = rows.column_by_name("ra").unwrap();
    assert_eq!(ra.as_primitive::<Float64Type>().values(), &[0.0; 3]);
    assert!(imported.without_positions);
}

#[test]
fn numpy_records_become_a_drop() {
    let (imported, rows) = import(RECORDS, &ImportSettings::default());
    let rows = rows.unwrap();
    check(&rows);
    let dec = rows.column_by_name("dec").unwrap();
    assert_eq!(
        dec.as_primitive::<Float64Type>().values(),
        &[-1.0, 0.0, 1.0]
    );
    let columns = imported.unwrap().columns;
    assert!(
        columns.contains(&("z_spec".to_owned(), "labels.z".to_owned())),
        "{columns:?}"
    );
    let named = ImportSettings {
        columns: vec![("object_id".to_owned(), "name".to_owned())],
        ..ImportSettings::default()
    };
    let rows = import(RECORDS, &named).1.unwrap();
    let names = rows.column_by_name("object_id").unwrap().as_string::<i32>();
    assert_eq!(
        names.iter().flatten().collect::<Vec<_>>(),
        ["a", "bc", "déf"]
    );
}

#[test]
fn a_pytorch_module_becomes_tensors_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let found = weights(&written(folder.path(), MODULE)).unwrap();
    let class = "torch.nn.parallel.data_parallel.DataParallel";
    assert_eq!(found.class.as_deref(), Some(class));
    let weight = (vec![3, 2], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(found.tensors["module.0.weight"], weight);
    assert_eq!(found.tensors["module.0.bias"].1, [-1.0, 0.0, 1.0]);
    assert_eq!(found.tensors["module.1.running_var"].1, [1.0; 3]);
    assert_eq!(
        found.tensors["module.1.num_batches_tracked"],
        (vec![], vec![0.0])
    );
    assert_eq!(found.numbers["module.0.in_features"], 2.0);
    assert_eq!(found.numbers["module.1.eps"], 1e-5);
}

fn written(folder: &Path, bytes: &[u8]) -> PathBuf {
    let file = folder.join("file");
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn truncated_files_are_refused() {
    for whole in [DATASET, RECORDS] {
        for len in (0..whole.len()).step_by(97) {
            let (imported, _) = import(&whole[..len], &numbered());
            let error = imported.expect_err("a truncated file");
            assert!(
                matches!(error, ImportError::Corrupt { .. }),
                "{len}: {error}"
            );
        }
    }
}

#[test]
fn a_drop_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (file, drop) = (
        written(folder.path(), DATASET),
        folder.path().join("a/drop"),
    );
    import_file(&file, &drop, &numbered()).unwrap();
    let again = import_file(&file, &drop, &numbered()).unwrap_err();
    assert!(matches!(again, ImportError::Place { .. }), "{again}");
    let hidden = import_file(&file, &folder.path().join("a/_drop"), &numbered()).unwrap_err();
    assert!(hidden.is_usage(), "{hidden}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_files_never_panic(
        which in 0usize..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = [DATASET, MODULE, RECORDS][which].to_vec();
        // The pickle and the headers are at the beginning, the list of members is at the end.
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if which == 1 {
            let folder = tempfile::tempdir().unwrap();
            let _ = weights(&written(folder.path(), &bytes));
        } else {
            let _ = import(&bytes, &numbered());
        }
    }
}
