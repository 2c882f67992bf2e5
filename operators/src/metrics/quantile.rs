//! Finds quartiles and distances in counted values, exactly.
/// The value at the place `(n - 1) quarter / 4` of `n` sorted values, interpolated between two of them as numpy does.
///
/// `counts` has each value with its count, in ascending order. The answer is in fourths of the unit of the values, so it
/// is exact.
pub(super) fn quartile(
    counts: impl Iterator<Item = (i64, i64)>,
    n: i64,
    quarter: i64,
) -> Option<i64> {
    let (place, fourths) = ((n - 1) * quarter / 4, (n - 1) * quarter % 4);
    let (mut seen, mut below) = (0, None);
    for (value, count) in counts {
        seen += count;
        if below.is_none() && seen > place {
            below = Some(value);
        }
        if let Some(below) = below.filter(|_| seen > place + 1 || fourths == 0) {
            return Some(below * (4 - fourths) + value * fourths);
        }
    }
    None
}

/// The distances of counted values from a value, nearest first; `from` and the distances are in fourths.
pub(super) fn distances(counts: &[(i64, i64)], from: i64) -> impl Iterator<Item = (i64, i64)> {
    let (below, above) = counts.split_at(counts.partition_point(|(value, _)| 4 * value < from));
    let below = below.iter().rev();
    let mut below = below
        .map(move |(value, n)| (from - 4 * value, *n))
        .peekable();
    let above = above.iter();
    let mut above = above
        .map(move |(value, n)| (4 * value - from, *n))
        .peekable();
    std::iter::from_fn(move || match (below.peek(), above.peek()) {
        (Some(low), Some(high)) if low.0 > high.0 => above.next(),
        (Some(_), _) => below.next(),
        (None, _) => above.next(),
    })
}
