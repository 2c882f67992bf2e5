//! Networks on any number of bands and magnitudes and on cutouts of any side.

use super::accuracy::assert_as_exact;
use super::bfloat16::assert_as_near_as_libtorch;
use super::preset;
use crate::config::{Config, EncoderKind, Shape};
use crate::preprocess::{CutoutPreprocess, MagPreprocess};

/// A small network on cutouts of `bands` bands and `px` pixels and on `mags` magnitudes, with scaled inputs.
fn network(bands: usize, mags: usize, px: usize, patch_px: usize) -> Config {
    let named = |count: usize| Some((0..count).map(|n| format!("band-{n}")).collect());
    let mut config = preset("astromae", 1).shaped(&Shape {
        bands: named(bands),
        mags: named(mags),
        cutout_px: Some(px),
    });
    let encoder = &mut config.encoder;
    encoder.patch_px = patch_px;
    if bands.is_multiple_of(2) {
        encoder.kind = EncoderKind::Plain;
    } else {
        encoder.pcm_kernel = 3;
    }
    let by_band = |count: usize, first: f64, step: f64| {
        (0..count)
            .map(|n| first + step * n as f64)
            .collect::<Vec<_>>()
    };
    config.preprocess.cutout = CutoutPreprocess::Asinh {
        dereddening: Vec::new(),
        softening: by_band(bands, 0.5, 0.25),
        scale: by_band(bands, 1.0, 0.125),
    };
    let row = |n: usize| {
        let mut row = vec![0.0; mags];
        row[n] = 1.0;
        row[0] -= 0.5;
        row
    };
    config.preprocess.mag = MagPreprocess::Whiten {
        mean: by_band(mags, 19.0, -0.5),
        matrix: (0..mags).map(row).collect(),
    };
    config.validate().unwrap();
    config
}

/// Sides whose halves are odd, one patch, hundreds of patches, and numbers of bands that fill no vector or more than one.
const SHAPES: [[usize; 4]; 11] = [
    [1, 1, 8, 8],
    [1, 12, 8, 4],
    [2, 1, 40, 8],
    [3, 5, 56, 8],
    [4, 12, 64, 16],
    [9, 2, 96, 16],
    [18, 3, 48, 16],
    [7, 7, 144, 16],
    [3, 4, 64, 4],
    [6, 6, 36, 12],
    [5, 17, 45, 9],
];

#[test]
fn every_shape_is_as_exact_as_the_plain_network() {
    for [bands, mags, px, patch_px] in SHAPES {
        assert_as_exact(&network(bands, mags, px, patch_px), 5);
    }
}

#[test]
fn every_shape_in_bfloat16_is_near_float32() {
    for [bands, mags, px, patch_px] in SHAPES {
        assert_as_near_as_libtorch(&network(bands, mags, px, patch_px), 5);
    }
}
