//! Processes that come while the cluster runs: where there is room, the cluster begins again with them.
use std::time::Duration;

use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};

use crate::{clock::clock, cluster::Reception};

/// How long a cluster works before it begins again for processes that have come.
const WORK_MIN: Duration = Duration::from_secs(10);

/// The task of the leader that answers processes which come.
pub(super) struct Receiving {
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Receiving {
    /// Begins to answer. `regroup` is called once, if the cluster is to begin again.
    pub fn start(
        mut reception: Reception,
        regroup: impl FnOnce() + Send + 'static,
        runtime: &Handle,
    ) -> Self {
        let (over, is_over) = oneshot::channel();
        let began = clock();
        let task = async move {
            let wait = async {
                reception.receive().await;
                // A process that finds the cluster complete tries again each second.
                while clock() - began < WORK_MIN {
                    reception.receive().await;
                }
                regroup();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = wait => (),
                // An error means the same.
                _ = is_over => (),
            }
            reception.close().await;
        };
        Self {
            over,
            task: runtime.spawn(task),
        }
    }

    /// Ends when the cluster does.
    pub fn end(self, runtime: &Handle) {
        drop(self.over);
        // The next cluster removes an invitation that is left.
        let _ = runtime.block_on(self.task);
    }
}
