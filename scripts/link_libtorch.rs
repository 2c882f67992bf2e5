//! The build script of every package that links libtorch (rpath does not propagate from a library): tells the linker
//! where libtorch lies at run time, beside an installed binary or in this checkout.
#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told by variables"
)]
/// Tells the linker.
pub fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/hubbleflow");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    // What libtorch's MKL asks of the program: see models/src/device.rs.
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}"));
    let is = |part: &str, name: &str| target(part).is_ok_and(|found| found == name);
    if is("ARCH", "x86_64") && is("OS", "linux") {
        let symbol = "mkl_serv_intel_cpu_true";
        println!("cargo::rustc-link-arg=-Wl,--undefined={symbol}");
        println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol={symbol}");
    }
}
