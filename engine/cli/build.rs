//! Links libtorch, and exports what its MKL asks of the program (see `src/mkl.rs`).
#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told by variables"
)]

fn main() {
    link::libtorch();
    // Set by cargo for every build script.
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("ARCH") == "x86_64" && target("OS") == "linux" {
        link::export("mkl_serv_intel_cpu_true");
    }
}
