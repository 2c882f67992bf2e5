//! An S3 server in this process, over a folder: for the demo and the tests, not for data one needs.
//!
//! A bucket is a folder of the root, an object a file in it. What the engine relies on holds:
//! of several creations of one object just one wins, a listing comes in the order of the keys and
//! in pages of a thousand, and nobody is let in without the keys.
//!
//! What differs from S3: an object cannot have the name of another's folder (`a` beside `a/b`),
//! keys longer than about 160 bytes are refused, and a listing bears no ETags (a `head` does; of
//! a file that was not put through the server but changed in place, an old one).

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{IF_MATCH, IF_NONE_MATCH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::debug;

/// How long requests under way may take to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A running server. Dropping it stops it: what is under way is answered, nothing new is taken.
#[derive(Debug)]
pub struct S3Server {
    root: PathBuf,
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Serves the folders of `root` as buckets on `addr` (port 0: any that is free), on the
    /// tokio runtime of the caller, to those who have the keys.
    ///
    /// # Errors
    /// `root` is no folder, or `addr` cannot be listened on.
    pub async fn start(
        root: &Path,
        addr: SocketAddr,
        access_key: &str,
        secret_key: &str,
    ) -> io::Result<S3Server> {
        let root = root
            .canonicalize()
            .map_err(|error| because(error, &format!("cannot serve {}", root.display())))?;
        let files = FileSystem::new(&root).map_err(|error| {
            io::Error::other(format!("cannot serve {}: {error:?}", root.display()))
        })?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        builder.set_access(Guard { root: root.clone() });
        let door = Door {
            s3: builder.build(),
            conditional: Arc::new(Mutex::new(())),
        };
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|error| because(error, &format!("cannot listen on {addr}")))?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let accepting = Some(tokio::spawn(accept(listener, door, stopped)));
        Ok(S3Server {
            root,
            addr,
            stop,
            accepting,
        })
    }

    /// The URL to give to clients as their endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Makes a bucket; one that is there is left as it is.
    ///
    /// # Errors
    /// The name is none that S3 allows, or the folder cannot be made.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        if !s3s::path::check_bucket_name(name) {
            let rule = "3 to 63 lowercase letters, digits, dots and hyphens";
            let message = format!("`{name}` is no name for a bucket: it takes {rule}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let folder = self.root.join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| because(error, &format!("cannot make {}", folder.display())))
    }

    /// Stops, and returns when the requests under way are answered (five seconds at most).
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            // An error here would be a panic in that task, which was reported where it happened.
            let _ = accepting.await;
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// What stands between the connections and the files.
#[derive(Clone)]
struct Door {
    s3: S3Service,
    /// Held during a conditional write: `s3s-fs` looks whether the object is there and then
    /// writes it, so that of several who create one object at a time each would be told it won.
    conditional: Arc<Mutex<()>>,
}

impl Door {
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<s3s::HttpResponse, s3s::HttpError> {
        let headers = request.headers();
        let conditional = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MATCH);
        let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let _alone = if conditional && writes {
            Some(self.conditional.lock().await)
        } else {
            None
        };
        self.s3.call(request.map(s3s::Body::from)).await
    }
}

/// Refuses what S3 refuses and `s3s-fs` does not: a write to a bucket that is not there (it would
/// make one), and reading a folder as though it were an object. And strangers, as the default does.
struct Guard {
    root: PathBuf,
}

impl Guard {
    fn judge(&self, request: &S3AccessContext<'_>) -> S3Result<()> {
        if request.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        }
        let (bucket, key) = match request.s3_path() {
            S3Path::Root => return Ok(()),
            S3Path::Bucket { bucket } => (bucket, ""),
            S3Path::Object { bucket, key } => (bucket, key.trim_start_matches('/')),
        };
        let folder = self.root.join(&**bucket);
        if !folder.is_dir() && request.s3_op().name() != "CreateBucket" {
            return Err(s3_error!(NoSuchBucket));
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if reads && !key.is_empty() && folder.join(key).is_dir() {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(())
    }
}

impl S3Access for Guard {
    // What `async_trait` makes of `async fn check(&self, …)`, spelled out.
    fn check<'guard, 'request, 'context, 'answer>(
        &'guard self,
        request: &'request mut S3AccessContext<'context>,
    ) -> BoxFuture<'answer, S3Result<()>>
    where
        'guard: 'answer,
        'request: 'answer,
        'context: 'answer,
        Self: 'answer,
    {
        Box::pin(ready(self.judge(request)))
    }
}

/// Takes connections until told to stop, and then waits for those there are.
async fn accept(listener: TcpListener, door: Door, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                connections.spawn(serve(socket, door.clone(), stopped.clone()));
            }
            // Out of file descriptors, most likely: some come free when connections end.
            Err(error) => {
                debug!(%error, "S3 server: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        debug!("S3 server: gave up on the requests under way");
    }
}

/// Serves one connection, request after request, until either side is done.
async fn serve(socket: TcpStream, door: Door, mut stopped: watch::Receiver<bool>) {
    // Small answers must not wait for more to send; where it cannot be set, they are merely late.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { door.answer(request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "S3 server: a connection broke off");
    }
}

/// Waits until the server is told to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which tells the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The error, with what was being done in front.
fn because(error: io::Error, doing: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::{StreamExt, TryStreamExt, stream};
    use object_store::aws::{AmazonS3, AmazonS3Builder};
    use object_store::path::Path as Key;
    use object_store::{
        Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, UpdateVersion,
    };

    use super::*;

    async fn server() -> (tempfile::TempDir, S3Server) {
        let root = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = S3Server::start(root.path(), any, "key", "secret")
            .await
            .unwrap();
        server.create_bucket("survey").unwrap();
        (root, server)
    }

    fn builder(server: &S3Server, bucket: &str) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(server.endpoint())
            .with_allow_http(true)
            .with_bucket_name(bucket)
            .with_region("us-east-1")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
    }

    fn client(server: &S3Server) -> AmazonS3 {
        builder(server, "survey").build().unwrap()
    }

    async fn read(store: &AmazonS3, key: &Key) -> object_store::Result<bytes::Bytes> {
        store.get(key).await?.bytes().await
    }

    #[tokio::test]
    async fn what_is_put_can_be_got_whole_and_in_parts() {
        let (_root, server) = server().await;
        let store = client(&server);
        for key in [
            "plain",
            "a b/é+%25.bin",
            "deep/er/and/deeper",
            "x=1&y=2/#?~'()",
            "2026-11-03.parquet",
        ] {
            let key = Key::from(key);
            store.put(&key, "0123456789".into()).await.unwrap();
            assert_eq!(read(&store, &key).await.unwrap(), "0123456789", "{key}");
            assert_eq!(store.get_range(&key, 2..5).await.unwrap(), "234");
            assert_eq!(store.head(&key).await.unwrap().size, 10);
            let copy = Key::from(format!("copies/{key}"));
            store.copy(&key, &copy).await.unwrap();
            store.delete(&key).await.unwrap();
            assert!(matches!(
                read(&store, &key).await,
                Err(Error::NotFound { .. })
            ));
            assert_eq!(read(&store, &copy).await.unwrap(), "0123456789", "{copy}");
        }
    }

    #[tokio::test]
    async fn an_object_is_created_once_and_replaced_by_those_who_know_it() {
        let (_root, server) = server().await;
        let store = client(&server);
        let key = Key::from("ledger/0");
        store
            .put_opts(&key, "first".into(), PutMode::Create.into())
            .await
            .unwrap();
        let second = store
            .put_opts(&key, "second".into(), PutMode::Create.into())
            .await;
        assert!(
            matches!(second, Err(Error::AlreadyExists { .. })),
            "{second:?}"
        );
        assert_eq!(read(&store, &key).await.unwrap(), "first");
        let e_tag = store.head(&key).await.unwrap().e_tag;
        let update = || {
            PutMode::Update(UpdateVersion {
                e_tag: e_tag.clone(),
                version: None,
            })
        };
        store
            .put_opts(&key, "third".into(), update().into())
            .await
            .unwrap();
        let stale = store.put_opts(&key, "fourth".into(), update().into()).await;
        assert!(
            matches!(stale, Err(Error::Precondition { .. })),
            "{stale:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_sixteen_who_create_an_object_one_wins() {
        let (_root, server) = server().await;
        let store = client(&server);
        for number in 0..20 {
            let key = Key::from(format!("race/{number}"));
            let create = |racer: u8| {
                let (store, key) = (store.clone(), key.clone());
                let body = PutPayload::from(vec![racer; 2000]);
                let put = async move { store.put_opts(&key, body, PutMode::Create.into()).await };
                tokio::spawn(put)
            };
            let racers: Vec<_> = (0..16).map(create).collect();
            let mut winners = Vec::new();
            for (racer, result) in (0u8..).zip(racers) {
                match result.await.unwrap() {
                    Ok(_) => winners.push(racer),
                    Err(error) => {
                        assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}")
                    }
                }
            }
            assert_eq!(winners.len(), 1, "{key}: {winners:?}");
            assert_eq!(read(&store, &key).await.unwrap(), vec![winners[0]; 2000]);
        }
    }

    #[tokio::test]
    async fn listings_go_on_after_a_thousand_keys() {
        let (root, server) = server().await;
        let store = client(&server);
        for folder in 0..3 {
            let folder = root.path().join(format!("survey/many/d{folder}"));
            std::fs::create_dir_all(&folder).unwrap();
            for number in 0..401 {
                std::fs::write(folder.join(format!("{number:05}")), "x").unwrap();
            }
        }
        let many = Key::from("many");
        let keys: Vec<Key> = store
            .list(Some(&many))
            .map_ok(|m| m.location)
            .try_collect()
            .await
            .unwrap();
        let number =
            |folder| (0..401).map(move |number| Key::from(format!("many/d{folder}/{number:05}")));
        assert_eq!(keys, (0..3).flat_map(number).collect::<Vec<_>>());
        let listed = store.list_with_delimiter(Some(&many)).await.unwrap();
        assert_eq!((listed.common_prefixes.len(), listed.objects.len()), (3, 0));
        let after = store
            .list_with_offset(Some(&many), &keys[1000])
            .map_ok(|m| m.location);
        assert_eq!(after.try_collect::<Vec<_>>().await.unwrap(), keys[1001..]);
        let keys = stream::iter(keys.into_iter().map(Ok)).boxed();
        store
            .delete_stream(keys)
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        assert_eq!(store.list(Some(&many)).count().await, 0);
    }

    #[tokio::test]
    async fn large_objects_go_up_in_parts_and_come_down_as_they_were() {
        let (_root, server) = server().await;
        let store = client(&server);
        let key = Key::from("large");
        let part = |number: u8| {
            (0..5 << 20)
                .map(|byte: u32| byte as u8 ^ number)
                .collect::<Vec<u8>>()
        };
        let mut upload = store.put_multipart(&key).await.unwrap();
        assert!(matches!(
            store.head(&key).await,
            Err(Error::NotFound { .. })
        ));
        for number in 0..3 {
            upload.put_part(part(number).into()).await.unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(
            read(&store, &key).await.unwrap(),
            [part(0), part(1), part(2)].concat()
        );
        let mut upload = store.put_multipart(&Key::from("aborted")).await.unwrap();
        upload.put_part(part(0).into()).await.unwrap();
        upload.abort().await.unwrap();
        let left: Vec<Key> = store
            .list(None)
            .map_ok(|m| m.location)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(left, [key]);
    }

    #[tokio::test]
    async fn nobody_comes_in_without_the_keys() {
        let (_root, server) = server().await;
        let key = Key::from("mine");
        client(&server).put(&key, "mine".into()).await.unwrap();
        let wrong = [
            builder(&server, "survey").with_secret_access_key("guess"),
            builder(&server, "survey").with_access_key_id("guess"),
            builder(&server, "survey").with_skip_signature(true),
        ];
        for builder in wrong {
            let stranger = builder.build().unwrap();
            let got = read(&stranger, &key).await;
            assert!(
                matches!(got, Err(Error::PermissionDenied { .. })),
                "{got:?}"
            );
            let put = stranger.put(&key, "theirs".into()).await;
            assert!(
                matches!(put, Err(Error::PermissionDenied { .. })),
                "{put:?}"
            );
        }
        assert_eq!(read(&client(&server), &key).await.unwrap(), "mine");
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        let (_root, server) = server().await;
        let elsewhere = builder(&server, "elsewhere").build().unwrap();
        let key = Key::from("folder/object");
        assert!(matches!(
            read(&elsewhere, &key).await,
            Err(Error::NotFound { .. })
        ));
        let put = elsewhere.put(&key, "x".into()).await;
        assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
        // object_store has no NotFound for listings: it passes on what the server said.
        let listed = elsewhere
            .list(None)
            .try_collect::<Vec<_>>()
            .await
            .unwrap_err();
        assert!(format!("{listed:?}").contains("NoSuchBucket"), "{listed:?}");
        let store = client(&server);
        store.put(&key, "x".into()).await.unwrap();
        let folder = store.head(&Key::from("folder")).await;
        assert!(matches!(folder, Err(Error::NotFound { .. })), "{folder:?}");
        let error = server.create_bucket("No Bucket").unwrap_err().to_string();
        assert!(
            error.starts_with("`No Bucket` is no name for a bucket"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_server_that_stops_lets_go_of_its_port() {
        let (root, server) = server().await;
        let (store, addr) = (client(&server), server.addr);
        store
            .put(&Key::from("before"), "kept".into())
            .await
            .unwrap();
        tokio::time::timeout(GRACE, server.shutdown())
            .await
            .expect("an idle connection must not hold it up");
        assert!(store.head(&Key::from("before")).await.is_err());
        let server = S3Server::start(root.path(), addr, "key", "secret")
            .await
            .unwrap();
        assert_eq!(
            read(&client(&server), &Key::from("before")).await.unwrap(),
            "kept"
        );
        let taken = S3Server::start(root.path(), addr, "key", "secret")
            .await
            .unwrap_err();
        assert!(
            taken
                .to_string()
                .starts_with(&format!("cannot listen on {addr}")),
            "{taken}"
        );
    }
}
