//! Tells URLs from paths, and removes secrets from URLs before they are printed.
use crate::Error;

/// The service behind a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    S3,
    Google,
    Azure,
}

/// The known schemes of URLs and their stores. `None` is the local file system.
const SCHEMES: [(&str, Option<StoreKind>); 8] = [
    ("s3", Some(StoreKind::S3)),
    ("s3a", Some(StoreKind::S3)),
    ("gs", Some(StoreKind::Google)),
    ("az", Some(StoreKind::Azure)),
    ("azure", Some(StoreKind::Azure)),
    ("abfs", Some(StoreKind::Azure)),
    ("abfss", Some(StoreKind::Azure)),
    ("file", None),
];
/// Schemes of other tools. A path that begins with such a scheme is a mistyped URL.
const OTHER_SCHEMES: [&str; 18] = [
    "s3n", "gcs", "hdfs", "viewfs", "webhdfs", "wasb", "wasbs", "adl", "dbfs", "oss", "cos",
    "http", "https", "ftp", "ftps", "sftp", "ssh", "memory",
];

/// The scheme of a URL, or `None` for a path of this machine.
///
/// # Errors
/// [`Error::Url`] for an unknown or mistyped URL. `s3:/bucket`, which is how Python prints `Path("s3://bucket")`, is a
/// mistyped URL and not a folder `s3:`.
pub fn scheme(url: &str) -> Result<Option<&str>, Error> {
    let bad = |reason: String| Error::Url {
        url: redacted(url),
        reason,
    };
    let known = "known are s3, gs, az, file and plain paths";
    let (head, rest) = url.split_once(':').unwrap_or(("", url));
    let lower = head.trim().to_ascii_lowercase();
    let is_scheme = head.starts_with(|c: char| c.is_ascii_alphabetic())
        && head
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if is_scheme && rest.starts_with("//") {
        let ours = SCHEMES.iter().find(|(scheme, _)| *scheme == lower);
        return match ours {
            None => Err(bad(format!("unknown scheme {head} of a URL; {known}"))),
            Some(_) if head != lower => Err(bad(format!("write {lower}:// in lower case"))),
            Some(_) if url.contains(char::is_control) => Err(bad(
                "it holds a line break or another control character".to_owned(),
            )),
            Some((scheme, _)) => Ok(Some(*scheme)),
        };
    }
    let is_meant = is_scheme && (rest.starts_with('/') || is_known(&lower));
    if is_meant && is_ours(&lower) {
        let slashes = if lower == "file" { "///" } else { "//" };
        return Err(bad(format!(
            "a URL has two slashes after its scheme; write {lower}:{slashes}{}",
            redacted(rest.trim_start_matches('/'))
        )));
    }
    if is_meant {
        return Err(bad(format!("unknown scheme {head} of a URL; {known}")));
    }
    if url.contains("://") {
        return Err(bad(
            "a URL begins with its scheme; write s3://bucket/prefix".to_owned(),
        ));
    }
    check_components(url).map_err(bad)?;
    Ok(None)
}

/// The kind of store of a scheme, or `None` for files of this machine.
pub(crate) fn kind_of(scheme: &str) -> Option<StoreKind> {
    let known = SCHEMES.iter().find(|(known, _)| *known == scheme);
    known.and_then(|(_, kind)| *kind)
}

fn is_ours(scheme: &str) -> bool {
    SCHEMES.iter().any(|(known, _)| *known == scheme)
}

fn is_known(scheme: &str) -> bool {
    is_ours(scheme) || OTHER_SCHEMES.contains(&scheme)
}

/// Refuses a path with a folder such as `s3:`. It was a URL before a tool turned it into a path.
pub(crate) fn check_components(path: &str) -> Result<(), String> {
    let folder = path.split('/').find(|part| {
        let scheme = part.trim().strip_suffix(':');
        scheme.is_some_and(|scheme| is_known(&scheme.to_ascii_lowercase()))
    });
    match folder {
        None => Ok(()),
        Some(folder) => Err(format!(
            "a path through a folder {folder:?}, which was a URL; write the URL with two slashes, as s3://bucket/prefix"
        )),
    }
}

/// Makes sure that a URL names a bucket, and that it holds no secrets and no parts that would be ignored.
pub(crate) fn check_bucket(kind: StoreKind, bucket: &str, key: &str) -> Result<(), String> {
    if bucket.is_empty() {
        return Err("it names no bucket; write s3://bucket/prefix".to_owned());
    }
    let is_signed = ["sig=", "signature=", "token="]
        .iter()
        .any(|secret| key.to_ascii_lowercase().contains(secret));
    if is_signed && key.contains('?') {
        return Err("a signed URL; give the bucket and the prefix alone, and the token in the variable of its store".to_owned());
    }
    // Azure's long form is container@account.dfs.core.windows.net.
    let parts = match kind {
        StoreKind::Azure => 2,
        StoreKind::S3 | StoreKind::Google => 1,
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-$".contains(c))
    };
    if bucket.split('@').count() > parts || !bucket.split('@').all(is_name) {
        return Err(
            "after :// comes the name of a bucket alone: no port, no user and no password"
                .to_owned(),
        );
    }
    Ok(())
}

/// A URL for messages, without passwords and tokens.
pub fn redacted(url: &str) -> String {
    let query = url.split_once('?').filter(|(_, query)| query.contains('='));
    let url = query.map_or(url.to_owned(), |(before, _)| format!("{before}?…"));
    let Some((before, host)) = url.rsplit_once('@') else {
        return url;
    };
    let after_scheme = before.find(":/").map_or(0, |at| at + 1);
    let user = before[after_scheme..].trim_start_matches('/');
    let scheme = &before[..before.len() - user.len()];
    if user.contains(':') || scheme.starts_with("http") {
        return format!("{scheme}…@{host}");
    }
    url
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Error, Location};

    /// `str(Path("s3://sky"))` in Python is `s3:/sky`, which was taken for a folder.
    #[test]
    fn what_is_meant_as_a_url_is_no_folder() {
        for url in [
            "s3:/sky/photoz",
            "S3:/sky",
            "s3:sky",
            "file:/data",
            "gs:/sky",
            "az:/sky",
            "hdfs:/sky",
            "hdfs://name/sky",
            "myfs:/sky",
            "S3://sky/x",
            " s3://sky/x",
            "./s3:/sky",
            "/home/me/s3:/sky/photoz",
            "/home/me/s3://sky/photoz",
            "file:///home/me/s3:/sky",
            "file://data/x",
            "file:///data?x",
            "s3:///prefix",
            "s3://sky:9000/x",
            "s3://sky\n/x",
        ] {
            let error = Location::open(url, &[]).unwrap_err();
            assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
        }
        for path in ["/data/2024-01-01T00:00:00", "a:b/c", "./night:1"] {
            assert!(
                Location::open(path, &[]).unwrap().folder.is_some(),
                "{path}"
            );
        }
        let error = Location::open("s3:/sky/photoz", &[]).unwrap_err();
        assert!(
            error.to_string().contains("write s3://sky/photoz"),
            "{error}"
        );
    }

    fn refusal(url: &str, name: &str, value: &str) -> String {
        let options = [(name.to_owned(), value.to_owned())];
        let error = Location::open(url, &options).unwrap_err();
        assert!(matches!(error, Error::Url { .. }), "{error}");
        error.to_string()
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named() {
        for (url, name, value) in [
            ("s3://sky", "AWS_ENDPOINT_URL", "localhost:9000"),
            ("s3://sky", "AWS_ENDPOINT_URL_S3", "localhost:9000"),
            ("s3://sky", "AWS_ENDPOINT_URL_S3", "ftp://host"),
            ("s3://sky", "AWS_ENDPOINT_URL", "http://"),
            ("s3://sky", "AWS_ENDPOINT_URL", "http://host:9000?x=1"),
            ("s3://sky", "AWS_ENDPOINT_URL", "http://user:secret@host"),
            ("s3://sky", "AWS_ENDPOINT_URL", "user:secret@host:9000"),
            ("s3://sky", "AWS_ENDPOINT_URL_STS", "sts"),
            ("s3://sky", "AWS_REGION", "us east"),
            ("s3://sky", "AWS_SESSION_TOKEN", "secret\n"),
            ("s3://sky", "AWS_ACCESS_KEY_ID", "only-this"),
            ("s3://sky", "AWS_SKIP_SIGNATURE", "maybe"),
            ("s3://sky", "AWS_TIMEOUT", "long"),
            ("gs://sky", "GOOGLE_BASE_URL", "localhost:4443"),
            ("gs://sky", "GOOGLE_SERVICE_ACCOUNT", "/no/such/file"),
            ("gs://sky", "GOOGLE_SKIP_SIGNATURE", "maybe"),
            (
                "abfs://c@a.dfs.core.windows.net",
                "AZURE_STORAGE_ENDPOINT",
                "localhost:10000",
            ),
            (
                "abfs://c@a.dfs.core.windows.net",
                "AZURE_STORAGE_SAS_KEY",
                "secret",
            ),
            (
                "abfs://c@a.dfs.core.windows.net",
                "AZURE_SKIP_SIGNATURE",
                "maybe",
            ),
        ] {
            let error = refusal(url, &name.to_ascii_lowercase(), value);
            assert!(error.contains(name), "{name}={value}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_empty_variable_is_unset_and_plain_http_needs_no_switch() {
        for (url, name, value) in [
            ("s3://sky", "aws_endpoint_url", ""),
            ("s3://sky", "aws_endpoint_url_s3", ""),
            ("s3://sky", "aws_access_key_id", ""),
            ("s3://sky", "aws_skip_signature", ""),
            ("s3://sky", "aws_profile", ""),
            ("s3://sky", "aws_endpoint_url_s3", "http://localhost:9000"),
            ("gs://sky", "google_base_url", ""),
            ("gs://sky", "google_service_account", ""),
            (
                "abfs://c@a.dfs.core.windows.net",
                "azure_storage_endpoint",
                "",
            ),
            (
                "abfs://c@a.dfs.core.windows.net",
                "azure_storage_sas_key",
                "",
            ),
        ] {
            Location::open(url, &[(name.to_owned(), value.to_owned())]).unwrap();
        }
    }

    #[test]
    fn passwords_in_urls_are_not_printed() {
        for url in [
            "s3://key:secret@sky/x",
            "s3:/key:secret@sky/x",
            "https://secret@host/x",
            "https://user:se/secret@host/x",
            "az://c/x?sv=1&sig=secret",
            "ftp://user:secret@host",
            "user:secret@host:9000/x://",
        ] {
            let error = Location::open(url, &[]).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
