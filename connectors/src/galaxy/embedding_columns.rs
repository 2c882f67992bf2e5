//! What the schema of a file says about its embeddings, before a model asks for them.

use arrow::datatypes::{DataType, Schema};

use super::bands::is_name;
use super::columns::{self, ColumnNames, index_of};
use super::error::SchemaError;

/// The embeddings of a file, and the magnitudes beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingColumns {
    /// The number of components of an embedding.
    pub width: usize,
    /// The bands of the columns `mag_<band>`, in the order of the file.
    pub mags: Vec<String>,
}

impl EmbeddingColumns {
    /// Finds the columns. `None` if the file has no embeddings.
    ///
    /// # Errors
    /// [`SchemaError`] if the column of embeddings is there twice, or if its type does not say the width.
    /// ```
    /// use std::sync::Arc;
    /// use arrow::datatypes::{DataType, Field, Schema};
    /// use hubbleflow_connectors::galaxy::{ColumnNames, EmbeddingColumns};
    ///
    /// let value = Arc::new(Field::new("item", DataType::Float16, true));
    /// let schema = Schema::new(vec![
    ///     Field::new("embedding", DataType::FixedSizeList(value, 192), true),
    ///     Field::new("mag_g", DataType::Float32, true),
    ///     Field::new("mag_r", DataType::Float32, true),
    /// ]);
    /// let found = EmbeddingColumns::find(&schema, &ColumnNames::default())?.unwrap();
    /// assert_eq!((found.width, found.mags), (192, vec!["g".to_owned(), "r".to_owned()]));
    /// # Ok::<(), hubbleflow_connectors::galaxy::SchemaError>(())
    /// ```
    pub fn find(schema: &Schema, names: &ColumnNames) -> Result<Option<Self>, SchemaError> {
        let place = index_of(schema, names.in_file(columns::EMBEDDING))?;
        let field = place.map(|place| schema.field(place));
        let Some(field) = field.filter(|field| *field.data_type() != DataType::Null) else {
            return Ok(None);
        };
        let width = match field.data_type() {
            DataType::FixedSizeList(_, width) => usize::try_from(*width).unwrap_or(0),
            other => {
                return Err(SchemaError::Type {
                    column: field.name().clone(),
                    found: other.to_string(),
                    expected: "a fixed-size list of float16 or float32, to train on it".to_owned(),
                });
            }
        };
        let fields = schema.fields().iter();
        let numeric = fields.filter(|field| field.data_type().is_numeric());
        let mags = numeric.filter_map(|field| mag_band(field.name(), names));
        let mags = mags.filter(|band| is_name(band)).collect();
        Ok(Some(Self { width, mags }))
    }
}

/// The band of the column `name` of a file if it holds magnitudes.
fn mag_band(name: &str, names: &ColumnNames) -> Option<String> {
    let mut given = names.given();
    let column = given.find(|(_, in_file)| *in_file == name);
    let column = column.map_or(name, |(column, _)| column);
    column.strip_prefix(columns::MAG_OF).map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    fn list(of: fn(Arc<Field>) -> DataType) -> DataType {
        of(Arc::new(Field::new("item", DataType::Float32, true)))
    }

    #[test]
    fn columns_are_found_by_the_names_that_files_give_them() {
        let fields = vec![
            Field::new(
                "vector",
                list(|item| DataType::FixedSizeList(item, 3)),
                true,
            ),
            Field::new("R", DataType::Float64, true),
            Field::new("mag_i", DataType::Float32, true),
            Field::new("mag_system", DataType::Utf8, true),
        ];
        let schema = Schema::new(fields);
        let find = |names: &[&str]| {
            EmbeddingColumns::find(&schema, &ColumnNames::parse(names).unwrap()).unwrap()
        };
        assert_eq!(find(&[]), None);
        let found = find(&["embedding=vector", "mag_r=R"]).unwrap();
        assert_eq!(
            (found.width, found.mags),
            (3, vec!["r".to_owned(), "i".to_owned()])
        );
    }

    #[test]
    fn a_list_of_any_length_is_refused() {
        let schema = Schema::new(vec![Field::new("embedding", list(DataType::List), true)]);
        let refused = EmbeddingColumns::find(&schema, &ColumnNames::default()).unwrap_err();
        let says = "must be a fixed-size list of float16 or float32";
        assert!(refused.to_string().contains(says), "{refused}");
    }
}
