//! Real galaxies, and new ones drawn between them: the truth behind a rendered cutout.
//!
//! | column | unit |
//! |---|---|
//! | `zs` | spectroscopic redshift |
//! | `u` … `z` | AB mag, corrected for Galactic extinction |
//!
//! A table is text: a line of names that begins with `#`, then a row a line, parted by blanks; other
//! columns are passed over. Rows are numbered from 0; a drawn galaxy names its *parent* so.

use super::SampleError;
use super::streams::{Purpose, key, mix};
use rand::{Rng, RngExt};
use rayon::prelude::*;

/// Where the bundled rows come from: the SDSS main galaxy sample, as MLZ 1.2 publishes it.
pub const BUNDLED_NAME: &str = "sdss_mgs.txt (bundled)";

/// 10,000 real SDSS galaxies; their licence lies beside the file.
pub const BUNDLED: &str = include_str!("../../data/sdss_mgs.txt");

/// How many of the nearest rows a galaxy may lean towards.
const NEAREST: usize = 5;

/// One parent in this many is kept for tests.
const TEST_ONE_IN: u64 = 5;

/// The scales that make rows comparable: u-g, g-r, r-i, i-z and r in mag, then redshift.
const SCALES: [f64; 6] = [0.25, 0.1, 0.05, 0.06, 0.35, 0.006];

/// Where r stands in [`SCALES`].
const R_AXIS: usize = 4;

/// Which real rows galaxies are drawn from; `Train` and `Test` have none in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParentSplit {
    /// Four rows in five.
    Train,
    /// The other one.
    Test,
    /// Every row.
    All,
}

impl ParentSplit {
    /// Whether the row with this number belongs to the split: a hash of the number decides.
    pub fn holds(self, row: u64) -> bool {
        let is_test = mix(key(0, Purpose::Parents) ^ row).is_multiple_of(TEST_ONE_IN);
        match self {
            Self::Train => !is_test,
            Self::Test => is_test,
            Self::All => true,
        }
    }
}

/// A galaxy's magnitudes in ugriz (AB, corrected for extinction) and its redshift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Galaxy {
    /// ugriz.
    pub mags: [f64; 5],
    /// Spectroscopic redshift, above 0.
    pub z_spec: f64,
}

impl Galaxy {
    /// The point a `share` of the way to `other`; redshifts go by their logarithm.
    fn towards(&self, other: &Self, share: f64) -> Self {
        let step = |from: f64, to: f64| from + share * (to - from);
        Self {
            mags: std::array::from_fn(|band| step(self.mags[band], other.mags[band])),
            z_spec: 10f64.powf(step(self.z_spec.log10(), other.z_spec.log10())),
        }
    }

    fn features(&self) -> [f64; 6] {
        let [u, g, r, i, z] = self.mags;
        let raw = [u - g, g - r, r - i, i - z, r, self.z_spec];
        std::array::from_fn(|axis| raw[axis] / SCALES[axis])
    }
}

/// A drawn galaxy, before it has a place, a shape and a cutout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// What it is.
    pub galaxy: Galaxy,
    /// The row number of the real galaxy it was drawn from.
    pub parent: u32,
    /// Magnitudes with half of the noise in their colours gone: r stays, each colour is brought
    /// halfway to the mean of the parent and its nearest rows.
    pub mags_improved: [f64; 5],
}

/// Real galaxies of one split, each with its nearest rows of the same split.
#[derive(Debug)]
pub struct Photometry {
    galaxies: Vec<Galaxy>,
    row_numbers: Vec<u32>,
    nearest: Vec<[u32; NEAREST]>,
}

impl Photometry {
    /// Reads a table and keeps the rows of `split`; `name` is the table's, for messages.
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
                    "{} rows are in this split; at least {} are needed",
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

    /// How many real galaxies there are to draw from.
    pub fn parents(&self) -> usize {
        self.galaxies.len()
    }

    /// A smoothed bootstrap: a point up to halfway between a real galaxy and one of its nearest.
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

fn parse_rows(text: &str, name: &str) -> Result<Vec<Galaxy>, SampleError> {
    let fault = |line: usize, reason: String| SampleError::Photometry {
        name: name.to_owned(),
        line: line + 1,
        reason,
    };
    let mut lines = text.lines().enumerate();
    let header = lines
        .next()
        .and_then(|(_, line)| line.strip_prefix('#'))
        .ok_or_else(|| {
            fault(
                0,
                "a line of column names beginning with # is missing".into(),
            )
        })?;
    let names: Vec<&str> = header.split_whitespace().collect();
    let mut columns = [0; 6];
    for (column, wanted) in columns.iter_mut().zip(["u", "g", "r", "i", "z", "zs"]) {
        *column = names
            .iter()
            .position(|&found| found == wanted)
            .ok_or_else(|| fault(0, format!("there is no column {wanted}")))?;
    }
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| parse_galaxy(line, &columns).map_err(|reason| fault(number, reason)))
        .collect()
}

fn parse_galaxy(line: &str, columns: &[usize; 6]) -> Result<Galaxy, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let mut values = [0.0; 6];
    for (value, &column) in values.iter_mut().zip(columns) {
        let field = fields
            .get(column)
            .ok_or_else(|| format!("there are {} columns, too few", fields.len()))?;
        *value = field
            .parse()
            .map_err(|_| format!("`{field}` is no number"))?;
    }
    let [u, g, r, i, z, z_spec] = values;
    if let Some(mag) = [u, g, r, i, z]
        .iter()
        .find(|mag| !(5.0..35.0).contains(*mag))
    {
        return Err(format!("{mag} is no magnitude: leave such rows out"));
    }
    if !(1e-4..10.0).contains(&z_spec) {
        return Err(format!(
            "{z_spec} is no redshift above 0: leave such rows out"
        ));
    }
    Ok(Galaxy {
        mags: [u, g, r, i, z],
        z_spec,
    })
}

/// The nearest other galaxies of each, closest first.
fn find_nearest(galaxies: &[Galaxy]) -> Vec<[u32; NEAREST]> {
    let features: Vec<[f64; 6]> = galaxies.iter().map(Galaxy::features).collect();
    let mut by_r: Vec<u32> = (0..galaxies.len() as u32).collect();
    by_r.sort_by(|&a, &b| features[a as usize][R_AXIS].total_cmp(&features[b as usize][R_AXIS]));
    let mut found: Vec<(u32, [u32; NEAREST])> = (0..by_r.len())
        .into_par_iter()
        .map(|place| {
            let me = by_r[place];
            let mine = &features[me as usize];
            let mut best = [(f64::INFINITY, u32::MAX); NEAREST];
            keep_nearest(mine, by_r[..place].iter().rev(), &features, &mut best);
            keep_nearest(mine, by_r[place + 1..].iter(), &features, &mut best);
            (me, best.map(|(_, row)| row))
        })
        .collect();
    found.sort_unstable_by_key(|&(me, _)| me);
    found.into_iter().map(|(_, nearest)| nearest).collect()
}

/// Puts the nearest of `others`, which lead away from `mine` in r, among the `best`.
fn keep_nearest<'a>(
    mine: &[f64; 6],
    others: impl Iterator<Item = &'a u32>,
    features: &[[f64; 6]],
    best: &mut [(f64, u32); NEAREST],
) {
    for &other in others {
        let theirs = &features[other as usize];
        let (farthest, _) = best[NEAREST - 1];
        if (theirs[R_AXIS] - mine[R_AXIS]).powi(2) > farthest {
            return;
        }
        let distance = mine.iter().zip(theirs).map(|(a, b)| (a - b).powi(2)).sum();
        if distance < farthest {
            best[NEAREST - 1] = (distance, other);
            best.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::streams::stream;
    use super::*;
    use std::collections::HashSet;

    fn bundled(split: ParentSplit) -> Photometry {
        Photometry::parse(BUNDLED, BUNDLED_NAME, split).unwrap()
    }

    #[test]
    fn train_and_test_part_the_rows() {
        let rows = |split| -> HashSet<u32> { bundled(split).row_numbers.into_iter().collect() };
        let (train, test) = (rows(ParentSplit::Train), rows(ParentSplit::Test));
        assert!(train.is_disjoint(&test));
        assert_eq!(train.len() + test.len(), 10_000);
        assert!(
            (1_900..2_100).contains(&test.len()),
            "{} test rows",
            test.len()
        );
    }

    #[test]
    fn the_nearest_are_those_that_a_full_search_finds() {
        let photometry = bundled(ParentSplit::Test);
        let features: Vec<_> = photometry.galaxies.iter().map(Galaxy::features).collect();
        for me in (0..features.len()).step_by(97) {
            let distance = |other: usize| -> f64 {
                let pairs = features[me].iter().zip(&features[other]);
                pairs.map(|(a, b)| (a - b).powi(2)).sum()
            };
            let mut others: Vec<usize> = (0..features.len()).filter(|&other| other != me).collect();
            others.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
            let wanted: Vec<u32> = others[..NEAREST].iter().map(|&row| row as u32).collect();
            assert_eq!(photometry.nearest[me], wanted[..]);
        }
    }

    #[test]
    fn a_draw_stays_between_real_galaxies() {
        let photometry = bundled(ParentSplit::All);
        for index in 0..500 {
            let draw = photometry.draw(&mut stream(1, Purpose::Truth, index));
            let parent = &photometry.galaxies[draw.parent as usize];
            let nearest = &photometry.nearest[draw.parent as usize];
            let reach = nearest
                .iter()
                .map(|&row| (photometry.galaxies[row as usize].mags[0] - parent.mags[0]).abs())
                .fold(0.0, f64::max);
            assert!((draw.galaxy.mags[0] - parent.mags[0]).abs() <= 0.5 * reach + 1e-9);
            assert_eq!(draw.mags_improved[2], draw.galaxy.mags[2]);
        }
    }

    #[test]
    fn a_bad_table_is_refused_with_its_line() {
        for (text, wanted) in [
            ("0.1 20 19 18 17 16", "line 1"),
            ("#zs u g r i", "no column z"),
            ("#zs u g r i z\n0.1 20 19 18 17", "line 2"),
            (
                "#zs u g r i z\n0.1 20 19 -9999 17 16",
                "-9999 is no magnitude",
            ),
            ("#zs u g r i z\n0.1 20 19 18 17 16", "at least 6"),
        ] {
            let error = Photometry::parse(text, "mine.txt", ParentSplit::All).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("mine.txt") && message.contains(wanted),
                "{message}"
            );
        }
    }
}
