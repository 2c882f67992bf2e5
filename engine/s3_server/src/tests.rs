//! The behaviour that the engine relies on.
#![allow(clippy::unwrap_used)]

use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, UpdateVersion,
};

use std::net::SocketAddr;

use super::S3Server;
use crate::connections::GRACE;

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
    // Even for plain HTTP the client asks for a library for TLS. The test before this one may have named it.
    let _already_named = rustls::crypto::ring::default_provider().install_default();
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
async fn an_object_can_be_read_whole_and_by_range() {
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
async fn an_object_is_created_once_and_replaced_by_etag() {
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
async fn one_of_sixteen_concurrent_creations_succeeds() {
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
async fn a_listing_continues_after_a_thousand_keys() {
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
async fn a_multipart_upload_can_be_completed_or_aborted() {
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
async fn requests_without_the_keys_are_refused() {
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
async fn a_missing_bucket_or_object_is_not_found() {
    let (_root, server) = server().await;
    let elsewhere = builder(&server, "elsewhere").build().unwrap();
    let key = Key::from("folder/object");
    assert!(matches!(
        read(&elsewhere, &key).await,
        Err(Error::NotFound { .. })
    ));
    let put = elsewhere.put(&key, "x".into()).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    // object_store has no NotFound for listings. It returns the answer of the server.
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
        error.starts_with("`No Bucket` is not a valid bucket name"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stopped_server_frees_its_port() {
    let (root, server) = server().await;
    let (store, addr) = (client(&server), server.addr);
    store
        .put(&Key::from("before"), "kept".into())
        .await
        .unwrap();
    tokio::time::timeout(GRACE, server.shutdown())
        .await
        .expect("an idle connection must not delay the shutdown");
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
