//! A drop with cutouts: the object and the kind of each row.

use std::ops::Range;

use crate::error::SampleError;
use crate::settings::SampleSettings;
use crate::streams::{Purpose, Shuffle, key};

/// A fault that makes a row unusable. The bad rows of a survey have the faults in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFault {
    /// A pixel of the cutout is not a number. It is in r, or in the bluest band if there is no r.
    PixelNan,
    /// The same pixel is infinite.
    PixelInfinite,
    /// The bluest magnitude is -9999, the sentinel of a missing measurement.
    MagMissing,
    /// The reddest magnitude is 0.
    MagZero,
    /// The declination is 95 degrees.
    DecOffSky,
    /// The right ascension is not a number.
    RaNan,
}

impl RowFault {
    const ALL: [Self; 6] = [
        Self::PixelNan,
        Self::PixelInfinite,
        Self::MagMissing,
        Self::MagZero,
        Self::DecOffSky,
        Self::RaNan,
    ];
}

/// The kind of a row of an image drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// The object is observed for the first time.
    New {
        /// The fault of the row, if there is one.
        fault: Option<RowFault>,
    },
    /// The object was observed before. Noise and seeing are new, and the magnitudes are improved.
    Correction,
    /// The object is withdrawn.
    Withdrawal,
}

/// A row of an image drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropRow {
    /// The number of its object.
    pub object: u64,
    /// The kind of the row.
    pub kind: RowKind,
}

/// An image drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDrop {
    /// From 0, in the order of delivery.
    pub number: u64,
    /// The objects that this drop observes for the first time.
    pub new_objects: Range<u64>,
    /// Number of rows that correct earlier objects.
    pub corrections: u64,
    /// Number of rows that withdraw earlier objects.
    pub withdrawals: u64,
    /// Number of rows of new objects with a fault.
    pub bad_rows: u64,
    bad_rows_before: u64,
    rows_key: u64,
}

impl ImageDrop {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.news() + self.corrections + self.withdrawals
    }

    /// The row with this number, from 0.
    pub fn row(&self, number: u64) -> DropRow {
        let shuffle = |len, purpose| Shuffle::new(len, key(self.rows_key, purpose));
        let place = shuffle(self.rows(), Purpose::RowOrder).at(number);
        let Some(place_after_new) = place.checked_sub(self.news()) else {
            let bad_place = shuffle(self.news(), Purpose::BadRows).at(place);
            let fault = (bad_place < self.bad_rows).then(|| {
                let turn = (self.bad_rows_before + bad_place) % RowFault::ALL.len() as u64;
                RowFault::ALL[turn as usize]
            });
            return DropRow {
                object: self.new_objects.start + place,
                kind: RowKind::New { fault },
            };
        };
        let earlier = shuffle(self.new_objects.start, Purpose::Targets);
        let kind = if place_after_new < self.corrections {
            RowKind::Correction
        } else {
            RowKind::Withdrawal
        };
        DropRow {
            object: earlier.at(place_after_new),
            kind,
        }
    }

    fn news(&self) -> u64 {
        self.new_objects.end - self.new_objects.start
    }
}

/// Distributes the objects of a survey over its drops.
pub fn lay_out_drops(settings: &SampleSettings) -> Result<Vec<ImageDrop>, SampleError> {
    let mut drops = Vec::new();
    let (mut rows, mut bad_rows) = (0, 0);
    for number in 0..settings.drops {
        let share = |part: u64| {
            (u128::from(settings.galaxies) * u128::from(part)) / u128::from(settings.drops)
        };
        let new_objects = share(number) as u64..share(number + 1) as u64;
        let news = new_objects.end - new_objects.start;
        let (corrections, withdrawals) = match number {
            0 => (0, 0),
            _ => {
                let all = news as f64 / (1.0 - settings.corrections - settings.withdrawals);
                let part = |fraction: f64| (all * fraction).round() as u64;
                (part(settings.corrections), part(settings.withdrawals))
            }
        };
        if corrections + withdrawals > new_objects.start {
            return Err(SampleError::Arguments(format!(
                "drop {} would correct and withdraw {} objects, but only {} came before it: \
                 lower --corrections or --withdrawals",
                number + 1,
                corrections + withdrawals,
                new_objects.start
            )));
        }
        rows += news + corrections + withdrawals;
        // Counted over the survey, so that small drops have their share too.
        let bad_rows_so_far = (rows as f64 * settings.bad_rows).round() as u64;
        let bad_here = (bad_rows_so_far - bad_rows).min(news);
        drops.push(ImageDrop {
            number,
            new_objects,
            corrections,
            withdrawals,
            bad_rows: bad_here,
            bad_rows_before: bad_rows,
            rows_key: key(settings.seed, Purpose::RowOrder).wrapping_add(number),
        });
        bad_rows += bad_here;
    }
    Ok(drops)
}
