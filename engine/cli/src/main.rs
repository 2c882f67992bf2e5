//! The command `hubbleflow`.
fn main() -> ! {
    cli::end_at_once(cli::main().into())
}
