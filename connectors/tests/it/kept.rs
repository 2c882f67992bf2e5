//! Tests that kept columns of any type are unchanged in the output, or are refused by name before rows are read.
use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int8Array, Int64Array,
        RecordBatch, StringArray,
    },
    compute::{cast, sort_to_indices, take},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit, TimestampMicrosecondType},
};
use hubbleflow_connectors::{
    Error, Location, codec,
    part::{EncodedFile, finish},
};
use parquet::{
    arrow::ArrowWriter,
    data_type::{
        ByteArray, DoubleType, FixedLenByteArrayType, FloatType, Int64Type, Int96, Int96Type,
    },
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use proptest::prelude::*;
use testkit::*;

use crate::part::{PLAIN, int64s, keeping, label, predicted, rows_of, with_columns};
use crate::random_columns::{Numbers, data_type, values};

/// Removes dictionaries from a type, to compare values.
fn plain(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| -> FieldRef {
        Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(plain(field.data_type())),
        )
    };
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        // Both types count days.
        DataType::Date64 => DataType::Date32,
        // A column of nulls becomes text if no other file has the column.
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Fields>()),
        DataType::Map(entries, ordered) => DataType::Map(inner(entries), *ordered),
        other => other.clone(),
    }
}

/// Makes the files of a drop in which the column `kept` is kept. The pieces are encoded and decoded on their way.
fn written(here: &Location, split_bytes: Option<u64>) -> Vec<EncodedFile> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut pieces = runtime.block_on(predicted(here, &["kept"]));
    if split_bytes.is_some() {
        pieces.reverse();
    }
    let pieces = codec::decode(&codec::encode(&pieces).unwrap()).unwrap();
    finish(pieces, Vec::new(), u64::MAX, &label(0))
        .unwrap()
        .files
}

fn refusal(here: &Location) -> Option<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let planned = runtime.block_on(plan(&keeping(here, &["kept"]), "drop", 1 << 20));
    planned.err().map(|error: Error| error.to_string())
}

fn put_now(here: &Location, path: &str, bytes: Vec<u8>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(put(here, path, bytes));
}

/// The kept column of the output, in the order of the ids.
fn kept_by_id(files: &[EncodedFile]) -> ArrayRef {
    let photoz = rows_of(files, "photoz/").unwrap();
    let order = sort_to_indices(&photoz["object_id"], None, None).unwrap();
    take(&photoz["kept"], &order, None).unwrap()
}

fn with_kept(rows: &RecordBatch, kept: ArrayRef) -> RecordBatch {
    let mut fields: Vec<FieldRef> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("kept", kept.data_type().clone(), true)));
    let columns = rows.columns().iter().cloned().chain([kept]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_kept_column_of_any_type_leaves_as_it_came(data_type in data_type(), rows in prop::array::uniform2(1_usize..60), seed: u64) {
        let mut numbers = Numbers(seed);
        let here = memory();
        let kept = rows.map(|rows| values(&data_type, rows, &mut numbers));
        let mut first = 0;
        for (n, (kept, rows)) in kept.iter().zip(rows).enumerate() {
            let ids = galaxies(first..first + rows as i64);
            first += rows as i64;
            put_now(&here, &format!("drop/{n}.parquet"), parquet(&with_kept(&ids, kept.clone()), PLAIN));
        }
        // A column is refused by name before rows are read.
        if let Some(refused) = refusal(&here) {
            prop_assert!(refused.contains("column `kept` is "), "{refused}");
            prop_assert!(false, "{data_type}: Parquet has it, so it can be kept: {refused}");
        }
        let files = written(&here, None);
        let plain = plain(&data_type);
        let out = cast(&kept_by_id(&files), &plain).unwrap();
        let both: Vec<ArrayRef> = kept.iter().map(|kept| cast(kept, &plain).unwrap()).collect();
        let expected = arrow::compute::concat(&[&both[0], &both[1]]).unwrap();
        prop_assert_eq!(&out, &expected);
        let again = written(&here, Some(1));
        prop_assert!(files.iter().zip(&again).all(|(one, other)| one.bytes == other.bytes), "bytes depend on the order of pieces");
    }
}

/// A file of galaxies as another program writes it, without an Arrow schema, and a column `kept` of a Parquet type.
fn foreign(
    kept: &str,
    write: impl FnOnce(&mut parquet::file::writer::SerializedColumnWriter<'_>),
) -> Vec<u8> {
    let schema = format!(
        "message m {{ required int64 object_id; required double ra; required double dec; required float mag_u; required float mag_g; required float mag_r; required float mag_i; required float mag_z; {kept} }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut bytes = Vec::new();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut write = Some(write);
    let mut column = 0;
    while let Some(mut writer) = group.next_column().unwrap() {
        match column {
            0 => {
                writer
                    .typed::<Int64Type>()
                    .write_batch(&[1, 2, 3], None, None)
                    .unwrap();
            }
            1 | 2 => {
                writer
                    .typed::<DoubleType>()
                    .write_batch(&[10.0; 3], None, None)
                    .unwrap();
            }
            3..=7 => {
                writer
                    .typed::<FloatType>()
                    .write_batch(&[17.0; 3], None, None)
                    .unwrap();
            }
            _ => (write.take().unwrap())(&mut writer),
        }
        writer.close().unwrap();
        column += 1;
    }
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

#[test]
fn dates_of_spark_keep_their_year() {
    // Regression: 9999-12-31T23:59:59.123456 in INT96 (nanoseconds of the day, Julian day) became 1816-03-29.
    let int96 = |julian_day: u32, nanoseconds: u64| {
        Int96::from(vec![
            nanoseconds as u32,
            (nanoseconds >> 32) as u32,
            julian_day,
        ])
    };
    let dates = [
        int96(2_440_588 + 2_932_896, 86_399_123_456_000),
        int96(2_440_588, 0),
        int96(1_721_426, 1_000),
    ];
    for kept in [
        "required int96 kept;",
        "optional group kept { required int96 at; }",
    ] {
        let here = memory();
        let nested = kept.contains("group");
        let file = foreign(kept, |writer| {
            let levels = nested.then_some(&[1_i16, 1, 1][..]);
            writer
                .typed::<Int96Type>()
                .write_batch(&dates, levels, None)
                .unwrap();
        });
        put_now(&here, "drop/a.parquet", file);
        let mut out = kept_by_id(&written(&here, None));
        if nested {
            out = out.as_struct().column(0).clone();
        }
        let out = out.as_primitive::<TimestampMicrosecondType>();
        let expected = [253_402_300_799_123_456, 0, -62_135_596_799_999_999];
        assert_eq!(out.values(), &expected);
    }
}

#[test]
fn an_interval_is_refused_since_its_months_would_be_lost() {
    let here = memory();
    let file = foreign(
        "required fixed_len_byte_array(12) kept (INTERVAL);",
        |writer| {
            let value =
                parquet::data_type::FixedLenByteArray::from(ByteArray::from(vec![1_u8; 12]));
            writer
                .typed::<FixedLenByteArrayType>()
                .write_batch(&[value.clone(), value.clone(), value], None, None)
                .unwrap();
        },
    );
    put_now(&here, "drop/a.parquet", file);
    let refused = refusal(&here).unwrap();
    assert!(
        refused.contains("column `kept` is an INTERVAL of Parquet"),
        "{refused}"
    );
}

#[test]
fn keys_of_a_dictionary_widen() {
    // Three pandas categoricals of 100 values each: 300 do not fit into keys of 8 bits.
    let here = memory();
    let mut expected = BTreeMap::new();
    for n in 0..3_i64 {
        let ids = n * 100..(n + 1) * 100;
        let words: Vec<String> = ids.clone().map(|id| format!("word-{id}")).collect();
        expected.extend(ids.clone().map(Some).zip(words.clone()));
        let keys = Int8Array::from_iter_values(0..100);
        let kept: ArrayRef = Arc::new(DictionaryArray::new(
            keys,
            Arc::new(StringArray::from(words)),
        ));
        put_now(
            &here,
            &format!("drop/{n}.parquet"),
            parquet(&with_columns(&galaxies(ids), [("kept", kept)]), PLAIN),
        );
    }
    let photoz = rows_of(&written(&here, None), "photoz/").unwrap();
    assert_eq!(
        *photoz["kept"].data_type(),
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    );
    let words = cast(&photoz["kept"], &DataType::Utf8).unwrap();
    let words = words
        .as_string::<i32>()
        .iter()
        .map(|word| word.unwrap().to_owned());
    assert_eq!(
        int64s(&photoz, "object_id")
            .into_iter()
            .zip(words)
            .collect::<BTreeMap<_, _>>(),
        expected
    );
}

#[test]
fn what_a_field_says_of_itself_is_kept() {
    let here = memory();
    let facts = [
        ("unit", "mJy"),
        ("description", "flux"),
        ("ARROW:extension:name", "survey.flux"),
        ("PARQUET:field_id", "7"),
    ];
    let rows = galaxies(0..3);
    let mut fields: Vec<FieldRef> = rows.schema().fields().iter().cloned().collect();
    let facts = facts.map(|(key, fact)| (key.to_owned(), fact.to_owned()));
    let field = Field::new("kept", DataType::Int64, false)
        .with_metadata(facts.into_iter().collect::<arrow::datatypes::Metadata>());
    fields.push(Arc::new(field));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(vec![1, 2, 3])));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    put_now(&here, "drop/a.parquet", bytes);
    let photoz = rows_of(&written(&here, None), "photoz/").unwrap();
    let schema = photoz.schema();
    let told = schema.field_with_name("kept").unwrap().metadata();
    let told: BTreeMap<&str, &str> = told
        .iter()
        .map(|(key, fact)| (key.as_ref(), fact.as_ref()))
        .collect();
    let expected = [
        ("ARROW:extension:name", "survey.flux"),
        ("description", "flux"),
        ("unit", "mJy"),
    ];
    assert_eq!(told, expected.into());
}

#[test]
fn a_kept_column_has_a_type_where_its_drop_withdraws_alone() {
    let here = memory();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
    let deleted: ArrayRef = Arc::new(BooleanArray::from(vec![true, true]));
    let withdrawals =
        RecordBatch::try_from_iter([("object_id", ids), ("deleted", deleted)]).unwrap();
    put_now(&here, "drop/a.parquet", parquet(&withdrawals, PLAIN));
    // Text is required, because readers take the types of all files from the first file.
    assert_eq!(
        *kept_by_id(&written(&here, None)).data_type(),
        DataType::Utf8
    );
    let kept: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    put_now(
        &here,
        "later/a.parquet",
        parquet(&with_columns(&galaxies(1..3), [("kept", kept)]), PLAIN),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let catalog = keeping(&here, &["kept"]);
    let mut planned = runtime.block_on(plan(&catalog, "drop", 1 << 20)).unwrap();
    assert_eq!(planned.untyped(), ["kept"]);
    let types = runtime
        .block_on(catalog.kept_types("drop", planned.untyped()))
        .unwrap();
    planned.know(&types);
    assert_eq!(planned.keep["kept"], "Int64");
    assert!(
        planned
            .splits
            .clone()
            .all(|split| split.keep["kept"] == "Int64")
    );
}

#[test]
fn files_of_a_drop_must_keep_one_type() {
    let here = memory();
    for (n, unit) in [(0, TimeUnit::Microsecond), (1, TimeUnit::Nanosecond)] {
        let kept = values(&DataType::Timestamp(unit, None), 2, &mut Numbers(n));
        let rows = galaxies(2 * n as i64..2 * n as i64 + 2);
        put_now(
            &here,
            &format!("drop/{n}.parquet"),
            parquet(&with_columns(&rows, [("kept", kept)]), PLAIN),
        );
    }
    let refused = refusal(&here).unwrap();
    assert!(refused.contains("column `kept` of --keep is Timestamp(ns) in memory://survey/drop/1.parquet, and Timestamp(µs)"), "{refused}");
}

#[test]
fn withdrawals_with_spec_z_go_with_galaxies() {
    // Regression: a file of withdrawals was read as spec-z, and its drop was refused.
    let here = memory();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
    let deleted: ArrayRef = Arc::new(BooleanArray::from(vec![true, true]));
    let z_spec: ArrayRef = Arc::new(arrow::array::Float32Array::from(vec![0.1, 0.2]));
    let withdrawals =
        RecordBatch::try_from_iter([("object_id", ids), ("deleted", deleted), ("z_spec", z_spec)])
            .unwrap();
    let kept: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    put_now(&here, "drop/a.parquet", parquet(&withdrawals, PLAIN));
    put_now(
        &here,
        "drop/b.parquet",
        parquet(&with_columns(&galaxies(1..3), [("kept", kept)]), PLAIN),
    );
    let photoz = rows_of(&written(&here, None), "photoz/").unwrap();
    let by_id: BTreeMap<_, _> = int64s(&photoz, "object_id")
        .into_iter()
        .zip(int64s(&photoz, "kept"))
        .collect();
    assert_eq!(
        by_id,
        [
            (Some(1), Some(1)),
            (Some(2), Some(2)),
            (Some(3), None),
            (Some(4), None)
        ]
        .into()
    );
    let spectra = withdrawals.project(&[0, 2]).unwrap();
    put_now(&here, "drop/c.parquet", parquet(&spectra, PLAIN));
    assert!(refusal(&here).unwrap().contains("are not of one kind"));
}
