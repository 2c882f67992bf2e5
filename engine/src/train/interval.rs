//! Which objects a training learns from, and which it is scored on.
use std::{fmt, str::FromStr};

/// A stretch of the line from 0 to 1 on which the hash of `object_id` puts every object, written `0.8:0.9`.
///
/// The same object lies at the same place in every drop and every training, so stretches that do not overlap hold
/// different objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its first place.
    pub from: f64,
    /// The first place behind it.
    pub to: f64,
}

impl Interval {
    /// The stretch between two places.
    pub const fn new(from: f64, to: f64) -> Self {
        Self { from, to }
    }

    /// Whether an object of this hash lies in it.
    pub fn holds(self, hash: u64) -> bool {
        let place = hash as f64 / 2f64.powi(64);
        // A hash so large that it is rounded to 1 belongs to the last stretch.
        self.from <= place && (place < self.to || self.to == 1.0)
    }

    /// Whether an object can lie in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.from.max(other.from) < self.to.min(other.to)
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (from, to) = text.split_once(':')?;
            let interval = Self {
                from: from.trim().parse().ok()?,
                to: to.trim().parse().ok()?,
            };
            let in_order = 0.0 <= interval.from && interval.from <= interval.to;
            (in_order && interval.to <= 1.0).then_some(interval)
        };
        parse()
            .ok_or_else(|| format!("{text:?} is not a part of the line from 0 to 1; write 0.8:0.9"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.from, self.to)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stretches_beside_each_other_share_no_object_and_lose_none() {
        let [a, b] = ["0:0.3", "0.3:1"].map(|text| text.parse::<Interval>().unwrap());
        for hash in [
            0,
            1,
            u64::MAX / 10 * 3,
            u64::MAX / 3,
            u64::MAX - 1,
            u64::MAX,
        ] {
            assert!(a.holds(hash) != b.holds(hash), "{hash}");
        }
        for wrong in ["0.3", "0.5:0.2", "-1:0", "0:1.5", "a:b"] {
            assert!(wrong.parse::<Interval>().is_err(), "{wrong}");
        }
    }
}
