//! Compiles the C++ of `src/fast` and `src/cuda`, and links libtorch.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo passes settings to a build script as variables"
)]

use std::path::{Path, PathBuf};

/// The instruction sets that the loops are compiled for, and the compiler flags that each adds to those of the one before.
const X86: [(&str, &[&str]); 4] = [
    ("avx2", &["-mavx2", "-mfma"]),
    (
        "avx512",
        &["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
    ),
    ("avx512_bf16", &["-mavx512bf16"]),
    ("amx", &["-mamx-tile", "-mamx-bf16"]),
];

fn main() {
    if std::env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        // `src/cuda/shim.rs` includes the library, also in the documentation.
        return empty_cuda_shim();
    }
    link::libtorch();
    operators();
    cuda_shim();
    loops("any", &[]);
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        let mut flags = Vec::new();
        for (set, more) in X86 {
            flags.extend(more);
            loops(set, &flags);
        }
    }
}

/// Compiles the functions of libtorch that tch cannot call.
fn operators() {
    println!("cargo::rerun-if-changed=src/cpp.h");
    println!("cargo::rerun-if-changed=src/fast/libtorch/linear.cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/fast/libtorch/linear.cpp")
        .flag("-isystem")
        .flag(include())
        .compile("hubbleflow_operators");
}

/// The folder of libtorch's headers.
fn include() -> PathBuf {
    let Ok(libtorch) = std::env::var("LIBTORCH") else {
        panic!(
            "LIBTORCH is not set: `make .libtorch` fetches libtorch, and .cargo/config.toml names it"
        );
    };
    Path::new(&libtorch).join("include")
}

/// Compiles the functions that need CUDA into a library that the program contains, and opens on machines with CUDA. It is
/// not linked with other libraries, because it finds all symbols in those that were opened before it. Without CUDA's headers
/// the library is empty.
fn cuda_shim() {
    println!("cargo::rerun-if-changed=src/cuda/shim.cpp");
    if !include().join("cuda_runtime_api.h").exists() {
        return empty_cuda_shim();
    }
    let mut build = cc::Build::new();
    let build = build.cpp(true).std("c++17").debug(false);
    let mut command = build.get_compiler().to_command();
    command.args(["-shared", "-s", "-o"]).arg(cuda_library());
    command
        .arg("-isystem")
        .arg(include())
        .arg("src/cuda/shim.cpp");
    match command.status() {
        Ok(status) => assert!(status.success(), "{command:?} failed"),
        Err(error) => panic!("{command:?} did not start: {error}"),
    }
}

/// Writes an empty library, for builds without CUDA.
fn empty_cuda_shim() {
    std::fs::write(cuda_library(), []).expect("invariant: OUT_DIR can be written to");
}

/// The path of the library that `src/cuda/shim.rs` includes.
fn cuda_library() -> PathBuf {
    let out = std::env::var("OUT_DIR").expect("invariant: cargo sets OUT_DIR");
    PathBuf::from(out).join("cuda_shim.so")
}

/// Compiles the loops for one instruction set.
fn loops(set: &str, flags: &[&str]) {
    println!("cargo::rerun-if-changed=src/fast/loops");
    let table = format!("hubbleflow_loops_{set}");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        // A product and a sum become one instruction, which rounds once.
        .flag("-ffp-contract=fast")
        .flag("-fno-math-errno")
        .file("src/fast/loops/loops.cpp")
        .define("HUBBLEFLOW_LOOPS", table.as_str());
    flags.iter().for_each(|flag| {
        build.flag(flag);
    });
    build.compile(&table);
}
