//! The bands of a survey: which of the camera's bands, and in which order.
//!
//! Magnitudes, fluxes and detectors of all bands are arrays in the order of [`NAMES`]. A band is its place there.

use std::{fmt, str::FromStr};

use crate::error::SampleError;

/// Number of bands of the camera.
pub const BANDS: usize = 5;

/// The bands of the camera, from blue to red.
pub const NAMES: [&str; BANDS] = ["u", "g", "r", "i", "z"];

/// The band that sizes and neighbours are drawn in.
const R: usize = 2;

/// The bands of cutouts and magnitudes, in their order: any of u, g, r, i and z, each at most once. The default is ugriz.
///
/// ```
/// use hubbleflow_sample::SampleBands;
///
/// let bands: SampleBands = "griz".parse()?;
/// assert_eq!(bands, "g,r,i,z".parse()?);
/// assert_eq!(bands.names().collect::<Vec<_>>(), ["g", "r", "i", "z"]);
/// assert!("grx".parse::<SampleBands>().is_err());
/// # Ok::<(), hubbleflow_sample::SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleBands(Vec<usize>);

impl Default for SampleBands {
    fn default() -> Self {
        Self((0..BANDS).collect())
    }
}

impl FromStr for SampleBands {
    type Err = SampleError;

    fn from_str(text: &str) -> Result<Self, SampleError> {
        let refuse = |reason: String| {
            let allowed = "give any of u, g, r, i and z, each once, such as griz or g,r,i,z";
            Err(SampleError::Arguments(format!(
                "--bands {text}: {reason}; {allowed}"
            )))
        };
        let mut bands = Vec::new();
        let parts = || text.split(',').map(str::trim);
        if parts().any(str::is_empty) {
            return refuse("a band has no name".into());
        }
        for name in parts().flat_map(str::chars) {
            let Some(band) = NAMES.iter().position(|band| band.chars().eq([name])) else {
                return refuse(format!("the survey has no band {name:?}"));
            };
            if bands.contains(&band) {
                return refuse(format!("band {name} is there twice"));
            }
            bands.push(band);
        }
        Ok(Self(bands))
    }
}

impl fmt::Display for SampleBands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names().try_for_each(|name| f.write_str(name))
    }
}

impl SampleBands {
    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.iter().map(|band| NAMES[band])
    }

    /// The number of bands.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The bands, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }

    /// The plane of a band in a cutout, or `None` if cutouts do not have the band.
    pub(crate) fn plane(&self, band: usize) -> Option<usize> {
        self.iter().position(|it| it == band)
    }

    /// The bluest band.
    pub(crate) fn bluest(&self) -> usize {
        self.iter().min().expect("invariant: there is a band")
    }

    /// The reddest band.
    pub(crate) fn reddest(&self) -> usize {
        self.iter().max().expect("invariant: there is a band")
    }

    /// The plane of r, or of the bluest band if cutouts do not have r.
    pub(crate) fn reference_plane(&self) -> usize {
        let plane = self.plane(R).or_else(|| self.plane(self.bluest()));
        plane.expect("invariant: the bluest band has a plane")
    }
}
