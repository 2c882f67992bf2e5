//! Lists a folder of this machine: the objects, and the names that cannot be read as objects.
use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::Metadata,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use object_store::ObjectMeta;

use crate::listing::{
    listed::{Fault, Listed, Part},
    names::is_name,
};

/// A walk through a folder of this machine.
pub(crate) struct Walk {
    /// The folder in which the walk starts.
    root: PathBuf,
    /// The only child of the root to visit, or an empty string to visit all children.
    below: String,
    /// Children of the root that are skipped.
    known: HashSet<String>,
    listed: Listed,
}

/// A folder to read: its path below the root, whether it is hidden, and the device and inode of each parent.
struct Folder {
    path: String,
    is_hidden: bool,
    parents: Vec<(u64, u64)>,
}

impl Walk {
    pub(crate) fn new(root: PathBuf, part: Part<'_>) -> Self {
        let (below, known) = match part {
            Part::All => (String::new(), HashSet::new()),
            Part::Child(folder) => (folder.to_owned(), HashSet::new()),
            Part::New(known) => (String::new(), known.clone()),
        };
        Self {
            root,
            below,
            known,
            listed: Listed::default(),
        }
    }

    pub(crate) fn run(mut self) -> std::io::Result<Listed> {
        let root = Folder {
            path: String::new(),
            is_hidden: false,
            parents: vec![id(&std::fs::metadata(&self.root)?)],
        };
        let mut folders = Vec::new();
        if self.below.is_empty() {
            folders.push(root);
        } else {
            let below = std::mem::take(&mut self.below);
            folders.extend(self.visit(&root, OsStr::new(&below)));
        }
        while let Some(folder) = folders.pop() {
            let is_root = folder.path.is_empty();
            let entries = match std::fs::read_dir(self.root.join(&folder.path)) {
                Ok(entries) => entries,
                Err(error) if is_root => return Err(error),
                Err(error) => {
                    self.fault(&folder.path, folder.is_hidden, &error);
                    continue;
                }
            };
            for entry in entries {
                match entry {
                    Ok(entry) => folders.extend(self.visit(&folder, &entry.file_name())),
                    Err(error) => self.fault(&folder.path, folder.is_hidden, &error),
                }
            }
        }
        Ok(self.listed)
    }

    /// Visits one entry of a folder. If the entry is a folder, it is returned and must be visited next.
    fn visit(&mut self, folder: &Folder, name: &OsStr) -> Option<Folder> {
        let printed = name.to_string_lossy();
        let is_root = folder.path.is_empty();
        if is_root && self.known.contains(printed.as_ref()) {
            return None;
        }
        let join = |name: &str| match is_root {
            true => name.to_owned(),
            false => format!("{}/{name}", folder.path),
        };
        let is_hidden = folder.is_hidden || !is_name(&printed);
        if name.to_str().is_none() || printed.chars().any(|c| c.is_ascii_control()) {
            let shown = join(&name.as_encoded_bytes().escape_ascii().to_string());
            let reason = "its name holds a control character or bytes that are no UTF-8; rename it";
            self.fault(&shown, is_hidden, reason);
            return None;
        }
        let path = join(&printed);
        let on_disk = self.root.join(&path);
        let metadata = match std::fs::metadata(&on_disk) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // If this fails, the link was removed after the folder was read.
                if let Ok(target) = std::fs::read_link(&on_disk) {
                    let target = target.display();
                    let reason = format!(
                        "is a link to {target}, which is not there; mount its disk, or remove the link"
                    );
                    self.fault(&path, is_hidden, reason);
                }
                return None;
            }
            Err(error) => {
                self.fault(&path, is_hidden, error);
                return None;
            }
        };
        if metadata.is_dir() {
            let own = id(&metadata);
            if folder.parents.contains(&own) {
                self.fault(
                    &path,
                    is_hidden,
                    "is a link to a folder that it lies in; remove the link",
                );
                return None;
            }
            let parents = folder.parents.iter().copied().chain([own]).collect();
            return Some(Folder {
                path,
                is_hidden,
                parents,
            });
        }
        match self.object(&path, &metadata) {
            Some(object) if metadata.is_file() => self.listed.objects.push(object),
            _ => self.fault(
                &path,
                is_hidden,
                "is neither a file nor a folder; remove it",
            ),
        }
        None
    }

    fn object(&self, path: &str, metadata: &Metadata) -> Option<ObjectMeta> {
        let whole = object_store::path::Path::from_absolute_path(self.root.join(path)).ok()?;
        Some(ObjectMeta {
            location: whole,
            last_modified: arrived(metadata).into(),
            size: metadata.len(),
            e_tag: Some(etag(metadata)),
            version: None,
        })
    }

    /// Records a fault, unless the path is hidden. Names that begin with `_` or `.` are ignored.
    fn fault(&mut self, path: &str, is_hidden: bool, reason: impl ToString) {
        if !is_hidden {
            self.listed.faults.push(Fault {
                path: path.to_owned(),
                reason: reason.to_string(),
            });
        }
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The time at which a file was moved or written last. Unlike the modification time, a copy cannot preserve it.
fn arrived(metadata: &Metadata) -> SystemTime {
    let changed = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanos = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::new(changed, nanos);
    metadata
        .modified()
        .map_or(changed, |modified| modified.max(changed))
}

/// The ETag of a file, as object_store computes it.
fn etag(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let (inode, size) = (metadata.ino(), metadata.len());
    format!(
        "\"{inode:x}-{:x}-{size:x}\"",
        since.unwrap_or_default().as_micros()
    )
}
