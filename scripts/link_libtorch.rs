//! The build script of every package that links libtorch (rpath does not propagate from a library): tells the linker
//! where libtorch lies at run time, beside an installed binary or in this checkout.
#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told by variables"
)]
pub fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/hubbleflow");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
}
