//! Finds the bands that the names in a file mean.

use arrow::array::StringArray;

use super::cutout_fault::CutoutFault;

/// The place among `bands` of a name such as `u`, `sdss-u` or `DES_U`. A band that is named as it is written comes before
/// a band that is named by the last part of the name, and that before a band in other letters of the same name.
fn band_of(name: &str, bands: &[String]) -> Option<usize> {
    let last = name
        .rsplit(|letter: char| !letter.is_alphanumeric())
        .next()?;
    let find = |is_it: &dyn Fn(&String) -> bool| bands.iter().position(is_it);
    find(&|band| band == name)
        .or_else(|| find(&|band| band == last))
        .or_else(|| find(&|band| band.eq_ignore_ascii_case(last)))
}

/// The place of each of `bands` among the names of a row.
pub(super) fn find_bands(names: &StringArray, bands: &[String]) -> Result<Vec<usize>, CutoutFault> {
    let found = || {
        names
            .iter()
            .map(|name| name.unwrap_or("null"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut places = vec![None; bands.len()];
    for (place, name) in names.iter().enumerate() {
        if let Some(band) = name.and_then(|name| band_of(name, bands))
            && places[band].replace(place).is_some()
        {
            return Err(CutoutFault::BandTwice {
                band: bands[band].clone(),
                found: found(),
            });
        }
    }
    let all: Option<Vec<usize>> = places.iter().copied().collect();
    all.ok_or_else(|| {
        let missing = bands.iter().zip(&places);
        let missing = missing.filter(|(_, place)| place.is_none());
        let missing: Vec<&str> = missing.map(|(band, _)| band.as_str()).collect();
        CutoutFault::Bands {
            missing: missing.join(", "),
            found: found(),
        }
    })
}
