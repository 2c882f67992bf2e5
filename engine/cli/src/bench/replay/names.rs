//! The names of the drops of a pass: `pass-000003-drop-0001` is `drop-0001` of the pass 3.

/// The number of passes that names can have.
pub const PASSES_MAX: u64 = 1_000_000;
const PREFIX: &str = "pass-";
const DIGITS: usize = 6;

/// The path in a pass of an object whose path in the catalog is given.
pub fn in_pass(pass: u64, path: &str) -> String {
    format!("{PREFIX}{pass:0DIGITS$}-{path}")
}

/// The pass and the path in the catalog that the path in a pass has. `None` if no pass has such a path.
pub fn parse(path: &str) -> Option<(u64, &str)> {
    let (number, path) = path.strip_prefix(PREFIX)?.split_at_checked(DIGITS)?;
    let is_number = number.bytes().all(|digit| digit.is_ascii_digit());
    Some((
        number.parse().ok().filter(|_| is_number)?,
        path.strip_prefix('-')?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_the_passes() {
        let mut names: Vec<String> = [0, 9, 10, 999_999].map(|pass| in_pass(pass, "z")).to_vec();
        names.push(in_pass(9, "a"));
        names.sort();
        let expected = [(0, "z"), (9, "a"), (9, "z"), (10, "z"), (999_999, "z")];
        let parsed = names.iter().map(|name| parse(name));
        assert!(parsed.eq(expected.map(Some)));
    }

    #[test]
    fn other_names_are_none_of_a_pass() {
        for name in [
            "",
            "pass-",
            "drop-0001",
            "pass-00001-a",
            "pass-+00001-a",
            "pass-000001a",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
