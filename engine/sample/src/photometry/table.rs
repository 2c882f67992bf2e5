//! Reads a table of real galaxies.

use crate::error::SampleError;
use crate::galaxy::Galaxy;

/// Reads a table. `name` is the name of the table in messages.
pub(super) fn parse_rows(text: &str, name: &str) -> Result<Vec<Galaxy>, SampleError> {
    let fault = |line: usize, reason: String| SampleError::Photometry {
        name: name.to_owned(),
        line: line + 1,
        reason,
    };
    let mut lines = text.lines().enumerate();
    let header = lines
        .next()
        .and_then(|(_, line)| line.strip_prefix('#'))
        .ok_or_else(|| {
            fault(
                0,
                "the first line must begin with # and name the columns".into(),
            )
        })?;
    let names: Vec<&str> = header.split_whitespace().collect();
    let mut columns = [0; 6];
    for (column, wanted) in columns.iter_mut().zip(["u", "g", "r", "i", "z", "zs"]) {
        *column = names
            .iter()
            .position(|&found| found == wanted)
            .ok_or_else(|| {
                fault(
                    0,
                    format!("there is no column {wanted}; name the columns zs, u, g, r, i and z"),
                )
            })?;
    }
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| parse_galaxy(line, &columns).map_err(|reason| fault(number, reason)))
        .collect()
}

fn parse_galaxy(line: &str, columns: &[usize; 6]) -> Result<Galaxy, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let mut values = [0.0; 6];
    for (value, &column) in values.iter_mut().zip(columns) {
        let field = fields
            .get(column)
            .ok_or_else(|| format!("the line has only {} columns", fields.len()))?;
        *value = field
            .parse()
            .map_err(|_| format!("`{field}` is not a number"))?;
    }
    let [u, g, r, i, z, z_spec] = values;
    if let Some(mag) = [u, g, r, i, z]
        .iter()
        .find(|mag| !(5.0..35.0).contains(*mag))
    {
        return Err(format!("{mag} is not a magnitude: leave out such rows"));
    }
    if !(1e-4..10.0).contains(&z_spec) {
        return Err(format!(
            "{z_spec} is not a redshift above 0: leave out such rows"
        ));
    }
    Ok(Galaxy {
        mags: [u, g, r, i, z],
        z_spec,
    })
}
