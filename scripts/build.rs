//! Links libtorch.
fn main() {
    link::libtorch();
}
