//! From an URL to a store and a prefix in it.
//!
//! | URL | store | credentials |
//! |---|---|---|
//! | `s3://bucket/prefix` | Amazon S3 and all that speak it | `AWS_…`: keys, web identity, container and instance roles, `AWS_PROFILE`, `AWS_SKIP_SIGNATURE`, `AWS_ENDPOINT_URL` |
//! | `gs://bucket/prefix` | Google Cloud Storage | `GOOGLE_…`: service account, application default, `GOOGLE_SKIP_SIGNATURE` |
//! | `az://container/prefix` | Azure Blob Storage | `AZURE_STORAGE_…`: account and key, SAS, service principal, managed identity |
//! | `file:///path`, `path` | local files | |
use std::{
    fmt,
    path::{Component, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    ClientOptions, ObjectStore, PutMode, PutPayload, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    path::Path,
};

use crate::{Error, aws_profile};

/// Options of stores by their lower-case names, as `aws_endpoint_url`: what the environment says, handed in by the caller.
pub type StoreOptions = [(String, String)];

/// A place in a store: every object of a catalog or of an output lies below it.
#[derive(Clone)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The prefix of every object.
    pub prefix: Path,
    /// The URL without a slash at its end, for messages.
    pub url: String,
    /// The folder, where it is one of this machine.
    pub folder: Option<PathBuf>,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Location {
    /// Opens the store an URL names. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// [`Error::Url`] where the URL or an option cannot be understood.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self, Error> {
        let bad = |reason: String| Error::Url {
            url: url.to_owned(),
            reason,
        };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Self::local(url, url);
        };
        let key = rest
            .split_once('/')
            .map_or("", |(_bucket, key)| key)
            .trim_end_matches('/');
        let store: Arc<dyn ObjectStore> = match scheme {
            "file" => {
                let path = url::Url::parse(url)
                    .ok()
                    .and_then(|parsed| parsed.to_file_path().ok());
                let path = path
                    .ok_or_else(|| bad("no path of this machine; write file:///path".to_owned()))?;
                return Self::local(url, &path.display().to_string());
            }
            "s3" | "s3a" => Arc::new(s3(url, options).map_err(|error| bad(error.to_string()))?),
            "gs" => Arc::new(gcs(url, options).map_err(|error| bad(error.to_string()))?),
            "az" | "azure" | "abfs" | "abfss" => {
                Arc::new(azure(url, options).map_err(|error| bad(error.to_string()))?)
            }
            other => {
                return Err(bad(format!(
                    "unknown scheme {other}; known are s3, gs, az, file and plain paths"
                )));
            }
        };
        let prefix = Path::parse(key).map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            store,
            prefix,
            url: url.trim_end_matches('/').to_owned(),
            folder: None,
        })
    }

    /// A place on the local file system.
    fn local(url: &str, path: &str) -> Result<Self, Error> {
        let bad = |reason: String| Error::Url {
            url: url.to_owned(),
            reason,
        };
        if path.is_empty() {
            return Err(bad("an empty path; name a folder or an URL".to_owned()));
        }
        let path = std::path::absolute(path).map_err(|error| bad(error.to_string()))?;
        let path = without_parents(&path);
        let prefix = Path::from_absolute_path(&path).map_err(|error| bad(error.to_string()))?;
        // Without a slash at the end.
        let path = PathBuf::from("/").join(prefix.as_ref());
        Ok(Self {
            store: Arc::new(LocalFileSystem::new()),
            prefix,
            url: path.display().to_string(),
            folder: Some(path),
        })
    }

    /// The path of an object or folder below this place; `relative` is as the store has it, with `/` between its parts.
    ///
    /// # Errors
    /// [`Error::Url`] where a part is one that stores refuse (`..`, an empty one).
    pub fn path(&self, relative: &str) -> Result<Path, Error> {
        let whole = if self.prefix.is_root() {
            relative.to_owned()
        } else {
            format!("{}/{relative}", self.prefix)
        };
        Path::parse(&whole).map_err(|error| Error::Url {
            url: self.url_of(relative),
            reason: error.to_string(),
        })
    }

    /// Makes sure that a folder of this machine is there: stores have no folders, and an empty prefix is no error.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn check_exists(&self) -> Result<(), Error> {
        let Some(path) = &self.folder else {
            return Ok(());
        };
        tokio::fs::metadata(path)
            .await
            .map(|_| ())
            .map_err(|error| Error::NotFound {
                object: self.url.clone(),
                source: object_store::Error::NotFound {
                    path: self.url.clone(),
                    source: error.into(),
                },
            })
    }

    /// Puts an object where there is none; whether it did.
    ///
    /// # Errors
    /// The store's.
    pub async fn create(
        &self,
        relative: &str,
        bytes: impl Into<PutPayload>,
    ) -> Result<bool, Error> {
        let path = self.path(relative)?;
        let put = self
            .store
            .put_opts(&path, bytes.into(), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(source) => Err(Error::store(self.url_of(relative), source)),
        }
    }

    /// What messages call an object below this place.
    pub fn url_of(&self, relative: &str) -> String {
        format!("{}/{relative}", self.url)
    }

    /// The part of an object's path that lies below this place.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a str {
        let whole = path.as_ref();
        whole
            .strip_prefix(self.prefix.as_ref())
            .map_or(whole, |rest| rest.trim_start_matches('/'))
    }

    /// Whether one of the two places lies in the other, or both are one.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.key(), other.key());
        ours.starts_with(&theirs) || theirs.starts_with(&ours)
    }

    /// The store and the prefix, however the URL spells them.
    fn key(&self) -> String {
        if let Some(folder) = &self.folder {
            return format!("{}/", resolved(folder).display());
        }
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let scheme = match scheme {
            "s3a" => "s3",
            "azure" | "abfs" | "abfss" => "az",
            other => other,
        };
        let bucket = rest.split('/').next().unwrap_or_default();
        let prefix = if self.prefix.is_root() {
            String::new()
        } else {
            format!("{}/", self.prefix)
        };
        format!("{scheme}:{bucket}/{prefix}")
    }
}

/// A path without links, as far as it exists.
fn resolved(path: &std::path::Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Requests are made again for half a minute; a body may take long on a slow line.
fn patience() -> (RetryConfig, ClientOptions) {
    let retry = RetryConfig {
        max_retries: 6,
        retry_timeout: Duration::from_secs(30),
        ..Default::default()
    };
    (
        retry,
        ClientOptions::new()
            .with_timeout(Duration::from_secs(300))
            .with_connect_timeout(Duration::from_secs(5)),
    )
}

/// A path without `..`: of a link, that is the folder above the one it leads to.
fn without_parents(path: &std::path::Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// The options that begin with `family`, without those the store does not know.
fn known<'a, K: std::str::FromStr>(
    options: &'a StoreOptions,
    family: &'a str,
) -> impl Iterator<Item = (K, &'a str)> + 'a {
    options
        .iter()
        .filter(move |(name, _)| name.starts_with(family))
        .filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str())))
}

/// An S3 server's endpoint; object_store panics where it cannot be asked over HTTP.
fn http(endpoint: &str) -> object_store::Result<url::Url> {
    let url = url::Url::parse(endpoint).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| object_store::Error::Generic {
        store: "S3",
        source: format!("AWS_ENDPOINT_URL is {endpoint:?}, and not like http://host:9000").into(),
    })
}

fn s3(url: &str, options: &StoreOptions) -> object_store::Result<impl ObjectStore> {
    let (retry, client) = patience();
    let options: Vec<(String, String)> = options
        .iter()
        .cloned()
        .chain(aws_profile::options(options))
        .collect();
    let endpoint = known::<AmazonS3ConfigKey>(&options, "aws_")
        .filter(|(key, _)| *key == AmazonS3ConfigKey::Endpoint)
        .last();
    let endpoint = endpoint.map(|(_, value)| http(value)).transpose()?;
    let plain_http = endpoint.is_some_and(|endpoint| endpoint.scheme() == "http");
    let builder = AmazonS3Builder::new()
        .with_url(url)
        .with_retry(retry)
        .with_client_options(client);
    let builder = known(&options, "aws_").fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    // Whoever names an http endpoint has decided: no second switch.
    if plain_http {
        builder.with_allow_http(true)
    } else {
        builder
    }
    .build()
}

fn gcs(url: &str, options: &StoreOptions) -> object_store::Result<impl ObjectStore> {
    let (retry, client) = patience();
    let builder = GoogleCloudStorageBuilder::new()
        .with_url(url)
        .with_retry(retry)
        .with_client_options(client);
    known(options, "google_")
        .fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        })
        .build()
}

fn azure(url: &str, options: &StoreOptions) -> object_store::Result<impl ObjectStore> {
    let (retry, client) = patience();
    let builder = MicrosoftAzureBuilder::new()
        .with_url(url)
        .with_retry(retry)
        .with_client_options(client);
    known(options, "azure_")
        .fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        })
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_a_place_on_this_machine() {
        let here = Location::open("/data/survey/", &[]).unwrap();
        assert_eq!(
            (here.prefix.as_ref(), here.url.as_str()),
            ("data/survey", "/data/survey")
        );
        assert_eq!(
            here.path("drop/a b.parquet").unwrap().as_ref(),
            "data/survey/drop/a b.parquet"
        );
        assert_eq!(
            here.relative(&Path::parse("data/survey/drop/x").unwrap()),
            "drop/x"
        );
    }

    #[test]
    fn an_s3_url_is_a_bucket_and_a_prefix() {
        let there = Location::open("s3://sky/dr17/cutouts/", &[]).unwrap();
        assert_eq!(
            (there.prefix.as_ref(), there.url.as_str()),
            ("dr17/cutouts", "s3://sky/dr17/cutouts")
        );
        assert!(Location::open("s3://sky", &[]).unwrap().prefix.is_root());
    }

    #[test]
    fn places_within_each_other_overlap() {
        let open = |url| Location::open(url, &[]).unwrap();
        assert!(open("/data/survey").overlaps(&open("/data/survey/out")));
        assert!(open("s3://a/b/c").overlaps(&open("s3://a/b")));
        assert!(open("file:///x").overlaps(&open("/x")));
        assert!(!open("s3://a/b").overlaps(&open("s3://a/bc")));
    }

    #[test]
    fn an_unknown_scheme_is_refused_by_name() {
        let error = Location::open("ftp://host/x", &[]).unwrap_err();
        assert!(error.to_string().contains("unknown scheme ftp"), "{error}");
    }
}
