//! The quantiles that the predictions of an entry have, as its files hold them.
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use connectors::{ledger::Entry, part::Folder};
use serde::{Deserialize, Serialize};

use crate::metrics::{Distribution, INTERVALS};

/// The column of all quantiles.
const LISTS: [&str; 1] = ["z_quantiles"];
/// The columns of the bounds of intervals, by ascending level.
const BOUNDS: [&str; 4] = ["z_low95", "z_low68", "z_high68", "z_high95"];

/// The quantiles of a row.
pub type RowQuantiles = Option<Box<[f32]>>;

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
        let [[low_68, high_68], [low_95, high_95]] = INTERVALS;
        let bounds = vec![low_95, low_68, high_68, high_95];
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
            Folder::Photoz => &BOUNDS,
            _ => &[],
        }
    }

    /// The quantiles of each row of a batch.
    ///
    /// # Errors
    /// The name of a column that is missing or has a wrong type.
    pub fn read(&self, batch: &RecordBatch, folder: Folder) -> Result<Vec<RowQuantiles>, String> {
        match self.columns(folder) {
            [] => Ok(vec![None; batch.num_rows()]),
            [lists] => self.of_lists(batch, lists),
            bounds => of_bounds(batch, bounds),
        }
    }

    fn of_lists(&self, batch: &RecordBatch, name: &str) -> Result<Vec<RowQuantiles>, String> {
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
        let row = |row: usize| {
            let is_there = lists.is_valid(row);
            is_there.then(|| values[row * width..][..width].into())
        };
        Ok((0..batch.num_rows()).map(row).collect())
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

fn of_bounds(batch: &RecordBatch, bounds: &[&str]) -> Result<Vec<RowQuantiles>, String> {
    let column = |name: &&str| {
        let column = batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Float32Type>());
        column.ok_or_else(|| format!("there is no column {name} of Float32"))
    };
    let columns = bounds.iter().map(column);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |row: usize| {
        let value = |column: &&arrow::array::Float32Array| match column.is_valid(row) {
            true => column.value(row),
            false => f32::NAN,
        };
        let values: Box<[f32]> = columns.iter().map(value).collect();
        let is_there = values.iter().any(|value| !value.is_nan());
        is_there.then_some(values)
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
