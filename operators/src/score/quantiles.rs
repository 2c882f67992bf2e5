//! The quantiles that the predictions of an entry have, as its files hold them.
use arrow::array::{Array, AsArray, Float32Array, RecordBatch};
use arrow::datatypes::Float32Type;
use connectors::{
    ledger::Entry,
    part::{Folder, INTERVAL_BOUNDS, Z_QUANTILES},
};
use serde::{Deserialize, Serialize};

use crate::metrics::Distribution;

/// The column of all quantiles.
const LISTS: [&str; 1] = [Z_QUANTILES];

/// The columns of the bounds of intervals and their levels, which ascend.
const BOUNDS: [(&str, f64); 4] = {
    let [low_68, high_68, low_95, high_95] = INTERVAL_BOUNDS;
    [low_95, low_68, high_68, high_95]
};
/// The columns of the bounds.
const BOUND_COLUMNS: [&str; 4] = [BOUNDS[0].0, BOUNDS[1].0, BOUNDS[2].0, BOUNDS[3].0];

/// The quantiles of the rows of an entry: all that the model gives or, if these are not stored, the bounds of intervals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredQuantiles {
    /// Their levels; empty if the model gives no quantiles.
    levels: Vec<f64>,
    is_whole: bool,
}

impl StoredQuantiles {
    /// The quantiles in the files of an entry.
    pub fn of(entry: &Entry) -> Self {
        let bounds = BOUNDS.map(|(_, level)| level).to_vec();
        let (given, is_whole) = (entry.levels(), entry.stores_quantiles());
        let levels = match given.is_empty() || is_whole {
            true => given,
            false => bounds,
        };
        Self { levels, is_whole }
    }

    /// The number of values of a row.
    pub fn width(&self) -> usize {
        self.levels.len()
    }

    /// The columns that hold the quantiles in a file of a folder.
    pub fn columns(&self, folder: Folder) -> &'static [&'static str] {
        match folder {
            Folder::Photoz if self.levels.is_empty() => &[],
            Folder::Photoz if self.is_whole => &LISTS,
            Folder::Photoz => &BOUND_COLUMNS,
            _ => &[],
        }
    }

    /// The quantiles of the rows of a batch, row after row; NaN stands for those of a row without. Empty if no row of the
    /// folder has quantiles.
    ///
    /// # Errors
    /// The name of a column that is missing or has a wrong type.
    pub fn read(&self, batch: &RecordBatch, folder: Folder) -> Result<Vec<f32>, String> {
        match self.columns(folder) {
            [] => Ok(Vec::new()),
            [lists] => self.of_lists(batch, lists),
            bounds => of_bounds(batch, bounds),
        }
    }

    fn of_lists(&self, batch: &RecordBatch, name: &str) -> Result<Vec<f32>, String> {
        let width = self.width();
        let lists = batch.column_by_name(name);
        let lists = lists.and_then(|column| column.as_fixed_size_list_opt());
        let lists = lists.filter(|lists| lists.value_length() as usize == width);
        let values = lists.and_then(|lists| {
            let values = lists.values().as_primitive_opt::<Float32Type>()?;
            Some((lists, values.values()))
        });
        let (lists, values) = values
            .ok_or_else(|| format!("there is no column {name} of lists of {width} of Float32"))?;
        let mut quantiles = values.to_vec();
        for (row, of_row) in quantiles.chunks_exact_mut(width).enumerate() {
            if lists.is_null(row) {
                of_row.fill(f32::NAN);
            }
        }
        Ok(quantiles)
    }

    /// The distribution of a row with these values.
    pub fn distribution<'a>(&'a self, quantiles: &'a [f32]) -> Distribution<'a> {
        Distribution {
            levels: &self.levels,
            quantiles,
            is_whole: self.is_whole,
        }
    }
}

fn of_bounds(batch: &RecordBatch, bounds: &[&str]) -> Result<Vec<f32>, String> {
    let column = |name: &&str| {
        let column = batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Float32Type>());
        column.ok_or_else(|| format!("there is no column {name} of Float32"))
    };
    let columns = bounds.iter().map(column);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let value = |row: usize, column: &Float32Array| match column.is_valid(row) {
        true => column.value(row),
        false => f32::NAN,
    };
    let rows = 0..batch.num_rows();
    let quantiles = rows.flat_map(|row| columns.iter().map(move |column| value(row, column)));
    Ok(quantiles.collect())
}
