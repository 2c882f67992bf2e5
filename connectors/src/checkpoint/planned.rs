//! A drop on its way into the dataflow.
use serde::{Deserialize, Serialize};

use super::{
    adopted::{Adopted, Work},
    store::Found,
};
use crate::DropPlan;

/// A planned drop, and what earlier tries have stored of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedDrop {
    /// The plan.
    pub plan: DropPlan,
    /// The splits whose results are there already.
    #[serde(skip)]
    pub adopted: Adopted,
    /// Whether there are checkpoints of the drop, to be removed when the drop is committed.
    pub has_checkpoints: bool,
}

impl From<DropPlan> for PlannedDrop {
    fn from(plan: DropPlan) -> Self {
        Self {
            plan,
            adopted: Adopted::default(),
            has_checkpoints: false,
        }
    }
}

impl PlannedDrop {
    /// A drop that adopts the results in its checkpoints.
    pub fn adopting(plan: DropPlan, found: Found) -> Self {
        Self {
            adopted: Adopted::find(plan.splits.clone(), found.adoptable),
            plan,
            has_checkpoints: found.has_any,
        }
    }

    /// The tasks of the workers.
    pub fn work(self) -> Work {
        Work::new(self.plan.splits, self.adopted)
    }
}
