//! Imports image files: one thread reads rows while the runtime writes them.

use std::path::PathBuf;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use tokio::sync::mpsc;

use crate::drop_writer::DropWriter;
use crate::error::ImportError;
use crate::plan::ImportPlan;
use crate::settings::ImportSettings;
use crate::summary::Imported;
use connectors::Location;
use connectors::drop_writer::WriteError;

/// Row groups that wait to be written.
const BATCHES_AHEAD: usize = 1;

/// Writes the rows of image files (`.pt`, `.npz`) as a new drop at `place`.
///
/// Rows are in the order of the files. All files are opened and their columns are found before anything is written.
/// `progress` receives the number of rows that are written and the number of all rows. The documentation of the
/// [crate](crate) has an example.
///
/// # Errors
/// - [`ImportError::Place`] if the place is taken or is not a place for a drop, or if `files` is empty.
/// - [`ImportError::Columns`] if the files lack a column that `settings` do not provide.
/// - [`ImportError::Io`], [`ImportError::Corrupt`] or [`ImportError::Unsupported`] if a file cannot be read.
/// - [`ImportError::Write`] if the drop cannot be written.
///
/// After an error, the written part of the drop is deleted.
pub async fn import_images(
    place: &Location,
    files: &[PathBuf],
    settings: &ImportSettings,
    progress: impl Fn(u64, u64),
) -> Result<Imported, ImportError> {
    check_place(place).await?;
    let (send, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let (files, settings) = (files.to_vec(), settings.clone());
    let (plan_send, plan) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let plan = ImportPlan::new(files, settings)?;
        // If the receiver is gone, sending the first batch fails too.
        let _ = plan_send.send(plan.summary());
        plan.read(&send)
    });
    let mut writer = DropWriter::new(place);
    let written = async {
        let Ok((summary, rows)) = plan.await else {
            return Ok(());
        };
        writer.done = summary;
        while let Some(batch) = batches.recv().await {
            writer.write(batch).await?;
            progress(writer.done.rows, rows);
        }
        writer.finish_part().await
    }
    .await;
    // Makes the reader stop if the writer failed.
    drop(batches);
    let read = reader.await.map_err(WriteError::from);
    let result = match (written, read) {
        (Err(error), _) | (Ok(()), Err(error)) => Err(writer.failed(error)),
        (Ok(()), Ok(Err(error))) => Err(error),
        (Ok(()), Ok(Ok(()))) => writer.complete().await,
    };
    if result.is_err() {
        writer.remove().await;
    }
    result
}

/// Checks that a new drop may be written to `place`.
async fn check_place(place: &Location) -> Result<(), ImportError> {
    let refuse = |reason: &str| {
        Err(ImportError::Place {
            place: place.url.clone(),
            reason: reason.to_owned(),
        })
    };
    let name = place.prefix.filename().unwrap_or_default();
    if name.is_empty() || name.starts_with(['_', '.']) {
        return refuse("a drop is CATALOG/NAME, and NAME must not begin with _ or a dot");
    }
    let write = |source: object_store::Error| ImportError::Write {
        place: place.url.clone(),
        source: source.into(),
    };
    let below = place.store.list(Some(&place.prefix)).try_next().await;
    let is_taken = below.map_err(write)?.is_some()
        || match place.store.head(&place.prefix).await {
            Ok(_) => true,
            Err(object_store::Error::NotFound { .. }) => false,
            // A local folder is not an object.
            Err(_) if place.folder.as_ref().is_some_and(|folder| folder.is_dir()) => false,
            Err(error) => return Err(write(error)),
        };
    if is_taken {
        return refuse("the place is not empty; name a new drop, or delete this one first");
    }
    Ok(())
}
