//! Layer normalisation without scale and shift, which are folded into what follows.

use super::lanes::{Arithmetic, Element, for_each_cpu, load, store, sum};

const L: usize = 16;
const EPSILON: f32 = 1e-6;

for_each_cpu! {
    /// Mean 0 and variance 1 for each row of `width`: `[rows, width] -> [rows, width]`.
    pub(super) fn normalise(x: &[T], y: &mut [T], width: usize) = rows
}

#[inline(always)]
fn rows<T: Element, A: Arithmetic>(x: &[T], y: &mut [T], width: usize) {
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        row::<T, A>(x, y);
    }
}

#[inline(always)]
fn row<T: Element, A: Arithmetic>(x: &[T], y: &mut [T]) {
    let (lanes, rest) = x.as_chunks::<L>();
    let mut total = [0.0; L];
    for lanes in lanes {
        let lanes = load::<L, T>(lanes);
        for lane in 0..L {
            total[lane] += lanes[lane];
        }
    }
    let total = rest.iter().fold(sum(total), |total, x| total + x.widen());
    let mean = total / x.len() as f32;
    let mut squares = [0.0; L];
    for lanes in lanes {
        let lanes = load::<L, T>(lanes);
        for lane in 0..L {
            let deviation = lanes[lane] - mean;
            squares[lane] = A::fma(deviation, deviation, squares[lane]);
        }
    }
    let squares = rest.iter().fold(sum(squares), |total, x| {
        total + (x.widen() - mean) * (x.widen() - mean)
    });
    let scale = 1.0 / (squares / x.len() as f32 + EPSILON).sqrt();
    let (y_lanes, y_rest) = y.as_chunks_mut::<L>();
    for (lanes, y) in lanes.iter().zip(y_lanes) {
        let mut lanes = load::<L, T>(lanes);
        for lane in &mut lanes {
            *lane = (*lane - mean) * scale;
        }
        store(lanes, y);
    }
    for (x, y) in rest.iter().zip(y_rest) {
        *y = T::narrow((x.widen() - mean) * scale);
    }
}
