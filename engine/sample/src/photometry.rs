//! Real galaxies, and new galaxies that are drawn between them.
//!
//! | column | unit |
//! |---|---|
//! | `zs` | spectroscopic redshift |
//! | `u` … `z` | AB mag, corrected for Galactic extinction |
//!
//! A table is text: a line with `#` and the names of the columns, then a line for each row, separated by blanks. Other
//! columns are ignored. Rows are numbered from 0. The *parent* of a drawn galaxy is the number of a row.

mod nearest;
mod table;

use rand::{Rng, RngExt};

use crate::error::SampleError;
use crate::galaxy::Galaxy;
use crate::parent_split::ParentSplit;
use nearest::{NEAREST, find_nearest};
use table::parse_rows;

/// The name of the bundled table: the SDSS main galaxy sample, from the package MLZ 1.2.
pub const BUNDLED_NAME: &str = "sdss_mgs.txt (bundled)";

/// 10,000 real SDSS galaxies. Their licence is beside the file.
pub const BUNDLED: &str = include_str!("../data/sdss_mgs.txt");

/// A drawn galaxy, without position, shape and cutout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Magnitudes and redshift.
    pub galaxy: Galaxy,
    /// The number of the row that the galaxy is drawn from.
    pub parent: u32,
    /// Magnitudes with half of the noise in their colours: r is the same, and each colour is halfway to the mean of the
    /// parent and its nearest rows.
    pub mags_improved: [f64; 5],
}

/// The real galaxies of a split, each with its nearest rows in the same split.
#[derive(Debug)]
pub struct Photometry {
    galaxies: Vec<Galaxy>,
    row_numbers: Vec<u32>,
    nearest: Vec<[u32; NEAREST]>,
}

impl Photometry {
    /// Reads a table and keeps the rows of `split`. `name` is the name of the table in messages.
    pub fn parse(text: &str, name: &str, split: ParentSplit) -> Result<Self, SampleError> {
        let rows = parse_rows(text, name)?;
        let (row_numbers, galaxies): (Vec<u32>, Vec<Galaxy>) = (0u32..)
            .zip(rows)
            .filter(|&(row, _)| split.holds(u64::from(row)))
            .unzip();
        if galaxies.len() <= NEAREST {
            return Err(SampleError::Photometry {
                name: name.to_owned(),
                line: 0,
                reason: format!(
                    "this split has {} rows; at least {} are needed",
                    galaxies.len(),
                    NEAREST + 1
                ),
            });
        }
        let nearest = find_nearest(&galaxies);
        Ok(Self {
            galaxies,
            row_numbers,
            nearest,
        })
    }

    /// The number of real galaxies.
    pub fn parents(&self) -> usize {
        self.galaxies.len()
    }

    /// Draws a galaxy by a smoothed bootstrap: a random point up to halfway from a real galaxy to one of its nearest rows.
    pub fn draw(&self, rng: &mut impl Rng) -> Draw {
        let row = rng.random_range(0..self.galaxies.len());
        let nearest = &self.nearest[row];
        let other = nearest[rng.random_range(0..NEAREST)] as usize;
        let share = rng.random_range(0.0..0.5);
        let galaxy = self.galaxies[row].towards(&self.galaxies[other], share);
        Draw {
            galaxy,
            parent: self.row_numbers[row],
            mags_improved: self.improve(&galaxy.mags, row),
        }
    }

    /// The magnitudes of a random real galaxy.
    pub fn any_mags(&self, rng: &mut impl Rng) -> [f64; 5] {
        self.galaxies[rng.random_range(0..self.galaxies.len())].mags
    }

    /// Moves the colours of `mags` halfway to the mean of `row` and its nearest rows.
    fn improve(&self, mags: &[f64; 5], row: usize) -> [f64; 5] {
        const R: usize = 2;
        let around = self.nearest[row].iter().map(|&other| other as usize);
        let mut mean = [0.0; 5];
        for member in around.chain([row]) {
            for (sum, mag) in mean.iter_mut().zip(self.galaxies[member].mags) {
                *sum += mag / (NEAREST + 1) as f64;
            }
        }
        std::array::from_fn(|band| {
            let colour = mags[band] - mags[R];
            mags[R] + 0.5 * (colour + mean[band] - mean[R])
        })
    }
}

#[cfg(test)]
mod tests;
