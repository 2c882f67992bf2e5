//! Nothing silent: a bad file fails only its drop, and the message names the file, the fault and what to do.
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::array::{ArrayRef, Float64Array, StringArray};
use testkit::{
    galaxy_rows::{
        galaxies_with_ids, int64, parquet_bytes, with_column, without_column, write_parquet,
    },
    gate::{Verdict, start_gate},
    outputs::{drops, staged_files},
    protected::{ProtectedOutput, assert_one_bad_drop_fails},
    rows::z_phot,
    s3::S3,
    survey::{run_catalog, survey},
    tree::{folder, write_file},
};

/// A file of the sample survey.
fn sample_file() -> Vec<u8> {
    fs::read(survey().join("drop-0001/part-0000.parquet")).unwrap()
}

const CORRUPT: [&str; 3] = [
    "drop-2/b.parquet",
    "cannot be read as Parquet",
    "replace the object and run again",
];

#[test]
fn a_file_that_is_not_parquet_fails_only_its_drop() {
    assert_one_bad_drop_fails(
        |drop| {
            // A good file beside the bad one does not save the drop.
            write_parquet(
                drop.join("a.parquet"),
                &galaxies_with_ids(int64(900..902)),
                100,
            );
            write_file(
                drop.join("b.parquet"),
                "object_id,ra,dec\n1,150.0,2.0\n".repeat(100),
            );
        },
        &CORRUPT,
    );
}

#[test]
fn an_empty_file_fails_only_its_drop() {
    assert_one_bad_drop_fails(|drop| write_file(drop.join("b.parquet"), ""), &CORRUPT);
}

#[test]
fn a_truncated_file_fails_only_its_drop() {
    let whole = sample_file();
    assert_one_bad_drop_fails(
        |drop| write_file(drop.join("b.parquet"), &whole[..whole.len() / 2]),
        &CORRUPT,
    );
}

#[test]
fn damaged_pages_fail_only_their_drop() {
    // The damage is in the header of the first page. The footer is good, so the damage shows only when rows are read.
    let mut damaged = sample_file();
    damaged[4..260].fill(0xff);
    assert_one_bad_drop_fails(|drop| write_file(drop.join("b.parquet"), damaged), &CORRUPT);
}

#[test]
fn a_missing_column_is_named_with_the_option_that_helps() {
    let nameless = without_column(&galaxies_with_ids(int64(0..8)), "cutout");
    let spoil = |drop: &Path| {
        write_parquet(
            drop.join("b.parquet"),
            &without_column(&nameless, "z_spec"),
            100,
        )
    };
    assert_one_bad_drop_fails(
        spoil,
        &[
            "drop-2/b.parquet",
            "no column `cutout`",
            "the file has `object_id`",
            "--column cutout=NAME",
        ],
    );
}

#[test]
fn a_column_of_the_wrong_type_is_named() {
    let rows = galaxies_with_ids(int64(0..2));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["17.2", "17.3"]));
    for (name, values, expected) in [("object_id", float, "int64"), ("mag_r", text, "float32")] {
        let bad = with_column(&rows, name, values);
        assert_one_bad_drop_fails(
            |drop| write_parquet(drop.join("b.parquet"), &bad, 100),
            &["drop-2/b.parquet", &format!("column `{name}` is"), expected],
        );
    }
}

/// Such a drop fails like a new one: its older entry must not be taken for the entry of a second run.
#[test]
fn a_committed_drop_that_turns_bad_fails_when_run_again() {
    let protected = ProtectedOutput::new();
    write_file(protected.drop("drop-1/a.parquet"), "not Parquet any more");
    let ended = protected.run().with("--again --json").ends(3);
    ended.says(&["drop-1: FAILED", "drop-1/a.parquet"]);
    assert_eq!(ended.json()["drops_failed"], 1);
    protected.holds(&["drop-1"]);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_fails_only_its_drop() {
    let (s3, out) = (Arc::new(S3::start()), folder());
    let put = |drop: i64, first_id: i64| {
        // Row groups of eight galaxies. Each is read by its own request.
        let rows = parquet_bytes(&galaxies_with_ids(int64(first_id..first_id + 40)), 8);
        s3.put(&format!("survey/drop-{drop}/a.parquet"), rows);
    };
    (1..=3).for_each(|drop| put(drop, 100 * drop));
    let (server, reads) = (s3.clone(), AtomicUsize::new(0));
    let replacing = start_gate(move |head| {
        let reads_it = head.method() == "GET" && head.target().contains("drop-2/a.parquet");
        // The first request is for the footer, the second for the first rows.
        if reads_it && reads.fetch_add(1, Ordering::SeqCst) == 2 {
            let rows = parquet_bytes(&galaxies_with_ids(int64(900..940)), 8);
            server.put("survey/drop-2/a.parquet", rows);
        }
        Verdict::Pass(server.endpoint())
    });
    let run = || {
        run_catalog("s3://sky/survey", &out)
            .with("--split-bytes 200kB --json")
            .on_s3(&s3)
    };
    let ended = run().env("AWS_ENDPOINT_URL", &replacing).ends(3);
    ended.says(&[
        "drop-2: FAILED",
        "s3://sky/survey/drop-2/a.parquet: changed since its drop was listed",
        "run again to take the drop as it is now",
    ]);
    assert_eq!(ended.json()["drops_committed"], 2);
    assert_eq!(drops(out.path()), ["drop-1", "drop-3"]);
    assert!(!out.path().join("photoz/drop-2").exists());
    assert!(staged_files(out.path()).is_empty());

    run().ends(0);
    assert_eq!(drops(out.path()), ["drop-1", "drop-3", "drop-2"]);
    let taken = z_phot(out.path().join("photoz/drop-2"));
    assert_eq!(
        Vec::from_iter(taken.into_keys()),
        Vec::from_iter((900..940).map(|id| id.to_string()))
    );
}
