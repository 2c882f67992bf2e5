//! Finds the fields of a file by the names that a column may have.

use std::path::Path;

use crate::columns::usual_names;
use crate::error::ImportError;
use crate::named_arrays::NamedArrays;
use connectors::galaxy::mag_column;

/// The fields of the magnitudes.
pub(crate) enum MagFields {
    /// One array, `[n, band]`.
    Together(usize),
    /// An array for each band.
    Each(Vec<usize>),
}

/// Finds fields by the names that a column may have.
pub(crate) struct Finder<'a> {
    pub(crate) file: &'a Path,
    pub(crate) arrays: &'a NamedArrays,
    /// Columns and the fields that the user names for them. An empty name leaves the column out.
    pub(crate) names: &'a [(String, String)],
    /// The bands of the magnitudes.
    pub(crate) bands: &'a [String],
}

impl Finder<'_> {
    /// The error for a file that lacks a column.
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> ImportError {
        ImportError::columns(self.file, reason)
    }

    /// The field of a column, or `None` if the file does not have the column.
    pub(crate) fn find(&self, column: &str) -> Result<Option<usize>, ImportError> {
        let given = self.names.iter().rev().find(|(of, _)| of == column);
        if let Some((_, name)) = given {
            if name.is_empty() {
                return Ok(None);
            }
            let found = self.field(name)?;
            return found
                .map(Some)
                .ok_or_else(|| self.refuse(self.missing(column, name)));
        }
        for name in usual_names(column) {
            if let Some(field) = self.field(&name)? {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }

    /// The field of a column, or an error that says why the column is needed.
    pub(crate) fn need(&self, column: &str, why: &str) -> Result<usize, ImportError> {
        let names = || usual_names(column).join(", ");
        self.find(column)?.ok_or_else(|| {
            self.refuse(format!(
                "it has no field with a usual name of {column} ({}): {why}; it has {}; name a field with --column {column}=FIELD",
                names(),
                self.all()
            ))
        })
    }

    /// The fields of the magnitudes.
    pub(crate) fn mags(&self) -> Result<MagFields, ImportError> {
        if let Some(field) = self.find("mag")? {
            return Ok(MagFields::Together(field));
        }
        let why = format!(
            "magnitudes in {}, corrected for extinction, are needed (other bands: --bands; to import without magnitudes: --without mags)",
            self.bands.join(", ")
        );
        let bands = self.bands.iter();
        let fields = bands.map(|band| self.need(&mag_column(band), &why));
        Ok(MagFields::Each(fields.collect::<Result<_, _>>()?))
    }

    /// The field with a full name or, among fields of records, with a name of its own.
    fn field(&self, name: &str) -> Result<Option<usize>, ImportError> {
        let fields = self.arrays.fields.iter().map(|(name, _)| name.as_str());
        let whole = fields
            .clone()
            .position(|field| field.eq_ignore_ascii_case(name));
        if whole.is_some() {
            return Ok(whole);
        }
        let own = |field: &str| {
            let own = field.split_once('.').map(|(_, own)| own);
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        let mut found = fields.enumerate().filter(|(_, field)| own(field));
        match (found.next(), found.next()) {
            (Some((_, one)), Some((_, other))) => Err(self.refuse(format!(
                "`{name}` is ambiguous: {one} or {other}; name a field with --column COLUMN=FIELD"
            ))),
            (one, _) => Ok(one.map(|(place, _)| place)),
        }
    }

    /// The reason why a field that the user names is not found.
    fn missing(&self, column: &str, name: &str) -> String {
        let objects = self.arrays.objects.iter();
        match objects
            .into_iter()
            .find(|array| array.eq_ignore_ascii_case(name))
        {
            Some(array) => format!(
                "`{array}` holds Python objects, not numbers; convert it (array.astype) and save it again"
            ),
            None => format!(
                "there is no field {name} for {column}; it has {}",
                self.all()
            ),
        }
    }

    /// The fields of the file, as text.
    fn all(&self) -> String {
        let fields = self
            .arrays
            .fields
            .iter()
            .map(|(name, array)| format!("{name} ({} {:?})", array.dtype, array.shape));
        let objects = self.arrays.objects.iter();
        let objects = objects.map(|array| format!("{array} (Python objects, not read)"));
        fields.chain(objects).collect::<Vec<_>>().join(", ")
    }
}
