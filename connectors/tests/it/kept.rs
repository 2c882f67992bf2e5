//! Kept columns leave as they came, whatever their type, or are refused by name before anything is read.
use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayData, DictionaryArray, FixedSizeListArray, GenericListArray, MapArray};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, RecordBatch, StringArray,
        StructArray, UInt32Array, make_array,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer},
    compute::{cast, sort_to_indices, take},
    datatypes::{
        DataType, Field, FieldRef, Fields, Int32Type, IntervalUnit, Schema, TimeUnit,
        TimestampMicrosecondType,
    },
};
use connectors::{
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

use crate::{
    common::*,
    part::{PLAIN, int64s, keeping, label, predicted, rows_of, with_columns},
};

/// Numbers that a seed decides.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 24) as u8).collect()
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        let nulls = NullBuffer::from_iter((0..rows).map(|_| self.below(5) > 0));
        (self.below(3) > 0).then_some(nulls)
    }
}

/// Types whose values are this many bytes, of which any is a value.
fn fixed_width() -> Vec<DataType> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let zone = || Some(Arc::from("+01:00"));
    vec![
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float16,
        DataType::Float32,
        DataType::Float64,
        DataType::Date32,
        DataType::Time32(Second),
        DataType::Time32(Millisecond),
        DataType::Time64(Microsecond),
        DataType::Time64(Nanosecond),
        DataType::Timestamp(Second, None),
        DataType::Timestamp(Millisecond, None),
        DataType::Timestamp(Microsecond, zone()),
        DataType::Timestamp(Nanosecond, zone()),
        DataType::Timestamp(Nanosecond, None),
        DataType::Timestamp(Second, zone()),
        DataType::Duration(Second),
        DataType::Duration(Nanosecond),
        DataType::Interval(IntervalUnit::YearMonth),
        DataType::Interval(IntervalUnit::DayTime),
        DataType::FixedSizeBinary(16),
        DataType::FixedSizeBinary(1),
    ]
}

fn leaf() -> impl Strategy<Value = DataType> {
    let text = vec![
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::Boolean,
        DataType::Date64,
        DataType::Null,
    ];
    let decimal = vec![
        DataType::Decimal32(7, 2),
        DataType::Decimal64(15, 3),
        DataType::Decimal128(9, 2),
        DataType::Decimal128(38, 10),
        DataType::Decimal256(60, 5),
    ];
    let keys = prop::sample::select(vec![
        DataType::Int8,
        DataType::UInt16,
        DataType::Int32,
        DataType::Int64,
    ]);
    let values = prop::sample::select(vec![
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Binary,
        DataType::Int64,
        DataType::Float32,
    ]);
    prop_oneof![
        6 => prop::sample::select(fixed_width()),
        4 => prop::sample::select(text),
        2 => prop::sample::select(decimal),
        2 => (keys, values).prop_map(|(keys, values)| DataType::Dictionary(Box::new(keys), Box::new(values))),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        let item = inner
            .clone()
            .prop_map(|inner| Arc::new(Field::new("element", inner, true)));
        prop_oneof![
            item.clone().prop_map(DataType::List),
            item.clone().prop_map(DataType::LargeList),
            (item, 1_i32..4).prop_map(|(item, length)| DataType::FixedSizeList(item, length)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|inner| {
                let field = |(n, inner)| Field::new(format!("f{n}"), inner, true);
                DataType::Struct(inner.into_iter().enumerate().map(field).collect())
            }),
            inner.prop_map(|value| {
                let pair = vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", value, true),
                ];
                let entries = Field::new("key_value", DataType::Struct(pair.into()), false);
                DataType::Map(Arc::new(entries), false)
            }),
        ]
    })
}

/// Values of a type.
fn values(data_type: &DataType, rows: usize, numbers: &mut Numbers) -> ArrayRef {
    let fixed = |numbers: &mut Numbers, width: usize, bytes: Vec<u8>| {
        let nulls = numbers.nulls(rows);
        let data = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
        assert_eq!(bytes.len(), rows * width);
        // Bytes may lie anywhere, numbers may not.
        let data = data.add_buffer(Buffer::from(bytes)).align_buffers(true);
        make_array(data.build().unwrap())
    };
    let lengths =
        |numbers: &mut Numbers| -> Vec<usize> { (0..rows).map(|_| numbers.below(4)).collect() };
    let texts = |numbers: &mut Numbers, rows: usize| -> ArrayRef {
        let nulls = numbers.nulls(rows);
        let text = |row| {
            let text = "galaxie-é ".repeat(numbers.below(4)) + &numbers.below(300).to_string();
            nulls
                .as_ref()
                .is_none_or(|nulls| nulls.is_valid(row))
                .then_some(text)
        };
        Arc::new((0..rows).map(text).collect::<StringArray>())
    };
    match data_type {
        DataType::Null => arrow::array::new_null_array(data_type, rows),
        DataType::Boolean => {
            let set = (0..rows).map(|_| numbers.below(2) == 0).collect();
            Arc::new(BooleanArray::new(set, numbers.nulls(rows)))
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => cast(&texts(numbers, rows), data_type).unwrap(),
        DataType::Date64 => {
            let days = (0..rows).map(|_| (numbers.next() as i16) as i64 * 86_400_000);
            let days = days.flat_map(i64::to_le_bytes).collect();
            fixed(numbers, 8, days)
        }
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let numbers = (0..rows).map(|_| {
                (numbers.below(5) > 0).then(|| i64::from(numbers.next() as i32 % 1_000_000))
            });
            let numbers: Int64Array = numbers.collect();
            let scaled = cast(&numbers, &DataType::Decimal128(19, 0)).unwrap();
            let (DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale)) = data_type
            else {
                unreachable!()
            };
            let small = scaled
                .as_primitive::<arrow::datatypes::Decimal128Type>()
                .clone()
                .with_precision_and_scale(19, *scale)
                .unwrap();
            cast(&small, data_type).unwrap()
        }
        DataType::Dictionary(keys, of) => {
            let count = 1 + numbers.below(100);
            let dictionary = match of.as_ref() {
                DataType::Int64 | DataType::Float32 => cast(
                    &UInt32Array::from_iter_values((0..count as u32).map(|n| n * 7)),
                    of,
                )
                .unwrap(),
                of => cast(
                    &StringArray::from_iter_values(
                        (0..count).map(|n| format!("{}-{n}", numbers.below(50))),
                    ),
                    of,
                )
                .unwrap(),
            };
            let nulls = numbers.nulls(rows);
            let key = |row| {
                nulls
                    .as_ref()
                    .is_none_or(|nulls| nulls.is_valid(row))
                    .then(|| numbers.below(count) as i32)
            };
            let picked: arrow::array::Int32Array = (0..rows).map(key).collect();
            let dictionary: ArrayRef =
                Arc::new(DictionaryArray::<Int32Type>::new(picked, dictionary));
            cast(&dictionary, &DataType::Dictionary(keys.clone(), of.clone())).unwrap()
        }
        DataType::List(item) => {
            let lengths = lengths(numbers);
            let inner = values(item.data_type(), lengths.iter().sum(), numbers);
            Arc::new(GenericListArray::<i32>::new(
                item.clone(),
                OffsetBuffer::from_lengths(lengths),
                inner,
                numbers.nulls(rows),
            ))
        }
        DataType::LargeList(item) => {
            let lengths = lengths(numbers);
            let inner = values(item.data_type(), lengths.iter().sum(), numbers);
            Arc::new(GenericListArray::<i64>::new(
                item.clone(),
                OffsetBuffer::from_lengths(lengths),
                inner,
                numbers.nulls(rows),
            ))
        }
        DataType::FixedSizeList(item, length) => {
            let inner = values(item.data_type(), rows * *length as usize, numbers);
            Arc::new(FixedSizeListArray::new(
                item.clone(),
                *length,
                inner,
                numbers.nulls(rows),
            ))
        }
        DataType::Struct(fields) => {
            let inner = fields
                .iter()
                .map(|field| values(field.data_type(), rows, numbers))
                .collect();
            Arc::new(StructArray::new(fields.clone(), inner, numbers.nulls(rows)))
        }
        DataType::Map(entries, _) => {
            let lengths = lengths(numbers);
            let count = lengths.iter().sum();
            let DataType::Struct(pair) = entries.data_type() else {
                unreachable!()
            };
            let keys: ArrayRef = Arc::new(StringArray::from_iter_values(
                (0..count).map(|n| format!("k{n}")),
            ));
            let inner = vec![keys, values(pair[1].data_type(), count, numbers)];
            let pairs = StructArray::new(pair.clone(), inner, None);
            Arc::new(MapArray::new(
                entries.clone(),
                OffsetBuffer::from_lengths(lengths),
                pairs,
                numbers.nulls(rows),
                false,
            ))
        }
        fixed_type => {
            let width = match fixed_type {
                DataType::FixedSizeBinary(width) => *width as usize,
                other => other.primitive_width().unwrap(),
            };
            let bytes = numbers.bytes(rows * width);
            fixed(numbers, width, bytes)
        }
    }
}

/// The type without dictionaries, by which values are compared.
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
        // A day is a day.
        DataType::Date64 => DataType::Date32,
        // Nothing but nulls: text, where no file says more.
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Fields>()),
        DataType::Map(entries, ordered) => DataType::Map(inner(entries), *ordered),
        other => other.clone(),
    }
}

/// The files of a drop in which the column `kept` is kept; the pieces go over the wire on their way.
fn written(here: &Location, split_bytes: Option<u64>) -> Vec<EncodedFile> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut pieces = runtime.block_on(predicted(here, &["kept"]));
    if split_bytes.is_some() {
        pieces.reverse();
    }
    let pieces = codec::decode(&codec::encode(&pieces).unwrap()).unwrap();
    finish(pieces, &label(0)).unwrap().0
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
        // What is refused is refused before anything is read, and by its name.
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
    // 9999-12-31T23:59:59.123456 in INT96 (nanoseconds of the day, Julian day) came out as 1816-03-29.
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
    // Of no type is no choice: readers take the types of all files from the first.
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
    // The file of withdrawals was taken for spec-z, and its drop refused.
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
