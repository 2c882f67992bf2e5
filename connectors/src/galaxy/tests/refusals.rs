//! Tests that a file that does not fit is refused, with what is wrong and what to do.
use super::*;

fn fields(batch: &RecordBatch) -> Vec<Field> {
    let schema = batch.schema();
    let fields = schema.fields().iter();
    fields.map(|field| field.as_ref().clone()).collect()
}

/// The message for a catalog in which one column is changed, added or left out.
fn refused(change: impl FnOnce(&mut Vec<Field>), adjust: impl FnOnce(&mut Request)) -> String {
    let batch = catalog(Pictures::new(32, 1, vec![]).binary());
    let mut fields = fields(&batch);
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
fn a_missing_column_says_what_the_file_has_and_what_to_do() {
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
    assert!(missing.ends_with("give it: --column ra=NAME"), "{missing}");
    let mapped = refused(
        |_| {},
        |r| r.names = ColumnNames::parse(["cutout=image", "object_id=id"]).unwrap(),
    );
    assert!(
        mapped.starts_with("no column `object_id=id`, `cutout=image`;"),
        "{mapped}"
    );
    assert!(mapped.ends_with("--column object_id=NAME"), "{mapped}");
    let given = "--column object_id=id, --column cutout=image name none of these. ";
    assert!(mapped.contains(given), "{mapped}");
    // A redshift may be missing; one that was named and is not there is named.
    let optional = refused(
        |fields| fields.retain(|f| f.name() != "ra"),
        |r| r.names = ColumnNames::parse(["z_spec=zz"]).unwrap(),
    );
    assert!(
        optional.starts_with("no column `ra`, `z_spec=zz`;"),
        "{optional}"
    );
    assert!(
        optional.contains("--column z_spec=zz names none of these. "),
        "{optional}"
    );
}

/// Positions, redshifts and cutouts under another name were taken for redshifts alone, and nothing was said.
#[test]
fn a_file_of_spec_z_with_columns_like_images_is_doubted() {
    let pixels = |size| DataType::new_fixed_size_list(DataType::Float32, size, true);
    let list = DataType::new_list(DataType::Float32, true);
    let bands = DataType::Struct(vec![Field::new("g", list.clone(), true)].into());
    let doubted = |name: &str, kind: DataType| {
        let schema = Schema::new(vec![
            Field::new("object_id", DataType::Int64, false),
            Field::new("ra", DataType::Float64, false),
            Field::new("dec", DataType::Float64, false),
            Field::new("z_spec", DataType::Float32, false),
            Field::new(name, kind, true),
        ]);
        let layout = Layout::resolve(&schema, &request(32)).unwrap();
        assert_eq!(layout.kind(), FileKind::SpecZ);
        let doubt = layout.doubt().cloned();
        doubt.is_some_and(|doubt| doubt.pixels == [name])
    };
    assert!(doubted("cutouts", DataType::Binary));
    assert!(doubted("IMG_gri", pixels(10)));
    assert!(doubted("data", pixels(5 * 32 * 32)));
    assert!(doubted("data", list));
    assert!(doubted("bands", bands));
    assert!(!doubted("coefficients", pixels(5)));
    assert!(!doubted("image_id", DataType::Int64));
    assert!(!doubted("raw", DataType::Binary));
}

#[test]
fn a_column_of_another_type_says_which_types_are_read() {
    let no_change = |_: &mut Request| {};
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
}

#[test]
fn a_column_that_cannot_be_kept_says_why() {
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
        &["__object"],
        &["__row_group"],
        &["__row"],
        &["__place"],
        &["__mag"],
    ] {
        assert!(keep(column).contains("already, while rows are on their way: rename the column"));
    }
    for column in [
        &["_healpix_29"],
        &["z_phot"],
        &["z_low68"],
        &["z_high68"],
        &["z_low95"],
        &["z_high95"],
        &["z_quantiles"],
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
        let mut fields = fields(&batch);
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

#[test]
fn a_column_that_is_in_the_path_alone_is_refused() {
    let batch = catalog(Pictures::new(32, 1, vec![]).binary());
    let mut request = request(32);
    request.names = ColumnNames::parse(["deleted=gone"]).unwrap();
    let layout = Layout::resolve(batch.schema_ref(), &request).unwrap();
    // `ra` and `note` are in the file, `deleted` has a different name, and the file's own name is not a folder.
    for path in [
        "drop/ra=1/a.parquet",
        "drop/note=x/a.parquet",
        "drop/deleted=true/a.parquet",
        "drop/z_spec=1.parquet",
        "Norder=3/Dir=0/Npix=1.parquet",
        "a.parquet",
    ] {
        layout.check_path(path).unwrap();
    }
    for (path, named) in [
        (
            "drop/z_spec=0.1/a.parquet",
            "`z_spec` is only in the path, as the folder `z_spec=0.1`",
        ),
        ("drop/x=1/gone=true/a.parquet", "`gone` is only in the path"),
        ("mag=3/a.parquet", "`mag` is only in the path"),
    ] {
        let error = layout.check_path(path).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
