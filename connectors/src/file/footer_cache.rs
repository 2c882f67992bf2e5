//! A cache of open files, so that the footer of a file is read once.
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{
    Error, Location,
    file::{File, fetch::ObjectReader},
    galaxy::Request,
    store::object_ref::ObjectRef,
};

/// The number of files in the cache. The splits of a file mostly come one after another.
const FILES_KEPT: usize = 64;
/// Upper bound on the bytes of the footers in the cache, without the newest.
const FILES_KEPT_BYTES: u64 = 64 << 20;

type FileCell = Arc<OnceCell<Arc<File>>>;

/// Opens files, and keeps the files that were opened last.
#[derive(Debug, Default)]
pub(crate) struct FooterCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<ObjectRef, FileCell>,
    order: VecDeque<ObjectRef>,
}

impl FooterCache {
    /// Opens a file, or takes it from the cache.
    ///
    /// # Errors
    /// The errors of [`File::open`].
    pub(crate) async fn open(
        &self,
        location: &Location,
        object: &ObjectRef,
        request: &Request,
    ) -> Result<Arc<File>, Error> {
        let cell = self.cell(object);
        let open = async || {
            let reader = ObjectReader::new(location, object)?;
            File::open(reader, object.bytes, request)
                .await
                .map(Arc::new)
        };
        let file = cell.get_or_try_init(open).await.cloned()?;
        self.let_go();
        Ok(file)
    }

    /// Removes the oldest footers if the cache takes too much memory.
    fn let_go(&self) {
        let files = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |cell: &FileCell| cell.get().map_or(0, |file| file.memory_bytes());
        let mut all: u64 = files.cells.values().map(bytes).sum();
        while all > FILES_KEPT_BYTES && files.order.len() > 1 {
            let Some(cell) = files
                .order
                .pop_front()
                .and_then(|oldest| files.cells.remove(&oldest))
            else {
                break;
            };
            all -= bytes(&cell).min(all);
        }
    }

    fn cell(&self, object: &ObjectRef) -> FileCell {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = files.cells.get(object) {
            return cell.clone();
        }
        if files.order.len() == FILES_KEPT
            && let Some(oldest) = files.order.pop_front()
        {
            files.cells.remove(&oldest);
        }
        files.order.push_back(object.clone());
        files.cells.entry(object.clone()).or_default().clone()
    }
}
