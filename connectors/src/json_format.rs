//! JSON objects that name their format: entries of the ledger and metrics files.
use serde::{Deserialize, de::DeserializeOwned};

use crate::Error;

/// Parses a JSON object with a field `format`. The format is checked first, because the other fields of a newer format may
/// not be readable. `object` is the URL of the object, for messages; `broken` is the reason if the object cannot be parsed.
///
/// # Errors
/// - [`Error::Format`] if the format is newer than `known`
/// - [`Error::Ledger`] with the reason `broken` if the object cannot be parsed
pub fn parse<T: DeserializeOwned>(
    text: &[u8],
    object: &str,
    known: u32,
    broken: impl Fn(serde_json::Error) -> String,
) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    let object = || object.to_owned();
    let bad = |error| Error::Ledger {
        object: object(),
        reason: broken(error),
    };
    let FormatOnly { format: found } = serde_json::from_slice(text).map_err(bad)?;
    if found > known {
        return Err(Error::Format {
            object: object(),
            found,
            known,
        });
    }
    serde_json::from_slice(text).map_err(bad)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Named {
        name: String,
    }

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Number {
        format: u32,
        number: f64,
    }

    proptest! {
        /// So a later run computes the same bits as the run that wrote the file.
        #[test]
        fn a_number_that_is_read_is_the_number_that_was_written(
            number in any::<f64>().prop_filter("finite", |it| it.is_finite())
        ) {
            let written = Number { format: 1, number };
            let text = serde_json::to_vec(&written).unwrap();
            let read: Number = parse(&text, "s3://sky/object", 1, |error| error.to_string()).unwrap();
            prop_assert_eq!(read.number.to_bits(), number.to_bits());
        }
    }

    fn named(text: &str) -> Result<Named, Error> {
        parse(text.as_bytes(), "s3://sky/object", 1, |error| {
            format!("is broken: {error}")
        })
    }

    #[test]
    fn the_format_is_checked_before_the_other_fields() {
        let name = "night-1".to_owned();
        assert!(
            named(r#"{"format": 1, "name": "night-1"}"#).is_ok_and(|read| read == Named { name })
        );
        let newer = named(r#"{"format": 2, "name": 7}"#);
        assert!(matches!(
            newer,
            Err(Error::Format {
                found: 2,
                known: 1,
                ..
            })
        ));
        for broken in [r#"{"format": 1, "name": 7}"#, r#"{"name": "night-1"}"#, ""] {
            let refused = named(broken);
            assert!(
                matches!(refused, Err(Error::Ledger { ref reason, .. }) if reason.starts_with("is broken: "))
            );
        }
    }
}
