//! Names of bands, as a configuration gives them.

/// Upper bound on the bands of a model.
const BANDS_MAX: usize = 64;

/// Checks the names in the field `field`: not too many, each once, each a text without `/`, `=`, whitespace and control
/// characters.
pub(crate) fn check(field: &str, names: &[String]) -> Result<(), String> {
    if names.len() > BANDS_MAX {
        let found = names.len();
        return Err(format!(
            "`{field}` names {found} bands, more than {BANDS_MAX}"
        ));
    }
    for (place, name) in names.iter().enumerate() {
        let is_bad = |c: char| c == '/' || c == '=' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.contains(is_bad) {
            return Err(format!(
                "`{field}` has {name:?}, which is no name of a band: it must be a text without /, = and spaces, such as r"
            ));
        }
        if names[..place].contains(name) {
            return Err(format!("`{field}` names the band {name} twice"));
        }
    }
    Ok(())
}
