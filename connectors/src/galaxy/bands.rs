//! The names of bands: those of a model, and those that a catalog's cutouts hold.

/// An error in the names of bands. The caller says whose bands they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BandError {
    /// No band is named.
    #[error("no band is named: write the names with commas between them, as g,r,i,z")]
    Empty,
    /// A name that cannot be a part of a column's name.
    #[error(
        "{name:?} is no name of a band: a name has at least one character, and no `/`, `=`, white space or control character"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A band that is named twice.
    #[error("band {band} is named twice: leave one out")]
    Twice {
        /// The band.
        band: String,
    },
    /// Bands of the model that the catalog's cutouts do not have.
    #[error("the model needs {}, and the catalog's cutouts have {}", bands(missing), found.join(", "))]
    Missing {
        /// The bands that are missing.
        missing: Vec<String>,
        /// The bands that the cutouts have.
        found: Vec<String>,
    },
}

/// "band u", or "bands u, i".
fn bands(names: &[String]) -> String {
    match names {
        [name] => format!("band {name}"),
        names => format!("bands {}", names.join(", ")),
    }
}

/// Makes sure that bands have possible names, each name once.
///
/// # Errors
/// [`BandError`] names the band.
/// ```
/// use hubbleflow_connectors::galaxy::check_bands;
/// let bands = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
/// assert!(check_bands(&bands(&["g", "W1", "hsc-y"])).is_ok());
/// assert!(check_bands(&bands(&["g", ""])).is_err());
/// assert!(check_bands(&bands(&["g", "r", "g"])).is_err());
/// ```
pub fn check_bands(bands: &[String]) -> Result<(), BandError> {
    for (place, band) in bands.iter().enumerate() {
        if !is_name(band) {
            let name = band.clone();
            return Err(BandError::Name { name });
        }
        if bands[..place].contains(band) {
            let band = band.clone();
            return Err(BandError::Twice { band });
        }
    }
    Ok(())
}

/// Whether a text can be the name of a band.
pub(super) fn is_name(text: &str) -> bool {
    let is_other = |letter: char| {
        !matches!(letter, '/' | '=') && !letter.is_whitespace() && !letter.is_control()
    };
    !text.is_empty() && text.chars().all(is_other)
}
