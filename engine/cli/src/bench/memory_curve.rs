//! The memory that this process holds, from time to time while it works.
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{JoinHandle, spawn},
    time::Duration,
};

use hubbleflow::{clock::clock, units::HumanBytes};
use serde::Serialize;

use super::usage::resident_bytes;

/// The points of a curve, at most. A longer curve loses every other point.
const POINTS_MAX: usize = 200;
/// The time between two points at first.
const INTERVAL: Duration = Duration::from_millis(250);
/// Blocks of rising height, for people.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The width of a curve for people.
const WIDTH: usize = 40;

/// Memory over time: seconds since the start of the process, and bytes. Empty where the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MemoryCurve(Vec<(f64, u64)>);

/// Draws a curve until it is told to end.
pub struct Drawing {
    end: Sender<()>,
    curve: JoinHandle<MemoryCurve>,
}

impl Drawing {
    /// Begins a curve.
    pub fn begin() -> Self {
        let (end, ended) = channel();
        let curve = spawn(move || draw(&ended));
        Self { end, curve }
    }

    /// Ends the curve.
    pub fn end(self) -> MemoryCurve {
        drop(self.end);
        self.curve.join().unwrap_or_default()
    }
}

fn draw(ended: &Receiver<()>) -> MemoryCurve {
    let (mut curve, mut interval) = (MemoryCurve::default(), INTERVAL);
    loop {
        let goes_on = ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
        if let Some(bytes) = resident_bytes(std::process::id()) {
            curve.0.push((clock().as_secs_f64(), bytes));
        }
        if !goes_on {
            return curve;
        }
        if curve.0.len() == POINTS_MAX {
            curve.thin();
            interval *= 2;
        }
    }
}

impl MemoryCurve {
    /// Keeps every other point, and the last.
    fn thin(&mut self) {
        let mut number = 0;
        self.0.retain(|_| {
            number += 1;
            number % 2 == 0
        });
    }
}

impl std::fmt::Display for MemoryCurve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = || self.0.iter().map(|(_, bytes)| *bytes);
        let (Some(least), Some(most)) = (bytes().min(), bytes().max()) else {
            return f.write_str("not known on this system");
        };
        let points = self.0.len().min(WIDTH);
        for column in 0..points {
            let (_, bytes) = self.0[column * self.0.len() / points];
            let height = (BLOCKS.len() as u64 * bytes / most.max(1)).min(BLOCKS.len() as u64 - 1);
            write!(f, "{}", BLOCKS[height as usize])?;
        }
        write!(f, " {} to {}", HumanBytes(least), HumanBytes(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_shows_where_memory_grows() {
        let curve = MemoryCurve(vec![(1.0, 1_000_000), (2.0, 4_000_000), (3.0, 8_000_000)]);
        assert_eq!(curve.to_string(), "▂▅█ 1.0 MB to 8.0 MB");
        assert_eq!(
            MemoryCurve::default().to_string(),
            "not known on this system"
        );
    }

    #[test]
    fn a_long_curve_loses_every_other_point() {
        let mut curve = MemoryCurve((0..200).map(|n| (f64::from(n), 1)).collect());
        curve.thin();
        assert_eq!(curve.0.len(), 100);
        assert_eq!(curve.0.last(), Some(&(199.0, 1)));
    }

    #[test]
    fn memory_that_is_taken_is_on_the_curve() {
        let drawing = Drawing::begin();
        let taken = vec![1_u8; 256 << 20];
        std::thread::sleep(2 * INTERVAL);
        let MemoryCurve(points) = drawing.end();
        assert!(taken.iter().all(|&byte| byte == 1));
        assert!(points.len() >= 2, "{points:?}");
        assert!(
            points.iter().any(|(_, bytes)| *bytes > 200 << 20),
            "{points:?}"
        );
    }
}
