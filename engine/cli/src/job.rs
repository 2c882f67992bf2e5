//! The job that arguments describe.
use std::time::Duration;

use hubbleflow::{ClusterSettings, Job, Stop, StoreOptions};
use tokio::runtime::Runtime;

use crate::{Error, args::RunArgs, progress::Console};

/// Builds the job that the arguments describe.
pub(crate) fn job(
    args: &RunArgs,
    stop: &Stop,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<Job, Error> {
    let cluster = &args.cluster;
    let settings = args.settings()?;
    let is_elastic = settings
        .cluster
        .as_ref()
        .is_some_and(ClusterSettings::is_elastic);
    let earlier = cluster.earlier.as_ref();
    let after = is_elastic.then(|| earlier.map_or(Duration::ZERO, |start| start.after));
    let mut builder = Job::builder(&args.catalog.catalog, &args.catalog.out)
        .model(&args.catalog.model()?)
        .settings(settings)
        .store(options)
        .runtime(runtime.handle())
        .stop(stop.clone())
        .observer(Console::new(after));
    if let Some(start) = cluster.supervised.as_ref().or(earlier) {
        builder = builder.start(start.clone());
    }
    Ok(builder.build()?)
}
