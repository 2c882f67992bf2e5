//! Pooling of rows of channels: `[batch, y, x, channel]`.

use super::lanes::{Arithmetic, Element, for_each_cpu};

for_each_cpu! {
    /// The maximum over the nine pixels about each, as far as they are there; `side` by `side` pixels in and out.
    pub(super) fn maximum_3x3(x: &[T], y: &mut [T], side: usize, channels: usize) = maxima
}

for_each_cpu! {
    /// The mean of each two by two pixels of `side` by `side`.
    pub(super) fn mean_2x2(x: &[T], y: &mut [T], side: usize, channels: usize) = means
}

#[inline(always)]
fn maxima<T: Element, A: Arithmetic>(x: &[T], y: &mut [T], side: usize, channels: usize) {
    let row = side * channels;
    let cutouts = x
        .chunks_exact(side * row)
        .zip(y.chunks_exact_mut(side * row));
    for (x, y) in cutouts {
        for at_y in 0..side {
            for at_x in 0..side {
                let out = &mut y[at_y * row + at_x * channels..][..channels];
                out.copy_from_slice(&x[at_y * row + at_x * channels..][..channels]);
                for from_y in at_y.saturating_sub(1)..(at_y + 2).min(side) {
                    for from_x in at_x.saturating_sub(1)..(at_x + 2).min(side) {
                        let from = &x[from_y * row + from_x * channels..][..channels];
                        for (out, &from) in out.iter_mut().zip(from) {
                            *out = if from.widen() > out.widen() {
                                from
                            } else {
                                *out
                            };
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn means<T: Element, A: Arithmetic>(x: &[T], y: &mut [T], side: usize, channels: usize) {
    let (row, half) = (side * channels, side / 2);
    let cutouts = x
        .chunks_exact(side * row)
        .zip(y.chunks_exact_mut(half * half * channels));
    for (x, y) in cutouts {
        for (at, out) in y.chunks_exact_mut(channels).enumerate() {
            let first = at / half * 2 * row + at % half * 2 * channels;
            let pixel = |start: usize| &x[first + start..][..channels];
            let (a, b) = (pixel(0), pixel(channels));
            let (c, d) = (pixel(row), pixel(row + channels));
            for (n, out) in out.iter_mut().enumerate() {
                let sum = a[n].widen() + b[n].widen() + c[n].widen() + d[n].widen();
                *out = T::narrow(sum * 0.25);
            }
        }
    }
}
