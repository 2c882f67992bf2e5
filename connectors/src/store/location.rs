//! Opens the store of a URL, and addresses objects below a prefix in it.
//!
//! | URL | store | credentials |
//! |---|---|---|
//! | `s3://bucket/prefix` | Amazon S3 and compatible stores | `AWS_…`: keys, web identity, container and instance roles, `AWS_PROFILE`, `AWS_SKIP_SIGNATURE`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` |
//! | `gs://bucket/prefix` | Google Cloud Storage | `GOOGLE_…`: service account, application default, `GOOGLE_SKIP_SIGNATURE` |
//! | `az://container/prefix` | Azure Blob Storage | `AZURE_STORAGE_…`: account and key, SAS, service principal, managed identity |
//! | `file:///path`, `path` | local files | |
use std::{
    fmt,
    path::{Component, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use object_store::{
    GetResult, ObjectStore, ObjectStoreExt, PutMode, PutPayload, list::PaginatedListStore,
    local::LocalFileSystem, path::Path,
};

use crate::{
    Error,
    store::{
        environment,
        options::StoreOptions,
        scheme::{check_bucket, check_components, kind_of, redacted, scheme},
    },
};

/// A place in a store: every object of a catalog or of an output lies below it.
#[derive(Clone)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The prefix of every object.
    pub prefix: Path,
    /// The URL without a slash at its end, for messages.
    pub url: String,
    /// The folder, if the place is on this machine.
    pub folder: Option<PathBuf>,
    /// The same store, if it can list page by page.
    pub pages: Option<Arc<dyn PaginatedListStore>>,
}

/// The body of an answer. Fails if a part is missing, because half of a JSON file would look like a damaged file.
async fn whole_body(answer: GetResult) -> object_store::Result<Bytes> {
    let promised = answer.range.end - answer.range.start;
    let bytes = answer.bytes().await?;
    if bytes.len() as u64 == promised {
        return Ok(bytes);
    }
    Err(object_store::Error::Generic {
        store: "object",
        source: format!("answered {} bytes of {promised}", bytes.len()).into(),
    })
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Location {
    /// Opens the store that a URL names. No request is made yet.
    ///
    /// # Errors
    /// [`Error::Url`] if the URL or an option cannot be understood.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self, Error> {
        let bad = |reason: String| Error::Url {
            url: redacted(url),
            reason,
        };
        let Some(scheme) = scheme(url)? else {
            return Self::local(url, url);
        };
        let Some(kind) = kind_of(scheme) else {
            let parsed = url::Url::parse(url).ok();
            let parsed =
                parsed.filter(|parsed| parsed.query().is_none() && parsed.fragment().is_none());
            let path = parsed.and_then(|parsed| parsed.to_file_path().ok());
            let path = path
                .ok_or_else(|| bad("not a path of this machine; write file:///path".to_owned()))?;
            return Self::local(url, &path.display().to_string());
        };
        let rest = &url[scheme.len() + "://".len()..];
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(kind, bucket, key).map_err(bad)?;
        let (store, pages) = environment::open(kind, url, options).map_err(bad)?;
        let prefix =
            Path::parse(key.trim_end_matches('/')).map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            store,
            prefix,
            url: url.trim_end_matches('/').to_owned(),
            folder: None,
            pages,
        })
    }

    /// A place on the local file system.
    fn local(url: &str, path: &str) -> Result<Self, Error> {
        let bad = |reason: String| Error::Url {
            url: redacted(url),
            reason,
        };
        if path.is_empty() {
            return Err(bad("an empty path; give a folder or a URL".to_owned()));
        }
        let path = std::path::absolute(path).map_err(|error| bad(error.to_string()))?;
        let path = without_parents(&path);
        check_components(&path.display().to_string()).map_err(bad)?;
        let prefix = Path::from_absolute_path(&path).map_err(|error| bad(error.to_string()))?;
        // Without a slash at the end.
        let path = PathBuf::from("/").join(prefix.as_ref());
        Ok(Self {
            store: Arc::new(LocalFileSystem::new()),
            prefix,
            url: path.display().to_string(),
            folder: Some(path),
            pages: None,
        })
    }

    /// The path of an object or folder below this place. `relative` has `/` between its parts, as in the store.
    ///
    /// # Errors
    /// [`Error::Url`] if a part is empty or `..`, which stores refuse.
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

    /// Makes sure that a folder of this machine exists. Other stores have no folders, and there an empty prefix is no error.
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

    /// Creates an object. Returns `false` if an object of that name exists.
    ///
    /// # Errors
    /// Errors of the store, or [`Error::NotWritten`].
    pub async fn create(
        &self,
        relative: &str,
        bytes: impl Into<PutPayload>,
    ) -> Result<bool, Error> {
        let (path, payload): (Path, PutPayload) = (self.path(relative)?, bytes.into());
        let bytes = payload.content_length() as u64;
        let put = self.store.put_opts(&path, payload, PutMode::Create.into());
        match put.await {
            Ok(_) => match self.find(relative).await?.map(|meta| meta.size) {
                Some(found) if found == bytes => Ok(true),
                found => Err(self.not_written(relative, found, bytes)),
            },
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(source) => Err(Error::store(self.url_of(relative), source)),
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn read(&self, relative: &str) -> Result<Bytes, Error> {
        let answer = self.store.get(&self.path(relative)?).await;
        let read = match answer {
            Ok(answer) => whole_body(answer).await,
            Err(source) => Err(source),
        };
        read.map_err(|source| Error::store(self.url_of(relative), source))
    }

    /// Reads an object. Returns `None` if there is no object of that name.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn read_if_there(&self, relative: &str) -> Result<Option<Bytes>, Error> {
        match self.read(relative).await {
            Err(Error::NotFound {
                source: object_store::Error::NotFound { .. },
                ..
            }) => Ok(None),
            read => read.map(Some),
        }
    }

    /// The URL of an object below this place, for messages.
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

    /// Whether the two places are the same, or one lies in the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.key(), other.key());
        ours.starts_with(&theirs) || theirs.starts_with(&ours)
    }

    /// The store and the prefix, independent of the spelling of the URL.
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

/// Resolves the links of a path, as far as the path exists.
fn resolved(path: &std::path::Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Resolves `..` in a path. Above a link, `..` is the parent of the folder that the link points to.
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
