//! A bound on bytes in flight: whoever holds bytes holds a permit for them.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB, so that a budget of terabytes fits the semaphore's counter.
const UNIT_BYTES: u64 = 1024;

/// How many bytes a process may have in flight: fetched, decoded, waiting for the model.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    all: u32,
}

/// The right to hold some bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit(OwnedSemaphorePermit);

impl Budget {
    /// A budget of so many bytes, at least one KiB.
    pub fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT_BYTES)
            .unwrap_or(u32::MAX >> 3)
            .clamp(1, u32::MAX >> 3);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// The whole budget in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.all) * UNIT_BYTES
    }

    /// Waits until so many bytes are free. What asks for more than the whole gets the whole, alone.
    pub async fn acquire(&self, bytes: u64) -> Permit {
        let permit = self
            .units
            .clone()
            .acquire_many_owned(self.units_of(bytes))
            .await;
        Permit(permit.expect("the semaphore of a budget is never closed"))
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.all)
    }
}

impl Permit {
    /// Gives back all but so many bytes.
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
