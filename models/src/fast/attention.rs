//! Attention of few tokens to each other: libtorch's is made for thousands, and spends its time on arranging them.
//!
//! | | shape |
//! |---|---|
//! | qkv | `[token, batch, 3 * heads * depth]`, the queries scaled already |
//! | mixed | `[token, batch, heads * depth]` |

use super::lanes::{Arithmetic, Element, exp, for_each_cpu, scaled, store};

/// Lanes of scores: 17 tokens take three.
const S: usize = 8;
/// Lanes of values.
const L: usize = 16;
/// Tokens that are worked on together, so that what is loaded is used as often.
const TOKENS: usize = 4;

/// The sizes of an attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) tokens: usize,
    pub(super) batch: usize,
    pub(super) heads: usize,
    /// Channels of a head.
    pub(super) depth: usize,
}

for_each_cpu! {
    /// `softmax(q k^T) v`, for each galaxy and head.
    pub(super) fn attend(qkv: &[T], mixed: &mut [T], shape: Shape) = galaxies
}

#[inline(always)]
fn galaxies<T: Element, A: Arithmetic>(qkv: &[T], mixed: &mut [T], shape: Shape) {
    let mut head = Head::new(shape);
    let width = shape.heads * shape.depth;
    for galaxy in 0..shape.batch {
        for start in (0..width).step_by(shape.depth) {
            head.take(qkv, galaxy, start);
            head.score::<A>();
            head.softmax::<A>();
            head.mix::<T, A>(mixed, galaxy, start);
        }
    }
}

/// One head of one galaxy, in lanes.
struct Head {
    shape: Shape,
    /// `[token, depth]`; tokens beyond the last are zero.
    queries: Vec<f32>,
    /// `[token / S, depth, S]`: lanes are tokens.
    keys: Vec<[f32; S]>,
    /// `[token, depth / L, L]`.
    values: Vec<[f32; L]>,
    /// `[token, token / S, S]`.
    scores: Vec<[f32; S]>,
}

impl Head {
    fn new(shape: Shape) -> Self {
        let Shape { tokens, depth, .. } = shape;
        let rows = tokens.next_multiple_of(TOKENS);
        Self {
            shape,
            queries: vec![0.0; rows * depth],
            keys: vec![[0.0; S]; tokens.div_ceil(S) * depth],
            values: vec![[0.0; L]; tokens * depth.div_ceil(L)],
            scores: vec![[0.0; S]; rows * tokens.div_ceil(S)],
        }
    }

    /// Takes in the queries, keys and values of a galaxy from channel `start` on.
    #[inline(always)]
    fn take<T: Element>(&mut self, qkv: &[T], galaxy: usize, start: usize) {
        let Shape {
            tokens,
            batch,
            heads,
            depth,
        } = self.shape;
        let width = heads * depth;
        for token in 0..tokens {
            let row = &qkv[(token * batch + galaxy) * 3 * width..][..3 * width];
            let queries = &mut self.queries[token * depth..][..depth];
            for (query, &x) in queries.iter_mut().zip(&row[start..][..depth]) {
                *query = x.widen();
            }
            let keys = &mut self.keys[token / S * depth..][..depth];
            for (key, &x) in keys.iter_mut().zip(&row[width + start..][..depth]) {
                key[token % S] = x.widen();
            }
            let lanes = depth.div_ceil(L);
            let values = self.values[token * lanes..][..lanes].as_flattened_mut();
            for (value, &x) in values.iter_mut().zip(&row[2 * width + start..][..depth]) {
                *value = x.widen();
            }
        }
    }

    /// Each query times each key.
    #[inline(always)]
    fn score<A: Arithmetic>(&mut self) {
        let depth = self.shape.depth;
        let lanes = self.shape.tokens.div_ceil(S);
        for (n, queries) in self.queries.chunks_exact(TOKENS * depth).enumerate() {
            for (m, keys) in self.keys.chunks_exact(depth).enumerate() {
                let mut sums = [[0.0; S]; TOKENS];
                for (at, key) in keys.iter().enumerate() {
                    for token in 0..TOKENS {
                        sums[token] = scaled::<S, A>(queries[token * depth + at], key, sums[token]);
                    }
                }
                for (token, sums) in sums.into_iter().enumerate() {
                    self.scores[(n * TOKENS + token) * lanes + m] = sums;
                }
            }
        }
    }

    /// Weights of each query that add up to one.
    #[inline(always)]
    fn softmax<A: Arithmetic>(&mut self) {
        let tokens = self.shape.tokens;
        let lanes = tokens.div_ceil(S);
        for scores in self.scores.chunks_exact_mut(lanes).take(tokens) {
            scores.as_flattened_mut()[tokens..].fill(f32::NEG_INFINITY);
            let mut highest = [f32::NEG_INFINITY; S];
            for score in scores.iter() {
                for lane in 0..S {
                    highest[lane] = highest[lane].max(score[lane]);
                }
            }
            let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
            let mut sums = [0.0; S];
            for score in scores.iter_mut() {
                *score = exp::<S, A>(score.map(|score| score - highest));
                for lane in 0..S {
                    sums[lane] += score[lane];
                }
            }
            let scale = 1.0 / super::lanes::sum(sums);
            for score in scores {
                *score = score.map(|score| score * scale);
            }
        }
    }

    /// The values in these weights.
    #[inline(always)]
    fn mix<T: Element, A: Arithmetic>(&self, mixed: &mut [T], galaxy: usize, start: usize) {
        let Shape {
            tokens,
            batch,
            heads,
            depth,
        } = self.shape;
        let (lanes, row) = (depth.div_ceil(L), tokens.next_multiple_of(S));
        let scores = self.scores.as_flattened();
        for first in (0..tokens).step_by(TOKENS) {
            let weights = &scores[first * row..][..TOKENS * row];
            for part in 0..lanes {
                let mut sums = [[0.0; L]; TOKENS];
                for (at, values) in self.values.chunks_exact(lanes).enumerate() {
                    for token in 0..TOKENS {
                        sums[token] =
                            scaled::<L, A>(weights[token * row + at], &values[part], sums[token]);
                    }
                }
                let n = L.min(depth - part * L);
                for (token, sums) in sums.into_iter().enumerate().take(tokens - first) {
                    let place = ((first + token) * batch + galaxy) * heads * depth;
                    let out = &mut mixed[place + start + part * L..][..n];
                    if n == L {
                        store(sums, out);
                    } else {
                        out.iter_mut()
                            .zip(sums)
                            .for_each(|(out, sum)| *out = T::narrow(sum));
                    }
                }
            }
        }
    }
}
