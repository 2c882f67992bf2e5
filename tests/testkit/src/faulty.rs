//! An object store whose requests fail on demand.
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use connectors::Location;
use futures::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream::BoxStream,
};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, path::Path,
};

use crate::seeded::Seeded;

/// A request before it is made.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The kind of the request.
    pub what: What,
    /// The path of the object; for a copy, the path of the target.
    pub path: &'a str,
}

/// The kinds of request that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Read an object or its metadata.
    Get,
    /// Write an object.
    Put,
    /// Copy an object.
    Copy,
    /// Delete an object.
    Delete,
    /// List objects.
    List,
}

/// The outcome of a request.
pub enum Fault {
    /// The request is carried out.
    None,
    /// The request is not carried out and fails.
    Refuse,
    /// The request is carried out, but its answer is lost.
    LoseAnswer,
    /// Only half of the body arrives.
    CutBody,
    /// The request overwrites the object that it should create.
    Overwrite,
    /// The write is not carried out, but the answer says that it is.
    Pretend,
    /// The future runs first. Then the request is carried out.
    After(BoxFuture<'static, ()>),
    /// The future runs first. Then the request fails, like a request that times out.
    RefuseAfter(BoxFuture<'static, ()>),
}

/// Random faults that depend only on the seed, not on the order of requests: about one request of ten is refused, loses its
/// answer, is cut short, is late or times out.
pub fn one_in_ten(seed: u64) -> impl Fn(&Asked<'_>) -> Fault + Send + Sync {
    let counts: Mutex<HashMap<(What, String), u64>> = Mutex::default();
    move |asked| {
        let mut counts = counts.lock().unwrap();
        let count = counts
            .entry((asked.what, asked.path.to_owned()))
            .or_default();
        *count += 1;
        let mut hasher = DefaultHasher::new();
        (seed, asked.what, asked.path, *count).hash(&mut hasher);
        let mut seeded = Seeded(hasher.finish());
        if seeded.below(0..10) > 0 {
            return Fault::None;
        }
        let late = || tokio::time::sleep(Duration::from_millis(50)).boxed();
        match seeded.below(0..5) {
            0 => Fault::Refuse,
            1 => Fault::LoseAnswer,
            2 if asked.what == What::Get => Fault::CutBody,
            3 => Fault::After(late()),
            4 => Fault::RefuseAfter(late()),
            _ => Fault::Refuse,
        }
    }
}

/// A function that returns true on every `k`-th call.
pub fn every(k: u64) -> impl Fn() -> bool + Send + Sync {
    let calls = AtomicU64::new(0);
    move || (calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(k)
}

type Rule = Arc<dyn Fn(&Asked<'_>) -> Fault + Send + Sync>;

/// A store whose requests fail on demand.
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Rule,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

fn broken<T>() -> Result<T> {
    Err(object_store::Error::Generic {
        store: "faulty",
        source: "connection reset".into(),
    })
}

/// Carries out a request with a fault.
async fn with_fault<T>(fault: Fault, request: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        Fault::None | Fault::CutBody | Fault::Overwrite | Fault::Pretend => request.await,
        Fault::Refuse => broken(),
        Fault::LoseAnswer => {
            request.await?;
            broken()
        }
        Fault::After(first) => {
            first.await;
            request.await
        }
        Fault::RefuseAfter(first) => {
            first.await;
            broken()
        }
    }
}

impl Faulty {
    fn fault_of(&self, what: What, path: &Path) -> Fault {
        (self.fault)(&Asked {
            what,
            path: path.as_ref(),
        })
    }
}

/// Cuts the body of an answer to its first half.
async fn cut_body(answer: GetResult) -> Result<GetResult> {
    let (meta, range, attributes) = (
        answer.meta.clone(),
        answer.range.clone(),
        answer.attributes.clone(),
    );
    let extensions = answer.extensions.clone();
    let body = answer.bytes().await?;
    let half = body.slice(..body.len() / 2);
    let payload = GetResultPayload::Stream(futures::stream::iter([Ok(half)]).boxed());
    Ok(GetResult {
        payload,
        meta,
        range,
        attributes,
        extensions,
    })
}

// The signatures that `async_trait` generates. This project does not depend on `async_trait`.
impl ObjectStore for Faulty {
    fn put_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> BoxFuture<'f, Result<PutResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        let fault = self.fault_of(What::Put, location);
        if matches!(fault, Fault::Overwrite) {
            options.mode = PutMode::Overwrite;
        }
        if matches!(fault, Fault::Pretend) {
            let done = PutResult {
                e_tag: None,
                version: None,
                extensions: Default::default(),
            };
            return Box::pin(std::future::ready(Ok(done)));
        }
        Box::pin(with_fault(
            fault,
            self.inner.put_opts(location, payload, options),
        ))
    }

    fn put_multipart_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        options: PutMultipartOptions,
    ) -> BoxFuture<'f, Result<Box<dyn MultipartUpload>>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        self.inner.put_multipart_opts(location, options)
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
        let fault = self.fault_of(What::Get, location);
        let cut = matches!(fault, Fault::CutBody) && !options.head;
        let answer = with_fault(fault, self.inner.get_opts(location, options));
        Box::pin(async move {
            if cut {
                cut_body(answer.await?).await
            } else {
                answer.await
            }
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, fault) = (self.inner.clone(), self.fault.clone());
        let delete = move |path: Result<Path>| {
            let (inner, fault) = (inner.clone(), fault.clone());
            async move {
                let path = path?;
                let asked = Asked {
                    what: What::Delete,
                    path: path.as_ref(),
                };
                let fault = fault(&asked);
                if !matches!(fault, Fault::Pretend) {
                    with_fault(fault, inner.delete(&path)).await?;
                }
                Ok(path)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let none = Path::default();
        let fault = self.fault_of(What::List, prefix.unwrap_or(&none));
        let listed = self.inner.list(prefix).try_collect::<Vec<_>>();
        let all = with_fault(fault, listed).map_ok(|all| futures::stream::iter(all).map(Ok));
        all.try_flatten_stream().boxed()
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
        let none = Path::default();
        let fault = self.fault_of(What::List, prefix.unwrap_or(&none));
        Box::pin(with_fault(fault, self.inner.list_with_delimiter(prefix)))
    }

    fn copy_opts<'s, 'a, 'b, 'f>(
        &'s self,
        from: &'a Path,
        to: &'b Path,
        options: CopyOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        let fault = self.fault_of(What::Copy, to);
        if matches!(fault, Fault::Pretend) {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(with_fault(fault, self.inner.copy_opts(from, to, options)))
    }
}

/// The same location, through a store whose requests fail as `fault` says.
pub fn failing(
    location: &Location,
    fault: impl Fn(&Asked<'_>) -> Fault + Send + Sync + 'static,
) -> Location {
    let store = Faulty {
        inner: location.store.clone(),
        fault: Arc::new(fault),
    };
    Location {
        store: Arc::new(store),
        ..location.clone()
    }
}
