//! Makes columns of any Arrow type, with values that a seed decides.
use std::sync::Arc;

use arrow::{
    array::{
        ArrayData, ArrayRef, AsArray, BooleanArray, DictionaryArray, FixedSizeListArray,
        GenericListArray, Int64Array, MapArray, OffsetSizeTrait, StringArray, StructArray,
        UInt32Array, make_array,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Int32Type, IntervalUnit, TimeUnit},
};
use proptest::prelude::*;

/// A sequence of numbers that a seed decides.
pub(crate) struct Numbers(pub(crate) u64);

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

/// The types with values of this many bytes, in which all bit patterns are valid.
pub(crate) fn fixed_width() -> Vec<DataType> {
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

pub(crate) fn leaf() -> impl Strategy<Value = DataType> {
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

pub(crate) fn data_type() -> impl Strategy<Value = DataType> {
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

/// Makes values of a type.
pub(crate) fn values(data_type: &DataType, rows: usize, numbers: &mut Numbers) -> ArrayRef {
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
        | DataType::BinaryView => cast(&texts(rows, numbers), data_type).unwrap(),
        DataType::Date64 => {
            let days = (0..rows).map(|_| (numbers.next() as i16) as i64 * 86_400_000);
            let days = days.flat_map(i64::to_le_bytes).collect();
            fixed(data_type, 8, days, numbers)
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => decimals(data_type, *scale, rows, numbers),
        DataType::Dictionary(keys, of) => dictionary(keys, of, rows, numbers),
        DataType::List(item) => list::<i32>(item, rows, numbers),
        DataType::LargeList(item) => list::<i64>(item, rows, numbers),
        DataType::FixedSizeList(item, length) => {
            let inner = values(item.data_type(), rows * *length as usize, numbers);
            let nulls = numbers.nulls(rows);
            Arc::new(FixedSizeListArray::new(item.clone(), *length, inner, nulls))
        }
        DataType::Struct(fields) => {
            let inner = fields
                .iter()
                .map(|field| values(field.data_type(), rows, numbers))
                .collect();
            Arc::new(StructArray::new(fields.clone(), inner, numbers.nulls(rows)))
        }
        DataType::Map(entries, _) => map(entries, rows, numbers),
        fixed_type => {
            let width = match fixed_type {
                DataType::FixedSizeBinary(width) => *width as usize,
                other => other.primitive_width().unwrap(),
            };
            let bytes = numbers.bytes(rows * width);
            fixed(data_type, width, bytes, numbers)
        }
    }
}

/// Makes values of `width` bytes each.
fn fixed(data_type: &DataType, width: usize, bytes: Vec<u8>, numbers: &mut Numbers) -> ArrayRef {
    let rows = bytes.len() / width;
    let nulls = numbers.nulls(rows);
    let data = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
    assert_eq!(bytes.len(), rows * width);
    // Bytes need no alignment, but numbers do.
    let data = data.add_buffer(Buffer::from(bytes)).align_buffers(true);
    make_array(data.build().unwrap())
}

fn lengths(rows: usize, numbers: &mut Numbers) -> Vec<usize> {
    (0..rows).map(|_| numbers.below(4)).collect()
}

fn texts(rows: usize, numbers: &mut Numbers) -> ArrayRef {
    let nulls = numbers.nulls(rows);
    let text = |row| {
        let text = "galaxie-é ".repeat(numbers.below(4)) + &numbers.below(300).to_string();
        nulls
            .as_ref()
            .is_none_or(|nulls| nulls.is_valid(row))
            .then_some(text)
    };
    Arc::new((0..rows).map(text).collect::<StringArray>())
}

fn decimals(data_type: &DataType, scale: i8, rows: usize, numbers: &mut Numbers) -> ArrayRef {
    let numbers = (0..rows)
        .map(|_| (numbers.below(5) > 0).then(|| i64::from(numbers.next() as i32 % 1_000_000)));
    let numbers: Int64Array = numbers.collect();
    let scaled = cast(&numbers, &DataType::Decimal128(19, 0)).unwrap();
    let small = scaled
        .as_primitive::<arrow::datatypes::Decimal128Type>()
        .clone()
        .with_precision_and_scale(19, scale)
        .unwrap();
    cast(&small, data_type).unwrap()
}

fn dictionary(keys: &DataType, of: &DataType, rows: usize, numbers: &mut Numbers) -> ArrayRef {
    let count = 1 + numbers.below(100);
    let dictionary = match of {
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
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(picked, dictionary));
    cast(
        &dictionary,
        &DataType::Dictionary(Box::new(keys.clone()), Box::new(of.clone())),
    )
    .unwrap()
}

fn list<Offset: OffsetSizeTrait>(item: &FieldRef, rows: usize, numbers: &mut Numbers) -> ArrayRef {
    let lengths = lengths(rows, numbers);
    let inner = values(item.data_type(), lengths.iter().sum(), numbers);
    Arc::new(GenericListArray::<Offset>::new(
        item.clone(),
        OffsetBuffer::from_lengths(lengths),
        inner,
        numbers.nulls(rows),
    ))
}

fn map(entries: &FieldRef, rows: usize, numbers: &mut Numbers) -> ArrayRef {
    let lengths = lengths(rows, numbers);
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
