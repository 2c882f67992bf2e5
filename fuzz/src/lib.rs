//! Helpers of the fuzz targets: stores in memory, and a folder for files.
use std::{path::PathBuf, sync::Arc, sync::OnceLock};

use connectors::Location;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use tokio::runtime::{Builder, Runtime};

/// The tokio runtime of the process.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all();
        runtime.build().expect("there are threads")
    })
}

/// A location in memory with these objects.
pub async fn place(objects: &[(&str, &[u8])]) -> Location {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (name, bytes) in objects {
        let put = store.put(&Path::from(*name), bytes.to_vec().into()).await;
        put.expect("there is memory");
    }
    Location {
        store,
        prefix: Path::default(),
        url: "memory:".to_owned(),
        folder: None,
        pages: None,
    }
}

/// Ignores panics of the Parquet decoder. A reader treats such a panic as a damaged page and fails the drop. Any other
/// panic is a finding.
pub fn let_decoders_panic() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !["/parquet-", "/arrow-"].iter().any(|of| file.contains(of)) {
            abort(panic);
        }
    }));
}

/// A path in a temporary folder of this process, in `/dev/shm` if it exists.
pub fn path(name: &str) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        tempfile::tempdir_in(place).expect("there is a place for files")
    });
    folder.path().join(name)
}

/// Splits the input into two parts. The first two bytes are the length of the first part.
pub fn two(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return (data, &[]);
    };
    let length = usize::from(u16::from_le_bytes(*length));
    rest.split_at(length.min(rest.len()))
}

/// A zip archive of stored members, as PyTorch and numpy write it.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let size = (bytes.len() as u32).to_le_bytes();
        let sizes = [
            &[0; 8][..],
            &crc.sum().to_le_bytes(),
            &size,
            &size,
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        let at = archive.len() as u32;
        archive.extend([b"PK\x03\x04\x14\0", &sizes[..], name.as_bytes(), bytes].concat());
        let place = [&[0; 10][..], &at.to_le_bytes()].concat();
        directory.extend(
            [
                b"PK\x01\x02\x14\0\x14\0",
                &sizes[..],
                &place,
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let (at, length) = (archive.len() as u32, directory.len() as u32);
    archive.extend(&directory);
    let count = (members.len() as u16).to_le_bytes();
    archive.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    archive.extend([&length.to_le_bytes()[..], &at.to_le_bytes(), &[0, 0]].concat());
    archive
}
