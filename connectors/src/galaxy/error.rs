//! The reasons why the schema of a file is refused.

use arrow::error::ArrowError;

/// The reason why the schema of a file is refused. The caller adds the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Columns are missing that the model or the catalog needs.
    #[error(
        "no column {}; the file has {}. {}{}If a column has a different name there, give it: --column {}=NAME",
        quoted(missing), quoted(found), said_of_given(missing), said_of_fluxes(fluxes), missing.first().and_then(|name| name.split('=').next()).unwrap_or("cutout")
    )]
    Missing {
        /// All missing columns, by their names in this project.
        missing: Vec<String>,
        /// All columns of the file.
        found: Vec<String>,
        /// Columns of fluxes that could take the place of missing magnitudes.
        fluxes: Vec<String>,
    },

    /// A column has a type or a size that is not accepted.
    #[error("column `{column}` is {found}, and must be {expected}")]
    Type {
        /// The column's name in the file.
        column: String,
        /// The type in the file.
        found: String,
        /// The types that are accepted.
        expected: String,
    },

    /// A column is in the path of the object and not in the file.
    #[error(
        "column `{column}` is only in the path, as the folder `{column}={value}`, and paths are not read: write the column into the files, or rename the folder"
    )]
    InPath {
        /// The column's name.
        column: String,
        /// The value in the path.
        value: String,
    },

    /// Two columns have the same name, so it is not clear which one to use.
    #[error("column `{column}` stands in the file more than once: rename or drop one of them")]
    Ambiguous {
        /// The column's name in the file.
        column: String,
    },

    /// A column of `--keep` is missing.
    #[error(
        "no column `{column}` to keep; the file has {}. Correct --keep, or leave it out",
        quoted(found)
    )]
    KeepMissing {
        /// The column.
        column: String,
        /// All columns of the file.
        found: Vec<String>,
    },

    /// A column of `--keep` has a name that the output uses.
    #[error("--keep {column}: the output has a column of that name already, {reason}")]
    KeepReserved {
        /// The column.
        column: String,
        /// The origin of that column of the output.
        reason: &'static str,
    },

    /// A column is in `--keep` twice.
    #[error("--keep {column} is given twice: leave one out")]
    KeepTwice {
        /// The column.
        column: String,
    },

    /// A batch has other columns than the file of the layout.
    #[error("the batch has {found}, where the file's schema promised {expected}")]
    Batch {
        /// The columns of the batch.
        found: String,
        /// The columns of the layout.
        expected: String,
    },

    /// Arrow could not convert a column.
    #[error("column `{column}` cannot be converted")]
    Convert {
        /// The column's name in the file.
        column: String,
        /// The error of Arrow.
        #[source]
        source: ArrowError,
    },
}

/// Says which names given by `--column` are not in the file.
fn said_of_given(missing: &[String]) -> String {
    let given = missing.iter().filter(|name| name.contains('='));
    let given: Vec<String> = given.map(|name| format!("--column {name}")).collect();
    match given.len() {
        0 => String::new(),
        1 => format!("{} names none of these. ", given[0]),
        _ => format!("{} name none of these. ", given.join(", ")),
    }
}

/// Says how fluxes take the place of missing magnitudes.
fn said_of_fluxes(fluxes: &[String]) -> String {
    if fluxes.is_empty() {
        return String::new();
    }
    format!(
        "It has fluxes ({}): to make magnitudes of them, give the magnitude of a flux of 1, --flux-zero-point 22.5 for nanomaggies, or 31.4 for nJy. ",
        quoted(fluxes)
    )
}

/// Lists names in backquotes, separated by commas.
pub(crate) fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
