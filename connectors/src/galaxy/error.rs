//! Why a file's schema is refused.

use arrow::error::ArrowError;

/// A file whose schema is not a galaxy catalog's. The caller adds which file it was.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Columns that the model or the catalog cannot do without.
    #[error(
        "no column {}; the file has {}. Where a column goes by another name, say so: --column {}=NAME",
        quoted(missing), quoted(found), missing.first().and_then(|name| name.split('=').next()).unwrap_or("cutout")
    )]
    Missing {
        /// All that are missing, by the names this project gives them.
        missing: Vec<String>,
        /// All columns of the file.
        found: Vec<String>,
    },

    /// A column of a type, or of a size, that cannot be taken.
    #[error("column `{column}` is {found}, and must be {expected}")]
    Type {
        /// The column's name in the file.
        column: String,
        /// What the file has.
        found: String,
        /// What would do.
        expected: String,
    },

    /// A column that stands in the object's path and not in the file.
    #[error(
        "column `{column}` is only in the path, as the folder `{column}={value}`, and paths are not read: write the column into the files, or rename the folder"
    )]
    InPath {
        /// The column's name.
        column: String,
        /// What the path says of it.
        value: String,
    },

    /// Two columns with one name: which is meant, cannot be said.
    #[error("column `{column}` stands in the file more than once: rename or drop one of them")]
    Ambiguous {
        /// The column's name in the file.
        column: String,
    },

    /// `--keep` of a column that is not there.
    #[error(
        "no column `{column}` to keep; the file has {}. Mend --keep, or leave it out",
        quoted(found)
    )]
    KeepMissing {
        /// The column asked for.
        column: String,
        /// All columns of the file.
        found: Vec<String>,
    },

    /// `--keep` of a column whose name the output uses.
    #[error("--keep {column}: the output has a column of that name already, {reason}")]
    KeepReserved {
        /// The column asked for.
        column: String,
        /// Whose name it is.
        reason: &'static str,
    },

    /// `--keep` of a column twice.
    #[error("--keep {column} is given twice: leave one out")]
    KeepTwice {
        /// The column asked for.
        column: String,
    },

    /// A batch that has not the columns this layout was made for: it is another file's.
    #[error("the batch has {found}, where the file's schema promised {expected}")]
    Batch {
        /// What the batch has.
        found: String,
        /// What the layout reads.
        expected: String,
    },

    /// Arrow could not convert a column.
    #[error("column `{column}` cannot be converted")]
    Convert {
        /// The column's name in the file.
        column: String,
        /// What Arrow said.
        #[source]
        source: ArrowError,
    },
}

/// Names in backquotes, with commas between.
pub(super) fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
