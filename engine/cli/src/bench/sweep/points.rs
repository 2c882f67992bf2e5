//! The points of a sweep: the settings that are tried together.
use std::{fmt, str::FromStr};

use hubbleflow::units::HumanBytes;
use serde::{Serialize, Serializer};

/// The split size that `run` takes by default.
const SPLIT_BYTES_OF_RUN: u64 = 25_000_000;
/// The batch that `run` takes by default on a CPU.
const BATCH_OF_RUN: u32 = 128;
/// The processes that `run` takes by default.
const PROCESSES_OF_RUN: u32 = 1;

/// How much of a catalog is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataSize {
    /// Every row.
    All,
    /// As many rows as have these bytes, as the model takes them.
    Bytes(u64),
}

impl FromStr for DataSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        match text.parse::<HumanBytes>() {
            Ok(HumanBytes(0)) | Err(_) => Err("write all, 500MB or 1GB".to_owned()),
            Ok(HumanBytes(bytes)) => Ok(Self::Bytes(bytes)),
        }
    }
}

impl fmt::Display for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Bytes(bytes) => f.write_str(&short_bytes(*bytes)),
        }
    }
}

/// The bytes, or `null` for all.
impl Serialize for DataSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_none(),
            Self::Bytes(bytes) => to.serialize_u64(*bytes),
        }
    }
}

/// Bytes without a zero after the point: `25 MB`.
pub(super) fn short_bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string().replace(".0 ", " ")
}

/// A setting that a sweep varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// The rows that are predicted, by their bytes.
    Size,
    /// `--split-bytes` of `run`.
    SplitBytes,
    /// `--batch` of `run`.
    Batch,
    /// `--local` of `run`.
    Processes,
}

impl Factor {
    /// All of them, in the order in which they are varied.
    pub(super) const ALL: [Self; 4] = [Self::Size, Self::SplitBytes, Self::Batch, Self::Processes];

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Size => "data size",
            Self::SplitBytes => "split size",
            Self::Batch => "batch",
            Self::Processes => "processes",
        }
    }
}

/// The settings of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// How much of the catalog is predicted.
    #[serde(rename = "size_bytes")]
    pub size: DataSize,
    /// About how many bytes of rows are read together.
    pub split_bytes: u64,
    /// Galaxies that the model takes at a time.
    pub batch: u32,
    /// Processes on this machine.
    pub processes: u32,
}

impl Point {
    /// Whether two points have the same value of a factor.
    fn agrees(&self, other: &Self, factor: Factor) -> bool {
        match factor {
            Factor::Size => self.size == other.size,
            Factor::SplitBytes => self.split_bytes == other.split_bytes,
            Factor::Batch => self.batch == other.batch,
            Factor::Processes => self.processes == other.processes,
        }
    }

    /// Whether this point differs from another in no factor but this one.
    pub(super) fn varies_only(&self, other: &Self, factor: Factor) -> bool {
        let mut others = Factor::ALL.into_iter().filter(|of| *of != factor);
        others.all(|of| self.agrees(other, of))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let split = short_bytes(self.split_bytes);
        let Self {
            size,
            batch,
            processes,
            ..
        } = self;
        write!(
            f,
            "size {size}, splits of {split}, batch {batch}, processes: {processes}"
        )
    }
}

/// The values of each factor, none of them empty.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    pub sizes: Vec<DataSize>,
    pub split_bytes: Vec<u64>,
    pub batches: Vec<u32>,
    pub processes: Vec<u32>,
}

impl Lists {
    /// The point around which one factor at a time is varied: of each list the default of `run`, or the last value if the
    /// default is not in the list.
    pub(super) fn base(&self) -> Point {
        Point {
            size: base_of(&self.sizes, DataSize::All),
            split_bytes: base_of(&self.split_bytes, SPLIT_BYTES_OF_RUN),
            batch: base_of(&self.batches, BATCH_OF_RUN),
            processes: base_of(&self.processes, PROCESSES_OF_RUN),
        }
    }

    /// The points that differ from the base in one factor at most, each once.
    pub(super) fn one_at_a_time(&self) -> Vec<Point> {
        let base = self.base();
        let sizes = self.sizes.iter().map(|&size| Point { size, ..base });
        let splits = self.split_bytes.iter();
        let splits = splits.map(|&split_bytes| Point {
            split_bytes,
            ..base
        });
        let batches = self.batches.iter().map(|&batch| Point { batch, ..base });
        let processes = self.processes.iter();
        let processes = processes.map(|&processes| Point { processes, ..base });
        each_once(sizes.chain(splits).chain(batches).chain(processes))
    }

    /// Every combination of the values, each once.
    pub(super) fn product(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for &size in &self.sizes {
            for &split_bytes in &self.split_bytes {
                for &batch in &self.batches {
                    points.extend(self.processes.iter().map(|&processes| Point {
                        size,
                        split_bytes,
                        batch,
                        processes,
                    }));
                }
            }
        }
        each_once(points)
    }
}

fn base_of<T: Copy + PartialEq>(list: &[T], default: T) -> T {
    match list.contains(&default) {
        true => default,
        false => list.last().copied().unwrap_or(default),
    }
}

fn each_once(points: impl IntoIterator<Item = Point>) -> Vec<Point> {
    let mut once = Vec::new();
    for point in points {
        if !once.contains(&point) {
            once.push(point);
        }
    }
    once
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        Lists {
            sizes: vec![DataSize::Bytes(1_000_000_000), DataSize::All],
            split_bytes: vec![25_000_000, 50_000_000],
            batches: vec![32, 128, 512],
            processes: vec![1, 2],
        }
    }

    #[test]
    fn sizes_are_bytes_or_all() {
        assert_eq!("all".parse(), Ok(DataSize::All));
        assert_eq!("1GB".parse(), Ok(DataSize::Bytes(1_000_000_000)));
        for wrong in ["", "0", "1 parsec", "everything"] {
            let refused = wrong.parse::<DataSize>().unwrap_err();
            assert!(refused.contains("all, 500MB or 1GB"), "{wrong}");
        }
        assert_eq!(DataSize::Bytes(25_000_000).to_string(), "25 MB");
    }

    #[test]
    fn one_factor_at_a_time_is_varied_around_the_defaults_of_run() {
        let (points, base) = (lists().one_at_a_time(), lists().base());
        let expected = Point {
            size: DataSize::All,
            split_bytes: 25_000_000,
            batch: 128,
            processes: 1,
        };
        assert_eq!(base, expected);
        // The base is in each list, and counts once.
        assert_eq!(points.len(), 2 + 2 + 3 + 2 - 3);
        for point in &points {
            let varied = |factor| point.varies_only(&base, factor);
            assert!(Factor::ALL.into_iter().any(varied), "{point}");
        }
        for (factor, count) in Factor::ALL.into_iter().zip([2, 2, 3, 2]) {
            let varied = points.iter();
            let varied = varied.filter(|point| point.varies_only(&base, factor));
            assert_eq!(varied.count(), count, "{factor:?}");
        }
    }

    #[test]
    fn the_base_is_the_last_value_if_the_default_is_not_in_the_list() {
        let lists = Lists {
            sizes: vec![DataSize::Bytes(1), DataSize::Bytes(2)],
            batches: vec![64, 256],
            processes: vec![2, 4],
            ..lists()
        };
        let base = lists.base();
        assert_eq!((base.size, base.batch), (DataSize::Bytes(2), 256));
        assert_eq!((base.split_bytes, base.processes), (25_000_000, 4));
    }

    #[test]
    fn the_product_has_every_combination_once() {
        let points = lists().product();
        assert_eq!(points.len(), 2 * 2 * 3 * 2);
        assert_eq!(each_once(points.clone()), points);
        let twice = Lists {
            batches: vec![32, 32],
            ..lists()
        };
        assert_eq!(twice.product().len(), 2 * 2 * 2);
    }
}
