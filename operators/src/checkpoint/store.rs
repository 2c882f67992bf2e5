//! Stores bundles as checkpoints.
use std::sync::Arc;

use timely::dataflow::{channels::pact::Pipeline, operators::vec::Map};

use super::{Checkpointer, collect::Collected};
use crate::{
    Flow,
    offload::{Reply, blocking, offload},
    predictions::Bundle,
};

/// Upper bound on the bundles that a worker stores concurrently.
const STORED_AT_ONCE: usize = 2;

/// A bundle after the step that stores.
pub(super) struct Kept {
    pub bundle: Bundle,
    /// Why the bundle could not be stored.
    pub error: Option<String>,
}

/// Stores bundles that are marked `to_store`. If that fails, the bundle is passed on with the error.
pub(super) fn store<'s>(
    bundles: Flow<'s, Collected>,
    checkpointer: &Checkpointer,
) -> Flow<'s, Kept> {
    let (budget, worker) = (
        checkpointer.budget.clone(),
        bundles.scope().worker().index(),
    );
    let bundles = bundles.map(move |Collected { bundle, to_store }| {
        let bytes = if to_store { bundle.bytes() } else { 0 };
        (bundle, to_store, budget.wait_with(bytes))
    });
    let (checkpointer, mut count) = (checkpointer.clone(), 0_u64);
    let store = move |(bundle, to_store, weight): (Bundle, bool, _), reply: Reply<_>| {
        let (of, ended) = (checkpointer.clone(), bundle.ended);
        if !to_store {
            reply.send(Kept {
                bundle,
                error: None,
            });
            reply.finish();
            return of.shutdown.end(ended);
        }
        let number = format!("{worker}-{count}");
        count += 1;
        checkpointer.runtime.spawn(async move {
            reply.send(of.store(bundle, number).await);
            reply.finish();
            of.shutdown.end(ended);
            drop(weight);
        });
    };
    offload(bundles, Pipeline, "Store", STORED_AT_ONCE, store)
}

impl Checkpointer {
    /// Stores a bundle. If that is not possible, the results stay in memory.
    async fn store(&self, mut bundle: Bundle, number: String) -> Kept {
        let error = self.try_store(&mut bundle, number).await.err();
        if let Some(error) = &error {
            tracing::warn!("{error}; the results stay in memory");
        }
        Kept { bundle, error }
    }

    async fn try_store(&self, bundle: &mut Bundle, number: String) -> Result<(), String> {
        let results = Arc::new(std::mem::take(&mut bundle.results));
        let (checkpoints, encoded) = (self.checkpoints.clone(), results.clone());
        let encoded = blocking(&self.runtime, move || checkpoints.encode(&encoded, &number));
        let encoded = encoded.await;
        bundle.results = Arc::unwrap_or_clone(results);
        let encoded = encoded.and_then(|encoded| encoded.map_err(|error| error.to_string()));
        let encoded = encoded
            .map_err(|reason| format!("{}: results cannot be encoded: {reason}", bundle.drop))?;
        if let Some(encoded) = encoded {
            let stored = self.checkpoints.put(encoded).await;
            bundle.stored = Some(stored.map_err(|error| error.to_string())?);
            bundle.tally.checkpoints += 1;
        }
        Ok(())
    }
}
