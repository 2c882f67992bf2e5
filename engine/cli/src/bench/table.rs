//! A table of names and values.

/// Writes a table of names and values.
pub(super) fn table(f: &mut std::fmt::Formatter<'_>, rows: &[(&str, String)]) -> std::fmt::Result {
    for (name, value) in rows {
        writeln!(f, "{name:<26} {value}")?;
    }
    Ok(())
}
