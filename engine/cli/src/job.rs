//! The job that arguments describe.
use hubbleflow::{Job, Stop, StoreOptions};
use tokio::runtime::Runtime;

use crate::{Error, args::RunArgs, progress::Console};

/// Builds the job that the arguments describe.
pub(crate) fn job(
    args: &RunArgs,
    stop: &Stop,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<Job, Error> {
    let mut builder = Job::builder(&args.catalog.catalog, &args.catalog.out)
        .model(&args.catalog.model()?)
        .settings(args.settings()?)
        .store(options)
        .runtime(runtime.handle())
        .stop(stop.clone())
        .observer(Console::default());
    if let Some(start) = &args.supervised {
        builder = builder.start(start.clone());
    }
    Ok(builder.build()?)
}
