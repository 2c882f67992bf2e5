//! Checks constants of the network that are attributes and not tensors: other values would give other redshifts.

use super::tensors::ImportedTensors;

/// Checks the epsilon of each normalisation, if the modules tell it.
pub(super) fn check(imported: &ImportedTensors) -> Result<(), String> {
    for (name, &number) in &imported.numbers {
        if expected(name).is_some_and(|eps| (number - eps).abs() > 1e-3 * eps) {
            return Err(format!(
                "its {name} is {number}; AstroMAE has 1e-6 in the encoder's norms and 1e-5 in those of batches"
            ));
        }
    }
    Ok(())
}

/// The value that AstroMAE has for this attribute, if it is an epsilon.
fn expected(name: &str) -> Option<f64> {
    let module = name.strip_suffix(".eps")?;
    let ends = |ends: &[&str]| ends.iter().any(|end| module.ends_with(end));
    if ends(&["norm1", "norm2", "fc_norm"]) {
        Some(1e-6)
    } else {
        ends(&[".bn", ".PCM.1"]).then_some(1e-5)
    }
}
