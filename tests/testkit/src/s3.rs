//! An S3 server of this process, for the program and for the library.
use std::path::PathBuf;

use connectors::Location;
use object_store::ObjectStoreExt;
use s3_server::S3Server;
use tempfile::TempDir;

use crate::tree::folder;

/// The access key that the server accepts.
pub const KEY: &str = "hubbleflow";
/// The secret key that the server accepts.
pub const SECRET: &str = "hubbleflow-test";

/// An S3 server with the bucket `sky`. Each object is a file.
pub struct S3 {
    server: S3Server,
    root: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl S3 {
    pub fn start() -> Self {
        let (runtime, root) = (tokio::runtime::Runtime::new().unwrap(), folder());
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime
            .block_on(S3Server::start(root.path(), address, KEY, SECRET))
            .unwrap();
        server.create_bucket("sky").unwrap();
        Self {
            server,
            root,
            runtime,
        }
    }

    /// The URL at which the server listens.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Writes an object through the server, so that it gets an ETag.
    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        let bucket = bucket("s3://sky", &self.endpoint(), KEY, SECRET);
        let key = bucket.path(key).unwrap();
        let put = bucket.store.put(&key, bytes.into());
        self.runtime.block_on(put).unwrap();
    }

    /// The folder of the bucket's objects.
    pub fn bucket(&self) -> PathBuf {
        self.root.path().join("sky")
    }
}

/// A place on an S3 server of this machine.
pub fn bucket(url: &str, endpoint: &str, access_key: &str, secret_key: &str) -> Location {
    let options = [
        ("aws_endpoint_url", endpoint),
        ("aws_access_key_id", access_key),
        ("aws_secret_access_key", secret_key),
        ("aws_region", "us-east-1"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Location::open(url, &options).unwrap()
}
