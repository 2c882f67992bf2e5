//! Linker options for build scripts, so that programs find libtorch at run time.
//!
//! A library does not pass its rpath to the programs that link it. So each package with a program or a test that links
//! libtorch calls [`libtorch`] in its build script.
#![expect(
    clippy::disallowed_methods,
    reason = "build scripts receive their input in environment variables"
)]

/// Sets the rpath to libtorch: `../lib/hubbleflow` of an installed program, then `$LIBTORCH/lib`.
///
/// ```
/// hubbleflow_link::libtorch();
/// ```
pub fn libtorch() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/hubbleflow");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
}

/// Exports a function of the program so that linked libraries can call the function by name. Without this option the linker
/// removes the function.
///
/// ```
/// hubbleflow_link::export("my_callback");
/// ```
pub fn export(symbol: &str) {
    println!("cargo::rustc-link-arg=-Wl,--undefined={symbol}");
    println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol={symbol}");
}
