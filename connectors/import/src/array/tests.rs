use super::*;
use crate::dtype::ElementKind;
use proptest::prelude::*;
use std::io::Write;

const F32: Dtype = Dtype {
    kind: ElementKind::Float,
    bytes: 4,
    big_endian: false,
};

/// A member whose float32 number `i` is `i`.
fn counted(len: u64) -> (tempfile::NamedTempFile, Member) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for i in 0..len {
        file.write_all(&(i as f32).to_le_bytes()).unwrap();
    }
    let member = Member::whole(file.path());
    (file, member)
}

/// The elements of rows, by the definition of strides.
fn places(array: &ArrayView, rows: Range<u64>) -> Vec<f32> {
    let mut places: Vec<u64> = rows.map(|row| row * array.strides[0]).collect();
    for (side, stride) in array.shape.iter().zip(&array.strides).skip(1) {
        let along = |at: u64| (0..*side).map(move |i| at + i * stride);
        places = places.into_iter().flat_map(along).collect();
    }
    let first = array.start + array.within;
    places.iter().map(|at| ((first + at) / 4) as f32).collect()
}

proptest! {
    #[test]
    fn a_view_reads_the_elements_that_its_strides_define(
        sides in proptest::collection::vec(1u64..6, 1..5),
        order in any::<proptest::sample::Index>(),
        (gap, start, within) in (1u64..3, 0u64..4, 0u64..2),
        (from, to) in (0u64..6, 0u64..6),
    ) {
        // Permuted axes (transposed tensors, bands on the last axis, Fortran order) and gaps.
        let mut axes: Vec<usize> = (0..sides.len()).collect();
        axes.rotate_left(order.index(sides.len()));
        let (mut strides, mut step) = (vec![0; sides.len()], 4 * gap);
        for &axis in &axes {
            strides[axis] = step;
            step *= sides[axis];
        }
        let array = ArrayView {
            member: 0,
            dtype: F32,
            start: 4 * start,
            within: 4 * within.min(gap - 1),
            shape: sides.clone(),
            strides,
        };
        let (_file, mut member) = counted(step / 4 + start + gap);
        prop_assert_eq!(array.check(member.size()), Ok(()));
        let (from, to) = (from.min(sides[0]), to.min(sides[0]));
        let rows = from.min(to)..from.max(to);
        let read = F32.to_f32(&array.read(&mut member, rows.clone()).unwrap()).unwrap();
        prop_assert_eq!(read, places(&array, rows));
    }

    #[test]
    fn a_view_that_is_accepted_lies_within_its_member(
        shape in proptest::collection::vec(0u64..9, 1..4),
        strides in proptest::collection::vec(prop_oneof![0u64..64, any::<u64>()], 3),
        (start, within) in (prop_oneof![0u64..99, any::<u64>()], 0u64..9),
    ) {
        let strides = strides[..shape.len()].to_vec();
        let array = ArrayView { member: 0, dtype: F32, start, within, shape, strides };
        let (_file, mut member) = counted(50);
        if array.check(member.size()).is_ok() {
            let rows = array.rows();
            let read = array.read(&mut member, 0..rows).unwrap();
            prop_assert_eq!(read.len() as u64, 4 * array.shape.iter().product::<u64>());
        }
    }

    #[test]
    fn numbers_are_the_same_in_both_byte_orders(number in any::<i64>(), bytes in prop::sample::select(vec![1usize, 2, 4, 8])) {
        let number = number >> (64 - 8 * bytes);
        let mut stored = number.to_le_bytes()[..bytes].to_vec();
        let mut dtype = Dtype { kind: ElementKind::Int, bytes, big_endian: false };
        prop_assert_eq!(dtype.to_whole(&stored), Some(vec![i128::from(number)]));
        stored.reverse();
        dtype.big_endian = true;
        prop_assert_eq!(dtype.to_whole(&stored), Some(vec![i128::from(number)]));
        prop_assert_eq!(dtype.to_f64(&stored), Some(vec![number as f64]));
    }
}
