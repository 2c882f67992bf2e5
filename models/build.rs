//! Compiles the C++ of `src/fast` and `src/cuda`, and links libtorch.
#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told by variables"
)]

use std::path::{Path, PathBuf};

#[path = "../scripts/link_libtorch.rs"]
mod link_libtorch;

/// The kinds of processor that the loops are compiled for, and what each adds to the compiler's flags for the one before.
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
    link_libtorch::main();
    operators();
    cuda_shim();
    loops("any", &[]);
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        let mut flags = Vec::new();
        for (processor, more) in X86 {
            flags.extend(more);
            loops(processor, &flags);
        }
    }
}

/// libtorch's operators that tch cannot call.
fn operators() {
    println!("cargo::rerun-if-changed=src/cpp.h");
    println!("cargo::rerun-if-changed=src/fast/operators.cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/fast/operators.cpp")
        .flag("-isystem")
        .flag(include())
        .compile("hubbleflow_operators");
}

/// libtorch's headers.
fn include() -> PathBuf {
    let libtorch = std::env::var("LIBTORCH").expect(
        "LIBTORCH is not set: `make .libtorch` fetches libtorch, and .cargo/config.toml names it",
    );
    Path::new(&libtorch).join("include")
}

/// What needs CUDA, as a library that the program carries and opens where CUDA is: linked with nothing, since it finds
/// all in the libraries that were opened before it. Where CUDA's headers are not there, the library is empty.
fn cuda_shim() {
    println!("cargo::rerun-if-changed=src/cuda/shim.cpp");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo says where to write"));
    let library = out.join("cuda_shim.so");
    if !include().join("cuda_runtime_api.h").exists() {
        std::fs::write(library, []).expect("OUT_DIR can be written to");
        return;
    }
    let mut build = cc::Build::new();
    let build = build.cpp(true).std("c++17").debug(false);
    let mut command = build.get_compiler().to_command();
    command.args(["-shared", "-s", "-o"]).arg(library);
    command
        .arg("-isystem")
        .arg(include())
        .arg("src/cuda/shim.cpp");
    let status = command.status().expect("the C++ compiler starts");
    assert!(status.success(), "{command:?} failed");
}

/// The loops for one kind of processor.
fn loops(processor: &str, flags: &[&str]) {
    for part in [
        "loops.cpp",
        "vectors.h",
        "functions.h",
        "step.h",
        "linear.h",
        "tiles.h",
    ] {
        println!("cargo::rerun-if-changed=src/fast/{part}");
    }
    let table = format!("hubbleflow_loops_{processor}");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        // A product and the sum that it goes into are one instruction, rounded once.
        .flag("-ffp-contract=fast")
        .flag("-fno-math-errno")
        .file("src/fast/loops.cpp")
        .define("HUBBLEFLOW_LOOPS", table.as_str());
    flags.iter().for_each(|flag| {
        build.flag(flag);
    });
    build.compile(&table);
}
