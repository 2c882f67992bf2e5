//! The names of columns in the files, as given by `--column cutout=image`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(super) const OBJECT_ID: &str = "object_id";
pub(super) const RA: &str = "ra";
pub(super) const DEC: &str = "dec";
pub(super) const CUTOUT: &str = "cutout";
pub(super) const MAG: &str = "mag";
pub(super) const MAGS: [&str; 5] = ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"];
pub(super) const Z_SPEC: &str = "z_spec";
pub(super) const DELETED: &str = "deleted";

/// All columns that can be mapped.
pub(super) const KNOWN: [&str; 12] = [
    OBJECT_ID, RA, DEC, CUTOUT, MAG, MAGS[0], MAGS[1], MAGS[2], MAGS[3], MAGS[4], Z_SPEC, DELETED,
];

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
    #[error("--column {column}=…: there is no column `{column}` to map; those there are: {}", KNOWN.join(", "))]
    Unknown {
        /// The name to the left of the `=`.
        column: String,
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
        if !KNOWN.contains(&column) {
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
        for column in KNOWN {
            let names = ColumnNames::parse([format!(" {column} = x=y ")]).unwrap();
            assert_eq!(names.in_file(column), "x=y");
            for other in KNOWN.iter().filter(|other| **other != column) {
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
        assert!(message(&["ra=a", "ra=b"]).contains("given twice"));
        assert!(message(&["ra=a", "ra=a"]).contains("given twice"));
        assert!(message(&["ra=a", "dec=a"]).contains("both `ra` and `dec`"));
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
