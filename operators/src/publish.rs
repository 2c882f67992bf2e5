//! Write metrics beside the ledger, and read them there.
//!
//! ```text
//! OUT/_hubbleflow/metrics/<sequence, 20 digits>.json
//! ```
//! A file is a function of what was committed up to its entry, and is written once: what a later run makes of files that
//! have come to harm since does not take its place.
use std::collections::BTreeSet;

use bytes::Bytes;
use connectors::{Error, Ledger, Output, committed::kept};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::Deserialize;
use timely::dataflow::channels::pact::Pipeline;
use tokio::runtime::Handle;

use crate::{
    Flow, Metrics, Scored,
    metrics::{FORMAT, Numbers},
    offload::offload,
};

/// Where the metrics up to an entry lie below the output.
/// ```
/// assert_eq!(operators::publish::path_of(3), "_hubbleflow/metrics/00000000000000000003.json");
/// ```
pub fn path_of(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:020}.json")
}

/// Where they all lie.
const FOLDER: &str = "_hubbleflow/metrics";

/// Metrics that were written, in short, or why they were not.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The entry.
    pub sequence: u64,
    /// Its drop.
    pub drop: String,
    /// The numbers over all objects.
    pub all: Result<Numbers, String>,
}

/// Writes metrics.
/// ```
/// # use connectors::{Location, Output};
/// # use operators::metrics::Numbers;
/// use operators::{Metrics, Publish, Scored, publish};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// # let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
///
/// let metrics = Metrics::new(3, "night-3", 0, [], |_| String::new());
/// let scored = Scored { sequence: 3, drop: "night-3".to_owned(), metrics: Ok(Box::new(metrics.clone())) };
/// let (place, handle) = (output.clone(), runtime.handle().clone());
/// timely::example(move |scope| {
///     [scored].to_stream(scope).container::<Vec<_>>().publish(&place, &handle).inspect(|published| {
///         assert_eq!(published.all, Ok(Numbers::default()));
///     });
/// });
/// assert_eq!(runtime.block_on(publish::read(&output, 3)).unwrap(), Some(metrics));
/// ```
pub trait Publish<'s> {
    /// Writes each metrics file; one that cannot be written is told of, and rebuilt by a later run.
    fn publish(self, output: &Output, runtime: &Handle) -> Flow<'s, Published>;
}

impl<'s> Publish<'s> for Flow<'s, Scored> {
    fn publish(self, output: &Output, runtime: &Handle) -> Flow<'s, Published> {
        let (output, runtime) = (output.clone(), runtime.clone());
        offload(self, Pipeline, "Publish", 1, move |scored, reply| {
            let output = output.clone();
            runtime.spawn(async move {
                let Scored {
                    sequence,
                    drop,
                    metrics,
                } = scored;
                let all = match metrics {
                    Ok(metrics) => {
                        let written = write(&output, &metrics).await;
                        written
                            .map(|()| metrics.all)
                            .map_err(|error| error.to_string())
                    }
                    Err(reason) => Err(reason),
                };
                reply.send(Published {
                    sequence,
                    drop,
                    all,
                });
                reply.finish();
            });
        })
    }
}

/// Writes the metrics up to an entry, unless they are there.
///
/// # Errors
/// The store's.
pub async fn write(output: &Output, metrics: &Metrics) -> Result<(), Error> {
    let name = path_of(metrics.sequence);
    let created = output.location().create(&name, metrics.to_json()).await;
    created.map(|_was_missing| ())
}

/// The entries, in order, up to which metrics are not there and can be made: what stood then is still kept.
///
/// # Errors
/// The store's.
pub async fn missing(output: &Output, ledger: &Ledger) -> Result<Vec<u64>, Error> {
    let there = listed(output).await?;
    let mut missing = kept(ledger);
    missing.retain(|&sequence| !there.contains(&path_of(sequence)));
    Ok(missing)
}

/// The files of metrics that are there.
///
/// # Errors
/// The store's.
pub async fn listed(output: &Output) -> Result<BTreeSet<String>, Error> {
    let location = output.location();
    let listed = location.store.list(Some(&location.path(FOLDER)?));
    let listed = listed
        .map_ok(|meta| location.relative(&meta.location).to_owned())
        .try_collect()
        .await;
    listed.map_err(|source| Error::store(location.url_of(FOLDER), source))
}

/// The metrics up to an entry as they were written; none where they are not there.
///
/// # Errors
/// The store's.
pub async fn read_bytes(output: &Output, sequence: u64) -> Result<Option<Bytes>, Error> {
    let (location, name) = (output.location(), path_of(sequence));
    let answer = match location.store.get(&location.path(&name)?).await {
        Ok(answer) => answer.bytes().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(Error::store(location.url_of(&name), source)),
    }
}

/// Reads the metrics up to an entry; none where they are not there.
///
/// # Errors
/// The store's, [`Error::Format`] where a newer engine wrote them, or [`Error::Ledger`] where they are none.
pub async fn read(output: &Output, sequence: u64) -> Result<Option<Metrics>, Error> {
    let bytes = read_bytes(output, sequence).await?;
    bytes
        .map(|bytes| parse(output, sequence, &bytes))
        .transpose()
}

/// What the file of the metrics up to an entry says.
///
/// # Errors
/// [`Error::Format`] where a newer engine wrote it, or [`Error::Ledger`] where it holds none.
pub fn parse(output: &Output, sequence: u64, bytes: &[u8]) -> Result<Metrics, Error> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let object = output.location().url_of(&path_of(sequence));
    let broken = |error: serde_json::Error| Error::Ledger {
        object: object.clone(),
        reason: format!("holds no metrics: {error}; delete it, and it is made again"),
    };
    let Format { format } = serde_json::from_slice(bytes).map_err(broken)?;
    if format > FORMAT {
        return Err(Error::Format {
            object,
            found: format,
            known: FORMAT,
        });
    }
    serde_json::from_slice(bytes).map_err(broken)
}
