//! The files of a survey, and the surveys that are refused.

use super::*;

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
async fn a_survey_has_the_same_bytes_on_any_number_of_threads() {
    let settings =
        settings("--galaxies 300 --withdrawals 0.02 --without-spec-z 0.3 --specz-drops 1");
    let one = make_on(1, &settings).await.unwrap();
    let four = make_on(4, &settings).await.unwrap();
    assert_eq!(one, four);
    let other_seed = SampleSettings {
        seed: 2,
        ..settings
    };
    let other = make_on(4, &other_seed).await.unwrap();
    assert_ne!(one.0, other.0);
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
async fn impossible_settings_are_refused() {
    for (flags, wanted) in [
        ("--galaxies 2", "3 drops"),
        ("--px 4", "--px 4: a side is 8 to 2048 pixels"),
        ("--px 2049", "--px 2049: a side is 8 to 2048 pixels"),
        ("--corrections 1.5", "--corrections"),
        ("--corrections 0.6 --withdrawals 0.6", "together"),
        (
            "--corrections 0.5 --withdrawals 0.4 --drops 2",
            "came before it",
        ),
        ("--photometry no-such-file", "no-such-file"),
    ] {
        let error = make_on(1, &settings(flags)).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn a_place_that_is_not_empty_is_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let prefix = Path::from("survey");
    let mine = prefix.clone().join("mine");
    store.put(&mine, Vec::new().into()).await.unwrap();
    let result = sample(store, prefix, &settings("--galaxies 30"), |_| ()).await;
    assert!(matches!(result, Err(SampleError::NotEmpty(_))));
}

#[tokio::test]
async fn parents_belong_to_the_split() {
    for (name, split) in [("train", ParentSplit::Train), ("test", ParentSplit::Test)] {
        let (files, summary) = make(&format!("--galaxies 200 --parents {name}")).await;
        let all = rows(&read(&files, "survey"));
        assert!(all.iter().all(|row| split.holds(row.parent as u64)));
        assert!(summary.parents > 1_900 && summary.parents < 8_100);
    }
}
