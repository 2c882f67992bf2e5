//! Collective operations: what the workers of a dataflow, of all processes together, give and get in rounds.
//!
//! A worker's [`Rank`] is its index. A [`Round`] is a timestamp, or one item of each worker. Below, n is the number of
//! workers, and a round has items of type `D`:
//!
//! | operator | who gives | what a rank gets, each round | when |
//! |---|---|---|---|
//! | [`send`](PointToPoint::send), [`receive`](Receive::receive) | all, `(Rank, D)` | what was sent to it: [`Received`] | at once |
//! | [`broadcast_from`](BroadcastFrom::broadcast_from) a root | the root | all items of the root: `D` | at once |
//! | [`scatter_from`](ScatterFrom::scatter_from) a root | the root | items r, r + n, r + 2n, … at rank r: `D` | at once |
//! | [`gather_to`](Gather::gather_to) a root | all | the root: `Vec<(Rank, D)>`, in rank order | end of round |
//! | [`allgather`](Gather::allgather) | all | everyone: `Vec<(Rank, D)>`, in rank order | end of round |
//! | [`reduce_to`](Reduce::reduce_to) a root | all | the root: the fold, `D` | end of round |
//! | [`allreduce`](Reduce::allreduce) | all | everyone: the fold, `D` | end of round |
//! | [`scan`](Reduce::scan) | all | rank r: the fold of ranks 0 to r, `D` | end of round |
//! | [`allreduce_vectors`](ReduceVectors::allreduce_vectors) | all, `Vec<E>` | everyone: the fold of each element | end of round |
//! | [`barrier`](Barrier::barrier) | all | its own items | end of round |
//!
//! **Order.** A fold is the left fold over the ranks 0, 1, … n − 1, and over the items of a rank in the order in which it
//! gave them. So the same bits come out however many processes the workers are in, also of functions that are neither
//! commutative nor associative. Between two workers, items stay in their order.
//!
//! **Nothing to give.** A worker may give nothing in a round. It is then left out of the fold, and still gets the result.
//! A round in which nobody gives anything has no result.
//!
//! **Memory.** An operator holds the items of the rounds that are open, and no more. Nothing bounds how many rounds a
//! worker may be ahead of the others: a program that loops waits for its result before it gives the next item.
//!
//! **Errors.** A rank that the cluster does not have cannot be made ([`NoSuchRank`]). The operators themselves cannot
//! fail. When a process is lost, the dataflow ends, as it does for all operators.
mod barrier;
mod broadcast;
mod gather;
mod letter;
mod rank;
mod reduce;
mod round;
mod scatter;
mod send;
mod vectors;

pub use barrier::Barrier;
pub use broadcast::BroadcastFrom;
pub use gather::Gather;
pub use rank::{NoSuchRank, Rank};
pub use reduce::Reduce;
pub use round::Round;
pub use scatter::ScatterFrom;
pub use send::{PointToPoint, Receive, Received};
pub use vectors::ReduceVectors;
