//! The command `hubbleflow`.
use engine::{cli, signals::end_at_once};

fn main() -> ! {
    end_at_once(cli::main().into())
}
