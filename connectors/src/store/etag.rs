//! Compares the content of two answers of a store by ETag, or by date if there is no ETag.
//!
//! The same ETag may come with or without quotes, and with or without the mark of a weak ETag. If a store gives no ETags,
//! the date is used as `modified <seconds>`.
use object_store::ObjectMeta;

/// The prefix of a date that is used in place of an ETag.
const DATE: &str = "modified ";

/// The ETag of an object, or its date if the store gives no ETag.
pub fn version(meta: &ObjectMeta) -> String {
    let given = meta
        .e_tag
        .as_deref()
        .filter(|etag| !content(etag).is_empty());
    // Whole seconds, because the header of an answer has no smaller unit.
    let date = || format!("{DATE}{}", meta.last_modified.timestamp());
    given.map_or_else(date, str::to_owned)
}

/// Whether a version is an ETag and not a date.
pub(crate) fn is_etag(version: &str) -> bool {
    !version.starts_with(DATE)
}

/// Whether two versions belong to different content. A date and an ETag cannot be compared, and count as the same.
pub fn differ(a: &str, b: &str) -> bool {
    is_etag(a) == is_etag(b) && content(a) != content(b)
}

/// An ETag without quotes and without the mark of a weak ETag.
fn content(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::{content, differ};

    // NetApp lists ETags without quotes and answers with them, so every drop failed as changed.
    #[test]
    fn etags_are_compared_by_content() {
        assert!(!differ("abc-1", "\"abc-1\""));
        assert!(!differ("W/\"abc-1\"", "abc-1"));
        assert!(differ("\"abc-1\"", "\"abc-2\""));
        assert_eq!(content("\"\""), "");
    }

    #[test]
    fn dates_stand_in_for_etags_that_are_not_given() {
        assert!(differ("modified 17", "modified 18"));
        assert!(!differ("modified 17", "modified 17"));
        assert!(!differ("modified 17", "\"abc\""));
    }
}
