//! The job that arguments describe.
use hubbleflow::{ClusterSettings, Job, Places, Stop, StoreOptions};
use tokio::runtime::Runtime;

use crate::{
    Error,
    again::{ElasticCluster, remember},
    args::RunArgs,
    progress::Console,
};

/// Builds the job that the arguments describe, between the places that they name or `places`.
pub(crate) fn job(
    args: &RunArgs,
    places: Option<Places>,
    stop: &Stop,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<Job, Error> {
    let cluster = &args.cluster;
    let settings = args.settings()?;
    let (earlier, elastic) = (cluster.earlier.as_ref(), settings.cluster.as_ref());
    if elastic.is_some_and(ClusterSettings::is_elastic) {
        remember(ElasticCluster {
            start: earlier.cloned(),
            processes: cluster.left,
        });
    }
    let mut builder = Job::builder(&args.catalog.catalog, &args.catalog.out)
        .model(&args.catalog.model()?)
        .settings(settings)
        .store(options)
        .runtime(runtime.handle())
        .stop(stop.clone())
        .observer(Console::default());
    if let Some(places) = places {
        builder = builder.places(places);
    }
    if let Some(start) = cluster.supervised.as_ref().or(earlier) {
        builder = builder.start(start.clone());
    }
    Ok(builder.build()?)
}
