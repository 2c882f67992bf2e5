"""Compiles the kernels: `python compile.py [MODELS]` writes `kernels/compiled/` and `src/cuda/compiled.rs` in the folder MODELS.

The default is this repository's folder `models`: `make kernels`. `make test-kernels` compares the committed files with new ones.

There are two sets: machine code for Hopper GPUs (H100, H200), and PTX, which the driver of any GPU since Ampere compiles.
"""

import gzip
import hashlib
import os
import pathlib
import shutil
import sys

# Paths of this machine would be in the output.
os.environ["TRITON_DISABLE_LINE_INFO"] = "1"

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import encoder
import inception

HERE = pathlib.Path(__file__).parent
SOURCES = ["functions.py", "encoder.py", "inception.py", "compile.py"]

# By argument: pointers to bfloat16 (b) and float32 (f), and int32 (i; n if a multiple of 16).
ARGUMENTS = {
    encoder.embed: "cutouts:f dereddening:f slope:f factor:f weight:b positions:f qkv:b qkv_bias:f x:b y:b rows_all:n batch:n bands:i grid:i",
    encoder.attend: "qkv:b y:b batch:n tokens:i heads:i",
    encoder.transform: "x:b mixed:b proj:b proj_bias:f pcm_widen:b pcm_widen_bias:f pcm_narrow:b fc1:b fc1_bias:f fc2:b fc2_bias:f "
    "qkv:b qkv_bias:f y:b rows_all:n batch:n",
    inception.stem: "x:f dereddening:f slope:f factor:f w:f b:f y:b bands:i px:n",
    inception.inception_first: "x:b w:b b:f y:b t:b batch:n side:i",
    inception.inception_second: "t:b w3:b b3:f w5:b b5:f y:b batch:n side:i",
}
# The first lines of the table.
HEAD = """\
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
""".split("\n")
TYPES = {"b": "*bf16", "f": "*fp32", "i": "i32", "n": "i32"}


def kernels(target):
    """The kernels for a target: name, source, constants, warps, stages, and the rows, pixels or blocks of pixels of a program."""
    rows, columns, warps, stages = {"hopper": (128, 64, 8, 3), "any_gpu": (64, 32, 4, 2)}[target]
    for is_scaled in (False, True):
        name = "embed_scaled" if is_scaled else "embed"
        yield name, encoder.embed, {"IS_SCALED": is_scaled, "ROWS": 64, "STAGES": stages}, 4, stages, 64
    for tokens, of_tokens in ((32, 1), (64, 4), (128, 4)):
        yield f"attend_{tokens}", encoder.attend, {"TOKENS": tokens}, of_tokens, 1, 1
    for has_pcm in (False, True):
        for has_next in (False, True):
            name = "transform" + "_pcm" * has_pcm + "_last" * (not has_next)
            constants = {"HIDDEN": 768, "HAS_PCM": has_pcm, "HAS_NEXT": has_next, "ROWS": rows, "COLUMNS": columns, "STAGES": stages}
            yield name, encoder.transform, constants, warps, stages, rows
    for is_scaled in (False, True):
        name = "stem_scaled" if is_scaled else "stem"
        yield name, inception.stem, {"IS_SCALED": is_scaled, "OUT": 32, "BLOCK": 128}, 4, 1, 128
    for number, (channels, each, branches, pool) in enumerate(
        [(32, 16, 4, False), (64, 16, 4, True), (64, 8, 4, False), (32, 8, 4, True), (32, 4, 3, False)]
    ):
        shape = {"EACH": each, "BRANCHES": branches, "POOL": pool}
        first = {"CHANNELS": channels, **shape, "BLOCK": 64}
        yield f"inception_first_{number}", inception.inception_first, first, 4, 1, 64
        yield f"inception_second_{number}", inception.inception_second, {**shape, "BLOCK": 64}, 4, 1, 64


def compiled(function, constants, warps, stages, capability):
    types = dict(argument.split(":") for argument in ARGUMENTS[function].split())
    names = function.arg_names
    constants = {**constants, **({"ASM": True} if "ASM" in names else {})}
    assert [name for name in names if name not in constants] == list(types), names
    source = ASTSource(
        fn=function,
        signature={name: TYPES[types[name]] if name in types else "constexpr" for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name, kind in types.items() if kind != "i"},
    )
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps, "num_stages": stages})


def write_set(compiled_folder, target, capability, suffix):
    """Writes the files of a target, and returns the rows of its table."""
    folder, rows = compiled_folder / target, []
    folder.mkdir(parents=True)
    for name, function, constants, warps, stages, block in kernels(target):
        made = compiled(function, constants, warps, stages, capability)
        assert not (made.metadata.global_scratch_size or made.metadata.profile_scratch_size), name
        path = folder / f"{name}.{suffix}.gz"
        code = made.asm["cubin"] if suffix == "cubin" else made.asm["ptx"].encode()
        # No time in the header: the same source gives the same bytes.
        path.write_bytes(gzip.compress(code, mtime=0))
        numbers = f"threads: {32 * warps}, shared_bytes: {made.metadata.shared}, block: {block}"
        image = f'include_bytes!("../../kernels/compiled/{target}/{path.name}")'
        rows.append(f'    Compiled {{ name: "{name}", function: "{function.__name__}", {numbers}, image: {image} }},')
    return rows


def main(models=HERE.parent):
    folder, table = pathlib.Path(models) / "kernels/compiled", pathlib.Path(models) / "src/cuda/compiled.rs"
    shutil.rmtree(folder, ignore_errors=True)
    sets = [("HOPPER", *write_set(folder, "hopper", 90, "cubin")), ("ANY_GPU", *write_set(folder, "any_gpu", 80, "ptx"))]
    digest = hashlib.sha256(b"".join((HERE / source).read_bytes() for source in SOURCES)).hexdigest()
    lines = [*HEAD, "/// The SHA-256 of the sources that they were compiled from.", "#[cfg(test)]"]
    lines += [f'pub(super) const SOURCES: &str = "{digest}";']
    for name, *rows in sets:
        what = {"HOPPER": "Machine code for compute capability 9.0.", "ANY_GPU": "PTX for compute capability 8.0 and later."}[name]
        lines += ["", f"/// {what}", "#[rustfmt::skip]", f"pub(super) static {name}: [Compiled; {len(rows)}] = [", *rows, "];"]
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
