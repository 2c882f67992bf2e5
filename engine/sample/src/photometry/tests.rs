#![allow(clippy::unwrap_used)]
use super::*;
use crate::streams::{Purpose, stream};
use std::collections::HashSet;

fn bundled(split: ParentSplit) -> Photometry {
    Photometry::parse(BUNDLED, BUNDLED_NAME, split).unwrap()
}

#[test]
fn train_and_test_share_no_row() {
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
fn the_nearest_rows_match_a_full_search() {
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
            "-9999 is not a magnitude",
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
