//! A replayed catalog as an object store: each object is a file of the catalog, and a tail that is made when it is read.
use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use connectors::{Error as ConnectorsError, ObjectRef, etag};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, path::Path,
};

use super::catalog::{Object, ReplayedCatalog};

/// The name of the store in messages.
const STORE: &str = "replay";

/// A replayed catalog as an object store that can only be read.
#[derive(Clone, Debug)]
pub struct ReplayStore(pub Arc<ReplayedCatalog>);

impl fmt::Display for ReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({})", self.0.place.store)
    }
}

impl ReplayStore {
    async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(object) = self.0.find(self.0.relative(path)) else {
            return Err(Error::NotFound {
                path: path.to_string(),
                source: "no pass of the replay has it".into(),
            });
        };
        let meta = self.0.meta(object).map_err(failed)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            _ if options.head => 0..0,
            Some(range) => range.as_range(meta.size).map_err(failed)?,
            None => 0..meta.size,
        };
        let body = match self.body(object, range.clone()).await {
            Err(ConnectorsError::Changed { .. }) => None,
            Err(ConnectorsError::Store { source, .. }) => return Err(source),
            body => Some(body.map_err(failed)?),
        };
        Ok(answer(meta, range, body))
    }

    /// The bytes of a range of an object. [`ConnectorsError::Changed`] if the file is not as it was listed.
    async fn body(
        &self,
        object: Object,
        range: Range<u64>,
    ) -> Result<GetResultPayload, ConnectorsError> {
        let file = &self.0.original(object).object;
        let of_file = range.start..range.end.min(file.bytes);
        if range.end <= file.bytes && !range.is_empty() {
            // As the store has it: a file of this machine is read at once.
            return Ok(self.of_file(file, of_file).await?.payload);
        }
        let mut pieces = Vec::new();
        if !of_file.is_empty() {
            let answer = self.of_file(file, of_file).await?;
            pieces.push(
                answer
                    .bytes()
                    .await
                    .map_err(|source| self.store_failed(file, source))?,
            );
        }
        if range.end > file.bytes {
            let tail = self.0.tail(object).await?;
            let range = range.start.max(file.bytes)..range.end;
            let made = tail.read(range, self.0.first_id(object));
            pieces.extend(made.map_err(|error| self.0.corrupt(object, &error))?);
        }
        Ok(stream_of(pieces))
    }

    async fn of_file(
        &self,
        file: &ObjectRef,
        range: Range<u64>,
    ) -> Result<GetResult, ConnectorsError> {
        let (place, options) = (
            &self.0.place,
            GetOptions {
                range: Some(GetRange::Bounded(range)),
                ..Default::default()
            },
        );
        let answer = place
            .store
            .get_opts(&place.path(&file.path)?, options)
            .await
            .map_err(|source| self.store_failed(file, source))?;
        let found = etag::version(&answer.meta);
        let is_other = |listed: &String| etag::differ(listed, &found);
        if file.etag.as_ref().is_some_and(is_other) || answer.meta.size != file.bytes {
            return Err(ConnectorsError::Changed {
                object: place.url_of(&file.path),
            });
        }
        Ok(answer)
    }

    fn store_failed(&self, file: &ObjectRef, source: Error) -> ConnectorsError {
        ConnectorsError::Store {
            object: self.0.place.url_of(&file.path),
            source,
        }
    }
}

/// An answer. Without a body it says by another ETag that the object has changed.
fn answer(mut meta: ObjectMeta, range: Range<u64>, body: Option<GetResultPayload>) -> GetResult {
    if body.is_none() {
        meta.e_tag = Some("\"changed\"".to_owned());
    }
    GetResult {
        payload: body.unwrap_or_else(|| stream_of(Vec::new())),
        meta,
        range,
        attributes: Default::default(),
        extensions: Default::default(),
    }
}

fn stream_of(pieces: Vec<Bytes>) -> GetResultPayload {
    GetResultPayload::Stream(stream::iter(pieces).map(Ok).boxed())
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: STORE,
        source: error.into(),
    }
}

fn read_only() -> Error {
    Error::NotSupported {
        source: "a replay cannot be written to".into(),
    }
}

// The signatures that `async_trait` generates. This project does not depend on `async_trait`.
impl ObjectStore for ReplayStore {
    fn put_opts<'s, 'l, 'f>(
        &'s self,
        _location: &'l Path,
        _payload: PutPayload,
        _options: PutOptions,
    ) -> BoxFuture<'f, Result<PutResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        std::future::ready(Err(read_only())).boxed()
    }

    fn put_multipart_opts<'s, 'l, 'f>(
        &'s self,
        _location: &'l Path,
        _options: PutMultipartOptions,
    ) -> BoxFuture<'f, Result<Box<dyn MultipartUpload>>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        std::future::ready(Err(read_only())).boxed()
    }

    fn get_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        options: GetOptions,
    ) -> BoxFuture<'f, Result<GetResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        self.get(location, options).boxed()
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        locations.map(|_| Err(read_only())).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.unwrap_or(&self.0.place.prefix);
        // Folders above the catalog hold the catalog alone.
        let folder = match folder.prefix_matches(&self.0.place.prefix) {
            true => self.0.relative(folder),
            false if self.0.place.prefix.prefix_matches(folder) => "",
            false => return stream::empty().boxed(),
        };
        let catalog = self.0.clone();
        let meta = move |object| catalog.meta(object).map_err(failed);
        stream::iter(self.0.below(folder)).map(meta).boxed()
    }

    fn list_with_delimiter<'s, 'p, 'f>(
        &'s self,
        prefix: Option<&'p Path>,
    ) -> BoxFuture<'f, Result<ListResult>>
    where
        's: 'f,
        'p: 'f,
        Self: 'f,
    {
        let prefix = prefix.cloned().unwrap_or_default();
        let mut listed = self.list(Some(&prefix));
        let children = async move {
            let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
            while let Some(object) = listed.try_next().await? {
                let parts = object.location.prefix_match(&prefix);
                let parts: Vec<_> = parts.into_iter().flatten().take(2).collect();
                match parts.as_slice() {
                    [folder, _] => drop(folders.insert(prefix.clone().join(folder.clone()))),
                    _ => objects.push(object),
                }
            }
            Ok(ListResult {
                common_prefixes: folders.into_iter().collect(),
                objects,
                extensions: Default::default(),
            })
        };
        children.boxed()
    }

    fn copy_opts<'s, 'a, 'b, 'f>(
        &'s self,
        _from: &'a Path,
        _to: &'b Path,
        _options: CopyOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        std::future::ready(Err(read_only())).boxed()
    }
}
