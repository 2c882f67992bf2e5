//! Every store passes the conformance suite: memory, local files and our S3 server.
use std::{net::SocketAddr, path::Path};

use connectors::{Location, Output};
use s3_server::S3Server;
use testkit::{conformance::conforms, s3::bucket};

#[tokio::test]
async fn memory_conforms() {
    conforms(testkit::memory()).await;
}

#[tokio::test]
async fn local_files_conform() {
    let folder = tempfile::tempdir().unwrap();
    conforms(local_place(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_s3_server_conforms() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(
        root.path(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
        "key",
        "secret",
    )
    .await
    .unwrap();
    server.create_bucket("sky").unwrap();
    conforms(bucket(
        "s3://sky/survey",
        &server.endpoint(),
        "key",
        "secret",
    ))
    .await;
    server.shutdown().await;
}

#[tokio::test]
async fn an_existing_folder_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("private/out");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o700)).unwrap();
    Output::new(local_place(&out)).check("nonce").await.unwrap();
    let mode = std::fs::metadata(&out)
        .expect("the folder is still there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

fn local_place(folder: &Path) -> Location {
    Location::open(folder.to_str().unwrap(), &[]).unwrap()
}
