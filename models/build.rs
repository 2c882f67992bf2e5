//! Compiles the C++ that asks libtorch for oneDNN's fused layers, and links libtorch.

#[path = "../scripts/link_libtorch.rs"]
mod link_libtorch;

#[expect(
    clippy::disallowed_methods,
    reason = "a build script is told by variables"
)]
fn main() {
    link_libtorch::main();
    println!("cargo::rerun-if-changed=src/fast/onednn.cpp");
    let libtorch = std::env::var("LIBTORCH").expect(
        "LIBTORCH is not set: `make .libtorch` fetches libtorch, and .cargo/config.toml says where it is",
    );
    let include = std::path::Path::new(&libtorch).join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/fast/onednn.cpp")
        .include(&include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .warnings(false)
        .compile("hubbleflow_onednn");
}
