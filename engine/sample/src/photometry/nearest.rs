//! The nearest neighbours of each galaxy in colour, magnitude and redshift.

use rayon::prelude::*;

use crate::galaxy::{Galaxy, R_AXIS};

/// The number of nearest rows that a galaxy may lean towards.
pub(super) const NEAREST: usize = 5;

/// The nearest other galaxies of each galaxy, closest first.
pub(super) fn find_nearest(galaxies: &[Galaxy]) -> Vec<[u32; NEAREST]> {
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

/// Merges the nearest of `others` into `best`. `others` are sorted by their distance from `mine` in r.
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
