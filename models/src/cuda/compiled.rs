//! The compiled kernels. `models/kernels/compile.py` writes this file.

use std::ffi::c_int;

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) name: &'static str,
    /// Its name in the image.
    pub(super) function: &'static str,
    pub(super) threads: c_int,
    pub(super) shared_bytes: c_int,
    /// The rows, pixels or blocks of pixels that a program computes.
    pub(super) block: i64,
    /// A cubin or a PTX, compressed by gzip.
    pub(super) image: &'static [u8],
}

/// The SHA-256 of the sources that they were compiled from.
#[cfg(test)]
pub(super) const SOURCES: &str = "8d3c2f3d1f66f85ff82e5ac65d604bc5fcf8a1e07455cd5f91312dd873b738e7";

/// Machine code for compute capability 9.0.
#[rustfmt::skip]
pub(super) static HOPPER: [Compiled; 21] = [
    Compiled { name: "embed", function: "embed", threads: 128, shared_bytes: 107008, block: 64, image: include_bytes!("../../kernels/compiled/hopper/embed.cubin.gz") },
    Compiled { name: "embed_scaled", function: "embed", threads: 128, shared_bytes: 115224, block: 64, image: include_bytes!("../../kernels/compiled/hopper/embed_scaled.cubin.gz") },
    Compiled { name: "attend_32", function: "attend", threads: 32, shared_bytes: 8192, block: 1, image: include_bytes!("../../kernels/compiled/hopper/attend_32.cubin.gz") },
    Compiled { name: "attend_64", function: "attend", threads: 128, shared_bytes: 24576, block: 1, image: include_bytes!("../../kernels/compiled/hopper/attend_64.cubin.gz") },
    Compiled { name: "attend_128", function: "attend", threads: 128, shared_bytes: 49152, block: 1, image: include_bytes!("../../kernels/compiled/hopper/attend_128.cubin.gz") },
    Compiled { name: "transform_last", function: "transform", threads: 256, shared_bytes: 188928, block: 128, image: include_bytes!("../../kernels/compiled/hopper/transform_last.cubin.gz") },
    Compiled { name: "transform", function: "transform", threads: 256, shared_bytes: 188928, block: 128, image: include_bytes!("../../kernels/compiled/hopper/transform.cubin.gz") },
    Compiled { name: "transform_pcm_last", function: "transform", threads: 256, shared_bytes: 188928, block: 128, image: include_bytes!("../../kernels/compiled/hopper/transform_pcm_last.cubin.gz") },
    Compiled { name: "transform_pcm", function: "transform", threads: 256, shared_bytes: 188928, block: 128, image: include_bytes!("../../kernels/compiled/hopper/transform_pcm.cubin.gz") },
    Compiled { name: "stem", function: "stem", threads: 128, shared_bytes: 2048, block: 128, image: include_bytes!("../../kernels/compiled/hopper/stem.cubin.gz") },
    Compiled { name: "stem_scaled", function: "stem", threads: 128, shared_bytes: 2048, block: 128, image: include_bytes!("../../kernels/compiled/hopper/stem_scaled.cubin.gz") },
    Compiled { name: "inception_first_0", function: "inception_first", threads: 128, shared_bytes: 28672, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_first_0.cubin.gz") },
    Compiled { name: "inception_second_0", function: "inception_second", threads: 128, shared_bytes: 32768, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_second_0.cubin.gz") },
    Compiled { name: "inception_first_1", function: "inception_first", threads: 128, shared_bytes: 57344, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_first_1.cubin.gz") },
    Compiled { name: "inception_second_1", function: "inception_second", threads: 128, shared_bytes: 32768, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_second_1.cubin.gz") },
    Compiled { name: "inception_first_2", function: "inception_first", threads: 128, shared_bytes: 49152, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_first_2.cubin.gz") },
    Compiled { name: "inception_second_2", function: "inception_second", threads: 128, shared_bytes: 12288, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_second_2.cubin.gz") },
    Compiled { name: "inception_first_3", function: "inception_first", threads: 128, shared_bytes: 24576, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_first_3.cubin.gz") },
    Compiled { name: "inception_second_3", function: "inception_second", threads: 128, shared_bytes: 12288, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_second_3.cubin.gz") },
    Compiled { name: "inception_first_4", function: "inception_first", threads: 128, shared_bytes: 22528, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_first_4.cubin.gz") },
    Compiled { name: "inception_second_4", function: "inception_second", threads: 128, shared_bytes: 4352, block: 64, image: include_bytes!("../../kernels/compiled/hopper/inception_second_4.cubin.gz") },
];

/// PTX for compute capability 8.0 and later.
#[rustfmt::skip]
pub(super) static ANY_GPU: [Compiled; 21] = [
    Compiled { name: "embed", function: "embed", threads: 128, shared_bytes: 41216, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/embed.ptx.gz") },
    Compiled { name: "embed_scaled", function: "embed", threads: 128, shared_bytes: 49428, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/embed_scaled.ptx.gz") },
    Compiled { name: "attend_32", function: "attend", threads: 32, shared_bytes: 8192, block: 1, image: include_bytes!("../../kernels/compiled/any_gpu/attend_32.ptx.gz") },
    Compiled { name: "attend_64", function: "attend", threads: 128, shared_bytes: 16384, block: 1, image: include_bytes!("../../kernels/compiled/any_gpu/attend_64.ptx.gz") },
    Compiled { name: "attend_128", function: "attend", threads: 128, shared_bytes: 32768, block: 1, image: include_bytes!("../../kernels/compiled/any_gpu/attend_128.ptx.gz") },
    Compiled { name: "transform_last", function: "transform", threads: 128, shared_bytes: 24704, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/transform_last.ptx.gz") },
    Compiled { name: "transform", function: "transform", threads: 128, shared_bytes: 33024, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/transform.ptx.gz") },
    Compiled { name: "transform_pcm_last", function: "transform", threads: 128, shared_bytes: 24704, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/transform_pcm_last.ptx.gz") },
    Compiled { name: "transform_pcm", function: "transform", threads: 128, shared_bytes: 33024, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/transform_pcm.ptx.gz") },
    Compiled { name: "stem", function: "stem", threads: 128, shared_bytes: 2048, block: 128, image: include_bytes!("../../kernels/compiled/any_gpu/stem.ptx.gz") },
    Compiled { name: "stem_scaled", function: "stem", threads: 128, shared_bytes: 2048, block: 128, image: include_bytes!("../../kernels/compiled/any_gpu/stem_scaled.ptx.gz") },
    Compiled { name: "inception_first_0", function: "inception_first", threads: 128, shared_bytes: 8192, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_first_0.ptx.gz") },
    Compiled { name: "inception_second_0", function: "inception_second", threads: 128, shared_bytes: 32768, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_second_0.ptx.gz") },
    Compiled { name: "inception_first_1", function: "inception_first", threads: 128, shared_bytes: 16384, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_first_1.ptx.gz") },
    Compiled { name: "inception_second_1", function: "inception_second", threads: 128, shared_bytes: 32768, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_second_1.ptx.gz") },
    Compiled { name: "inception_first_2", function: "inception_first", threads: 128, shared_bytes: 12288, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_first_2.ptx.gz") },
    Compiled { name: "inception_second_2", function: "inception_second", threads: 128, shared_bytes: 12288, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_second_2.ptx.gz") },
    Compiled { name: "inception_first_3", function: "inception_first", threads: 128, shared_bytes: 6144, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_first_3.ptx.gz") },
    Compiled { name: "inception_second_3", function: "inception_second", threads: 128, shared_bytes: 12288, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_second_3.ptx.gz") },
    Compiled { name: "inception_first_4", function: "inception_first", threads: 128, shared_bytes: 5120, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_first_4.ptx.gz") },
    Compiled { name: "inception_second_4", function: "inception_second", threads: 128, shared_bytes: 4352, block: 64, image: include_bytes!("../../kernels/compiled/any_gpu/inception_second_4.ptx.gz") },
];
