//! Whether two answers of a store are about the same content: by ETag, else by date.
//!
//! Stores differ in how they write one ETag: with quotes or without, marked as weak or not. A store that gives no ETag
//! at all gives a date, which stands in for the ETag as `modified <seconds>`.
use object_store::ObjectMeta;

/// What a date begins with where it stands in for an ETag.
const DATE: &str = "modified ";

/// The ETag of an object, or its date where the store gives no ETag.
pub(crate) fn version(meta: &ObjectMeta) -> String {
    let given = meta
        .e_tag
        .as_deref()
        .filter(|etag| !content(etag).is_empty());
    // Whole seconds: the header of an answer knows no smaller unit.
    let date = || format!("{DATE}{}", meta.last_modified.timestamp());
    given.map_or_else(date, str::to_owned)
}

/// Whether a version is a store's own ETag.
pub(crate) fn is_etag(version: &str) -> bool {
    !version.starts_with(DATE)
}

/// Whether two versions are of different content. A date says nothing about an ETag.
pub fn differ(a: &str, b: &str) -> bool {
    is_etag(a) == is_etag(b) && content(a) != content(b)
}

/// An ETag without its quotes and without the mark of a weak one.
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
