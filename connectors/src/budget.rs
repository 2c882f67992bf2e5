//! Limits the bytes in flight. Bytes may only be held with a permit.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The unit of permits, so that a budget of terabytes fits the counter of the semaphore.
const UNIT_BYTES: u64 = 1024;

/// The bytes that a process may have in flight: fetched, decoded, and waiting for the model.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    all: u32,
    /// The bytes of results that wait to be written.
    waiting: Arc<watch::Sender<u64>>,
}

/// Counts results that wait to be written. Nothing new is read while there are too many.
#[derive(Debug)]
pub struct Waiting {
    bytes: u64,
    all: Arc<watch::Sender<u64>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.send_modify(|all| *all -= self.bytes);
    }
}

/// The permission to hold some bytes. It is given back when dropped.
#[derive(Debug)]
pub struct Permit(OwnedSemaphorePermit);

impl Budget {
    /// Makes a budget of this many bytes, at least one KiB.
    pub fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT_BYTES)
            .unwrap_or(u32::MAX >> 3)
            .clamp(1, u32::MAX >> 3);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
            waiting: Arc::new(watch::Sender::new(0)),
        }
    }

    /// The whole budget in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.all) * UNIT_BYTES
    }

    /// Counts results that wait to be written, until the returned value is dropped.
    pub fn wait_with(&self, bytes: u64) -> Waiting {
        self.waiting.send_modify(|all| *all += bytes);
        Waiting {
            bytes,
            all: self.waiting.clone(),
        }
    }

    /// Waits until this many bytes are free, and until results that wait to be written take at most a third of the budget. A
    /// request for more than the whole budget gets the whole budget.
    pub async fn acquire(&self, bytes: u64) -> Permit {
        let few = |waiting: &u64| *waiting <= self.bytes() / 3;
        // This fails only if the sender is dropped, and `self` holds the sender.
        let _ = self.waiting.subscribe().wait_for(few).await;
        let permit = self
            .units
            .clone()
            .acquire_many_owned(self.units_of(bytes))
            .await;
        Permit(permit.expect("invariant: the semaphore of a budget is never closed"))
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.all)
    }
}

impl Permit {
    /// Gives back all but this many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let keep = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        if let Some(surplus) = self.0.num_permits().checked_sub(keep) {
            drop(self.0.split(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn nothing_is_taken_in_while_results_wait_to_be_put_away() {
        let budget = Budget::new(30 << 10);
        let few = budget.wait_with(10 << 10);
        assert!(budget.acquire(1 << 10).now_or_never().is_some());
        let more = budget.wait_with(1 << 10);
        let mut next = Box::pin(budget.acquire(1 << 10));
        assert!((&mut next).now_or_never().is_none());
        drop(few);
        assert!(next.now_or_never().is_some());
        drop(more);
    }

    #[tokio::test]
    async fn bytes_are_waited_for_and_given_back() {
        let budget = Budget::new(100 << 10);
        let mut first = budget.acquire(80 << 10).await;
        assert!(
            budget.acquire(40 << 10).now_or_never().is_none(),
            "more than is free was granted"
        );
        first.shrink_to(60 << 10);
        let second = budget.acquire(40 << 10).await;
        drop((first, second));
        let _whole = budget.acquire(u64::MAX).await;
        assert!(
            budget.acquire(1).now_or_never().is_none(),
            "the whole was not the whole"
        );
    }
}
