//! How a run is told to end early, and a watch to end at all.
use tokio::sync::watch;

/// Becomes true when a run or a watch should end.
pub type Stop = watch::Receiver<bool>;

/// Tells a run or a watch to end. A watch whose stopper is gone ends too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// A stopper, and the end of it that a run waits for.
    pub fn new() -> (Self, Stop) {
        let (stopper, stop) = watch::channel(false);
        (Self(stopper), stop)
    }

    /// Asks the run to end within ten seconds: drops in flight are committed if they can be in about half of this time, and
    /// finished results of the other drops are stored for the next run.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
