//! How a watch is told to stop.
use tokio::sync::watch;

/// Becomes true when a watch should stop.
pub type Stop = watch::Receiver<bool>;

/// Tells a watch to stop. A watch whose stopper is gone stops too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// A stopper, and the end of it that a watch waits for.
    pub fn new() -> (Self, Stop) {
        let (stopper, stop) = watch::channel(false);
        (Self(stopper), stop)
    }

    /// Asks the watch to stop after the drops in flight are settled.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
