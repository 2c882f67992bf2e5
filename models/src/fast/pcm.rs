//! The parallel convolution module: two grouped convolutions on the grid of patches, with a SiLU between them.
//!
//! Groups do not mix, so lanes are groups: all arithmetic is between whole vectors. For that the channels of the encoder
//! are laid out with the groups last ([`channels`]): channel `i` of group `g` is at `i * groups + g`. Of a convolution
//! on 4x4 patches libtorch makes thousands of small products; here it is one pass over the tokens, in place.

use std::sync::Arc;

use tch::Tensor;

use super::lanes::{Arithmetic, Element, exp, for_each_cpu, load, store};
use super::weight::Affine;
use crate::Error;

/// Patches of a row that are worked on together, so that a weight is loaded once for all.
const PATCHES: usize = 4;
/// Groups that are worked on together.
const L: usize = 16;

/// The order of the encoder's channels: `width / groups` channels of each group, groups last.
pub(super) fn channels(width: usize, groups: usize) -> Vec<i64> {
    let inputs = width / groups;
    (0..width)
        .map(|place| (place % groups * inputs + place / groups) as i64)
        .collect()
}

/// The module of one block; a clone shares its weights.
#[derive(Debug, Clone)]
pub(super) struct Pcm {
    shape: Shape,
    wide: Arc<Vec<Lanes<L>>>,
    /// The groups that fill no lanes.
    narrow: Arc<Vec<Lanes<1>>>,
}

/// The sizes of a module.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Side of the grid of patches.
    grid: usize,
    /// Side of the kernels, odd.
    kernel: usize,
    groups: usize,
    /// Channels of a group, and its hidden channels.
    inputs: usize,
    hidden: usize,
}

/// The weights of `N` groups.
#[derive(Debug)]
struct Lanes<const N: usize> {
    /// The first group.
    group: usize,
    widen: Convolution<N>,
    narrow: Convolution<N>,
}

/// One convolution of `N` groups.
#[derive(Debug)]
struct Convolution<const N: usize> {
    /// `[out, y, x, in]`.
    weight: Vec<[f32; N]>,
    /// `[out]`.
    bias: Vec<[f32; N]>,
}

impl Pcm {
    /// From the two convolutions, `[4 width, width / groups, y, x]` and `[width, 4 width / groups, y, x]`, the batch
    /// normalisation folded into the first.
    pub(super) fn new(
        widen: &Affine,
        narrow: &Affine,
        groups: usize,
        grid: usize,
    ) -> Result<Self, Error> {
        let (hidden, inputs, kernel, _) = widen.weight.size4()?;
        let shape = Shape {
            grid,
            kernel: kernel as usize,
            groups,
            inputs: inputs as usize,
            hidden: hidden as usize / groups,
        };
        let last = groups - groups % L;
        let wide = (0..last).step_by(L);
        let wide = wide.map(|group| Lanes::new(widen, narrow, groups, group));
        let rest = (last..groups).map(|group| Lanes::new(widen, narrow, groups, group));
        Ok(Self {
            shape,
            wide: Arc::new(wide.collect::<Result<_, _>>()?),
            narrow: Arc::new(rest.collect::<Result<_, _>>()?),
        })
    }

    /// Adds the module's outputs to its inputs, `[patch, batch, width]`.
    pub(super) fn add_to<T: Element>(&self, x: &mut [T]) {
        add(self, x);
    }
}

impl<const N: usize> Lanes<N> {
    fn new(widen: &Affine, narrow: &Affine, groups: usize, group: usize) -> Result<Self, Error> {
        Ok(Self {
            group,
            widen: Convolution::new(widen, groups, group)?,
            narrow: Convolution::new(narrow, groups, group)?,
        })
    }
}

impl<const N: usize> Convolution<N> {
    fn new(conv: &Affine, groups: usize, group: usize) -> Result<Self, Error> {
        let (out, inputs, kernel, _) = conv.weight.size4()?;
        let each = out / groups as i64;
        // [group, out, in, y, x] -> [out, y, x, in, group]
        let weight = conv
            .weight
            .f_view([groups as i64, each, inputs, kernel, kernel])?
            .f_narrow(0, group as i64, N as i64)?
            .f_permute([1, 3, 4, 2, 0])?;
        let bias = conv.bias.f_view([groups as i64, each])?;
        let bias = bias
            .f_narrow(0, group as i64, N as i64)?
            .f_transpose(0, 1)?;
        Ok(Self {
            weight: in_lanes(&weight)?,
            bias: in_lanes(&bias)?,
        })
    }
}

fn in_lanes<const N: usize>(tensor: &Tensor) -> Result<Vec<[f32; N]>, Error> {
    let values = tensor.f_to_kind(tch::Kind::Float)?.f_contiguous()?;
    let values = Vec::<f32>::try_from(values.f_flatten(0, -1)?)?;
    Ok(values.as_chunks::<N>().0.to_vec())
}

for_each_cpu! {
    fn add(pcm: &Pcm, x: &mut [T]) = all_groups
}

#[inline(always)]
fn all_groups<T: Element, A: Arithmetic>(pcm: &Pcm, x: &mut [T]) {
    for lanes in pcm.wide.iter() {
        all_galaxies::<L, T, A>(pcm.shape, lanes, x);
    }
    for lanes in pcm.narrow.iter() {
        all_galaxies::<1, T, A>(pcm.shape, lanes, x);
    }
}

#[inline(always)]
fn all_galaxies<const N: usize, T: Element, A: Arithmetic>(
    shape: Shape,
    lanes: &Lanes<N>,
    x: &mut [T],
) {
    let Shape {
        grid,
        kernel,
        groups,
        inputs,
        hidden,
    } = shape;
    let (margin, columns) = (kernel / 2, grid + kernel - 1);
    let width = groups * inputs;
    let batch = x.len() / (grid * grid * width);
    // Columns beside the grid stay zero; rows above and below are left out.
    let mut patches = vec![[0.0; N]; grid * columns * inputs];
    let mut middle = vec![[0.0; N]; grid * columns * hidden];
    let mut added = vec![[0.0; N]; grid * columns * inputs];
    for galaxy in 0..batch {
        for patch in 0..grid * grid {
            let place = (patch / grid * columns + patch % grid + margin) * inputs;
            let row = &x[(patch * batch + galaxy) * width + lanes.group..];
            for (at, lanes) in patches[place..][..inputs].iter_mut().enumerate() {
                *lanes = load(&row[at * groups..]);
            }
        }
        convolve::<N, A>(&lanes.widen, &patches, &mut middle, grid, kernel, inputs);
        for patch in 0..grid * grid {
            let place = (patch / grid * columns + patch % grid + margin) * hidden;
            for h in &mut middle[place..][..hidden] {
                let e = exp::<N, A>(h.map(|h| -h));
                for lane in 0..N {
                    h[lane] /= 1.0 + e[lane];
                }
            }
        }
        convolve::<N, A>(&lanes.narrow, &middle, &mut added, grid, kernel, hidden);
        for patch in 0..grid * grid {
            let place = (patch / grid * columns + patch % grid + margin) * inputs;
            let row = &mut x[(patch * batch + galaxy) * width + lanes.group..];
            for at in 0..inputs {
                let mut lanes = patches[place + at];
                for lane in 0..N {
                    lanes[lane] += added[place + at][lane];
                }
                store(lanes, &mut row[at * groups..]);
            }
        }
    }
}

/// `[y, margin + x + margin, in]` to `[y, margin + x + margin, out]`.
#[inline(always)]
fn convolve<const N: usize, A: Arithmetic>(
    conv: &Convolution<N>,
    x: &[[f32; N]],
    y: &mut [[f32; N]],
    grid: usize,
    kernel: usize,
    inputs: usize,
) {
    let whole = grid - grid % PATCHES;
    for row in 0..grid {
        for column in (0..whole).step_by(PATCHES) {
            places::<PATCHES, N, A>(conv, x, y, [row, column], [grid, kernel], inputs);
        }
        for column in whole..grid {
            places::<1, N, A>(conv, x, y, [row, column], [grid, kernel], inputs);
        }
    }
}

/// The outputs at `P` places of a row from `[row, column]` on.
#[inline(always)]
fn places<const P: usize, const N: usize, A: Arithmetic>(
    conv: &Convolution<N>,
    x: &[[f32; N]],
    y: &mut [[f32; N]],
    [row, column]: [usize; 2],
    [grid, kernel]: [usize; 2],
    inputs: usize,
) {
    let (margin, columns) = (kernel / 2, grid + kernel - 1);
    let outputs = conv.bias.len();
    let above = row.saturating_sub(margin)..(row + margin + 1).min(grid);
    for (out, weight) in conv
        .weight
        .chunks_exact(kernel * kernel * inputs)
        .enumerate()
    {
        let mut sums = [conv.bias[out]; P];
        for from in above.clone() {
            let weight = &weight[(from + margin - row) * kernel * inputs..][..kernel * inputs];
            let x = &x[(from * columns + column) * inputs..][..(kernel + P - 1) * inputs];
            for (at, weight) in weight.iter().enumerate() {
                for place in 0..P {
                    let x = &x[place * inputs + at];
                    for lane in 0..N {
                        sums[place][lane] = A::fma(weight[lane], x[lane], sums[place][lane]);
                    }
                }
            }
        }
        let first = (row * columns + margin + column) * outputs + out;
        for (place, sums) in sums.into_iter().enumerate() {
            y[first + place * outputs] = sums;
        }
    }
}
