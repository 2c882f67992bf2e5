//! The server: start, stop, buckets.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access_rules::AccessRules;
use crate::connections::accept;
use crate::request_handler::RequestHandler;

/// A running server. Dropping the server stops it: open requests are answered, new connections are refused.
///
/// ```
/// use std::net::SocketAddr;
///
/// use hubbleflow_s3_server::S3Server;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let root = tempfile::tempdir()?;
/// let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
/// let server = S3Server::start(root.path(), any_port, "key", "secret").await?;
/// server.create_bucket("survey")?;
/// assert!(server.endpoint().starts_with("http://127.0.0.1:"));
/// server.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct S3Server {
    root: PathBuf,
    pub(crate) addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Serves the folders of `root` as buckets on `addr`, on the tokio runtime of the caller. Port 0 selects a free port.
    /// Requests must be signed with the keys.
    ///
    /// # Errors
    /// [`io::Error`] if `root` is not a folder or the server cannot listen on `addr`.
    pub async fn start(
        root: &Path,
        addr: SocketAddr,
        access_key: &str,
        secret_key: &str,
    ) -> io::Result<S3Server> {
        let root = root
            .canonicalize()
            .map_err(|error| with_context(error, &format!("cannot serve {}", root.display())))?;
        let files = FileSystem::new(&root).map_err(|error| {
            io::Error::other(format!("cannot serve {}: {error:?}", root.display()))
        })?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        builder.set_access(AccessRules { root: root.clone() });
        let handler = RequestHandler::new(builder.build());
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|error| with_context(error, &format!("cannot listen on {addr}")))?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let accepting = Some(tokio::spawn(accept(listener, handler, stopped)));
        Ok(S3Server {
            root,
            addr,
            stop,
            accepting,
        })
    }

    /// The URL that clients use as their endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Creates a bucket. An existing bucket is left as it is.
    ///
    /// # Errors
    /// [`io::Error`] if S3 does not allow the name or the folder cannot be created.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        if !s3s::path::check_bucket_name(name) {
            let rule = "3 to 63 lowercase letters, digits, dots and hyphens";
            let message = format!("`{name}` is not a valid bucket name: use {rule}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let folder = self.root.join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| with_context(error, &format!("cannot create {}", folder.display())))
    }

    /// Stops the server and waits up to five seconds until the open requests are answered.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            // An error means that the task panicked, and the panic was reported then.
            let _ = accepting.await;
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Puts the failed action before the message of an error.
fn with_context(error: io::Error, doing: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}
