//! Tests the columns other than cutouts, and which of them are required.
use super::*;

#[test]
fn ids_are_read_in_each_type() {
    let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let cases: [(ArrayRef, IdKind); 6] = [
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
        (cast(&words, &dictionary).unwrap(), IdKind::String),
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
    let (mags, faults) = mags::mag_list("mag", &column.slice(1, 4), &bands(&UGRIZ)).unwrap();
    let [u, g, _, _, z] = <[_; 5]>::try_from(mags.unwrap()).unwrap();
    let told: Vec<_> = faults.into_iter().collect();
    let expected = [
        (0, "mag is null".to_owned()),
        (
            1,
            "mag is a list of 4, not of the 5 magnitudes in u, g, r, i, z".to_owned(),
        ),
    ];
    assert_eq!(told, expected);
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
    let error = mags::mag_list("mag", &four, &bands(&UGRIZ)).unwrap_err();
    let error = error.to_string();
    let expected = "must be a list of 5 float32, the magnitudes in u, g, r, i, z";
    assert!(error.contains(expected), "{error}");
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
    without.cutouts = None;
    let layout = Layout::resolve(&batch.schema(), &without).unwrap();
    assert!(!layout.columns().contains(&2), "the cutout is column 2");
    assert_eq!(layout.columns().len(), 8);
    without.mags.required = false;
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
    images_only.mags.required = false;
    let layout = Layout::resolve(&some.schema(), &images_only).unwrap();
    let galaxies = layout.decode(&some).unwrap();
    assert_eq!(galaxies.reference_mag.unwrap().value(0), 18.0);
    let [u, _, r, _, _] = <[_; 5]>::try_from(galaxies.mags.unwrap()).unwrap();
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
    mags_only.cutouts = None;
    let kind_of = |batch: &RecordBatch| {
        let layout = Layout::resolve(&batch.schema(), &mags_only);
        layout.unwrap().kind()
    };
    assert_eq!(kind_of(&batch), FileKind::Galaxies);
    let dec = batch.schema().index_of("dec").unwrap();
    let mut placeless = batch.clone();
    placeless.remove_column(dec);
    assert_eq!(kind_of(&placeless), FileKind::SpecZ);
}

/// A column without values, as pandas and pyarrow write it.
#[test]
fn cutouts_and_lists_of_magnitudes_of_type_null_are_none() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let nothing: ArrayRef = Arc::new(NullArray::new(2));
    let columns = |name: &str, column: ArrayRef| {
        let named = [
            ("object_id", ids.clone()),
            ("cutout", nothing.clone()),
            ("mag", nothing.clone()),
            (name, column),
        ];
        RecordBatch::try_from_iter_with_nullable(named.map(|(name, c)| (name, c, true))).unwrap()
    };
    let withdraws = columns("deleted", Arc::new(BooleanArray::from(vec![true, true])));
    let (layout, galaxies) = through_parquet(&withdraws, &request(32));
    assert_eq!(layout.kind(), FileKind::Galaxies);
    assert!(galaxies.cutouts.is_none() && galaxies.mags.is_none());

    let teaches = columns("z_spec", Arc::new(Float32Array::from(vec![0.1, 0.2])));
    let (layout, galaxies) = through_parquet(&teaches, &request(32));
    assert_eq!(layout.kind(), FileKind::SpecZ);
    assert_eq!(galaxies.z_spec, Float32Array::from(vec![0.1, 0.2]));

    let neither = columns("ra", Arc::new(Float64Array::from(vec![1.0, 2.0])));
    let error = Layout::resolve(&neither.schema(), &request(32)).unwrap_err();
    assert!(
        error.to_string().contains("`cutout (of type null)`"),
        "{error}"
    );
}
