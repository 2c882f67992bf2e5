//! Finds the bands that the names in a file mean.

use arrow::array::StringArray;

use super::BANDS;
use super::cutout_fault::CutoutFault;

/// The place in [`BANDS`] of a name such as `u`, `sdss-u` or `DES_U`.
fn band_of(name: &str) -> Option<usize> {
    let last = name
        .rsplit(|letter: char| !letter.is_alphanumeric())
        .next()?;
    BANDS
        .iter()
        .position(|band| last.eq_ignore_ascii_case(band))
}

/// The place of each of [`BANDS`] among the names of a row.
pub(super) fn find_bands(names: &StringArray) -> Result<[usize; 5], CutoutFault> {
    let found = || {
        names
            .iter()
            .map(|name| name.unwrap_or("null"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut places = [None; 5];
    for (place, name) in names.iter().enumerate() {
        if let Some(band) = name.and_then(band_of)
            && places[band].replace(place).is_some()
        {
            return Err(CutoutFault::BandTwice {
                band: BANDS[band],
                found: found(),
            });
        }
    }
    match places {
        [Some(u), Some(g), Some(r), Some(i), Some(z)] => Ok([u, g, r, i, z]),
        _ => {
            let missing = BANDS
                .iter()
                .zip(places)
                .filter(|(_, place)| place.is_none());
            let missing = missing
                .map(|(band, _)| *band)
                .collect::<Vec<_>>()
                .join(", ");
            Err(CutoutFault::Bands {
                missing,
                found: found(),
            })
        }
    }
}
