//! The names of columns in the files, as given by `--column cutout=image`.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use super::bands::is_name;
use super::error::SchemaError;

pub(super) const OBJECT_ID: &str = "object_id";
pub(super) const RA: &str = "ra";
pub(super) const DEC: &str = "dec";
pub(super) const CUTOUT: &str = "cutout";
pub(super) const MAG: &str = "mag";
pub(super) const EMBEDDING: &str = "embedding";
pub(super) const EBV: &str = "ebv";
pub(super) const Z_SPEC: &str = "z_spec";
pub(super) const DELETED: &str = "deleted";

/// The columns that can be mapped, beside those of single bands.
pub(super) const KNOWN: [&str; 9] = [
    OBJECT_ID, RA, DEC, CUTOUT, MAG, EMBEDDING, EBV, Z_SPEC, DELETED,
];

pub(super) const MAG_OF: &str = "mag_";
const FLUX_OF: &str = "flux_";
const TRANSMISSION_OF: &str = "mw_transmission_";

/// The column of the magnitude in a band.
pub fn mag(band: &str) -> String {
    format!("{MAG_OF}{band}")
}

/// The column of the flux in a band.
pub(super) fn flux(band: &str) -> String {
    format!("{FLUX_OF}{band}")
}

/// The column of the transmission of the Milky Way's dust in a band.
pub(super) fn transmission(band: &str) -> String {
    format!("{TRANSMISSION_OF}{band}")
}

/// The band of a column of one band.
fn band_of(column: &str) -> Option<&str> {
    let prefixes = [MAG_OF, FLUX_OF, TRANSMISSION_OF].into_iter();
    let mut bands = prefixes.filter_map(|prefix| column.strip_prefix(prefix));
    bands.find(|band| is_name(band))
}

/// The index of the only column with this name, or `None` if it is missing.
pub(super) fn index_of(schema: &Schema, name: &str) -> Result<Option<usize>, SchemaError> {
    let mut indices = (0..)
        .zip(schema.fields())
        .filter(|(_, field)| field.name() == name);
    let first = indices.next().map(|(index, _)| index);
    match indices.next() {
        Some(_) => Err(SchemaError::Ambiguous {
            column: name.to_owned(),
        }),
        None => Ok(first),
    }
}

/// Maps the names of columns in this project to their names in the files. Other names stay as they are.
///
/// ```
/// use hubbleflow_connectors::galaxy::ColumnNames;
/// let names = ColumnNames::parse(["cutout=image", "z_spec=Z"])?;
/// assert_eq!(names.in_file("cutout"), "image");
/// assert_eq!(names.in_file("ra"), "ra");
/// assert!(ColumnNames::parse(["cutuot=image"]).is_err());
/// # Ok::<(), hubbleflow_connectors::galaxy::ColumnNameError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct ColumnNames(BTreeMap<String, String>);

/// An error in the argument of `--column`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnNameError {
    /// Not `NAME=NAME`.
    #[error("--column {mapping}: write COLUMN=NAME, as in --column cutout=image")]
    Form {
        /// The argument.
        mapping: String,
    },
    /// A column this project does not know.
    #[error(
        "--column {column}=…: there is no column `{column}` to map; those there are: {}, and for each of the model's bands mag_<band> (as mag_z), flux_<band> and mw_transmission_<band>",
        KNOWN.join(", ")
    )]
    Unknown {
        /// The name to the left of the `=`.
        column: String,
    },
    /// A column of a band whose magnitude the model does not know.
    #[error(
        "--column {column}=…: the model has no magnitude in {band}; its magnitudes are {}",
        listed(bands)
    )]
    UnknownBand {
        /// The name to the left of the `=`.
        column: String,
        /// The band of the column.
        band: String,
        /// The bands of the model's magnitudes.
        bands: Vec<String>,
    },
    /// A column mapped twice.
    #[error("--column {column}=… is given twice: leave one out")]
    Twice {
        /// The name to the left of the `=`.
        column: String,
    },
    /// Two columns mapped to one.
    #[error("--column: both `{first}` and `{second}` are to be read from `{name}`; leave one out")]
    Shared {
        /// The column that has the name first.
        first: String,
        /// The other.
        second: String,
        /// The name in the file.
        name: String,
    },
}

/// Names with commas between them.
fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

impl ColumnNames {
    /// Parses mappings of the form `COLUMN=NAME`. Blanks around the names are removed.
    pub fn parse<M: AsRef<str>>(
        mappings: impl IntoIterator<Item = M>,
    ) -> Result<ColumnNames, ColumnNameError> {
        let mut names = ColumnNames::default();
        for mapping in mappings {
            let form = || ColumnNameError::Form {
                mapping: mapping.as_ref().to_owned(),
            };
            let (column, name) = mapping.as_ref().split_once('=').ok_or_else(form)?;
            let (column, name) = (column.trim(), name.trim());
            if column.is_empty() || name.is_empty() {
                return Err(form());
            }
            names.map(column, name)?;
        }
        Ok(names)
    }

    fn map(&mut self, column: &str, name: &str) -> Result<(), ColumnNameError> {
        if !KNOWN.contains(&column) && band_of(column).is_none() {
            return Err(ColumnNameError::Unknown {
                column: column.to_owned(),
            });
        }
        if let Some((first, _)) = self.0.iter().find(|(_, taken)| *taken == name)
            && first != column
        {
            let (first, second, name) = (first.clone(), column.to_owned(), name.to_owned());
            return Err(ColumnNameError::Shared {
                first,
                second,
                name,
            });
        }
        match self.0.insert(column.to_owned(), name.to_owned()) {
            Some(_) => Err(ColumnNameError::Twice {
                column: column.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Makes sure that mapped columns of single bands belong to bands of the model's magnitudes.
    ///
    /// # Errors
    /// [`ColumnNameError::UnknownBand`], naming the column.
    pub fn check_bands(&self, bands: &[String]) -> Result<(), ColumnNameError> {
        for column in self
            .0
            .keys()
            .filter(|column| !KNOWN.contains(&column.as_str()))
        {
            let band = band_of(column).unwrap_or_default();
            if !bands.iter().any(|known| known == band) {
                return Err(ColumnNameError::UnknownBand {
                    column: column.clone(),
                    band: band.to_owned(),
                    bands: bands.to_vec(),
                });
            }
        }
        Ok(())
    }

    /// The columns that were mapped, and what the files call them.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.0.iter();
        given.map(|(column, name)| (column.as_str(), name.as_str()))
    }

    /// The name of `column` in the files.
    pub fn in_file<'a>(&'a self, column: &'a str) -> &'a str {
        self.0.get(column).map_or(column, String::as_str)
    }
}

impl TryFrom<BTreeMap<String, String>> for ColumnNames {
    type Error = ColumnNameError;

    fn try_from(map: BTreeMap<String, String>) -> Result<ColumnNames, ColumnNameError> {
        ColumnNames::parse(map.iter().map(|(column, name)| format!("{column}={name}")))
    }
}

impl From<ColumnNames> for BTreeMap<String, String> {
    fn from(names: ColumnNames) -> Self {
        names.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_known_column_can_be_mapped_and_the_rest_stand_for_themselves() {
        let of_bands = ["mag_u", "mag_hsc-y", "flux_W1", "mw_transmission_g"];
        let known: Vec<&str> = KNOWN.into_iter().chain(of_bands).collect();
        for &column in &known {
            let names = ColumnNames::parse([format!(" {column} = x=y ")]).unwrap();
            assert_eq!(names.in_file(column), "x=y");
            for other in known.iter().filter(|other| **other != column) {
                assert_eq!(names.in_file(other), *other);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |mappings: &[&str]| ColumnNames::parse(mappings).unwrap_err().to_string();
        let form = "--column cutout: write COLUMN=NAME, as in --column cutout=image";
        assert_eq!(message(&["cutout"]), form);
        assert!(message(&["=image"]).contains("write COLUMN=NAME"));
        assert!(message(&["cutout= "]).contains("write COLUMN=NAME"));
        let unknown = message(&["image=cutout"]);
        assert!(unknown.contains("no column `image` to map") && unknown.contains("mag_z"));
        assert!(message(&["mag_=m"]).contains("no column `mag_` to map"));
        assert!(message(&["mag_a b=m"]).contains("no column `mag_a b` to map"));
        assert!(message(&["ra=a", "ra=b"]).contains("given twice"));
        assert!(message(&["ra=a", "ra=a"]).contains("given twice"));
        assert!(message(&["ra=a", "dec=a"]).contains("both `ra` and `dec`"));
    }

    #[test]
    fn a_band_that_the_model_does_not_know_is_named() {
        let check = |mapping: &str, bands: &[&str]| {
            let bands: Vec<String> = bands.iter().map(|band| (*band).to_owned()).collect();
            ColumnNames::parse([mapping]).unwrap().check_bands(&bands)
        };
        for mapping in ["mag_r=m", "flux_r=f", "mw_transmission_r=t", "cutout=c"] {
            assert_eq!(check(mapping, &["g", "r"]), Ok(()));
        }
        let error = check("flux_y=FLUX_Y", &["g", "r"]).unwrap_err().to_string();
        let expected =
            "--column flux_y=…: the model has no magnitude in y; its magnitudes are g, r";
        assert_eq!(error, expected);
    }

    #[test]
    fn settings_files_are_checked_alike() {
        let names: ColumnNames = serde_json::from_str(r#"{"cutout": "image"}"#).unwrap();
        assert_eq!(names.in_file("cutout"), "image");
        assert_eq!(
            serde_json::to_string(&names).unwrap(),
            r#"{"cutout":"image"}"#
        );
        let error = serde_json::from_str::<ColumnNames>(r#"{"image": "x"}"#).unwrap_err();
        assert!(error.to_string().contains("no column `image` to map"));
    }
}
