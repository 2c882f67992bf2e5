//! Items on their way from one rank to another.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::{
    ExchangeData,
    dataflow::{
        StreamVec,
        channels::pact::{Exchange, Pipeline},
        operators::generic::Operator,
    },
    progress::Timestamp,
};

use super::Rank;

/// An item, with the rank that it comes from and the rank that it goes to.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Letter<D> {
    to: u32,
    from: u32,
    /// The place of the item among those that its rank gave at this time.
    pub number: u64,
    pub item: D,
}

impl<D> Letter<D> {
    pub fn from(&self) -> Rank {
        Rank(self.from)
    }
}

/// Letters on their way.
pub(super) type Letters<'s, T, D> = StreamVec<'s, T, Letter<D>>;

/// Where letters go: a letter is delivered to the worker of its rank.
pub(super) fn by_rank<D: ExchangeData>() -> Exchange<Letter<D>, impl FnMut(&Letter<D>) -> u64> {
    Exchange::new(|letter: &Letter<D>| u64::from(letter.to))
}

/// Makes letters of items. `address` gets the place of an item among those of its time on this worker, and the item;
/// it returns what goes to whom.
///
/// Containers are taken one by one, here and wherever the order of items counts: `for_each_time` sorts them by their
/// times with a sort that is not stable, so containers of one time may change places.
pub(super) fn post<'s, T: Timestamp, D: 'static, L: Clone + 'static, I>(
    items: StreamVec<'s, T, D>,
    name: &str,
    mut address: impl FnMut(u64, D) -> I + 'static,
) -> Letters<'s, T, L>
where
    I: IntoIterator<Item = (Rank, L)>,
{
    let from = items.scope().index() as u32;
    items.unary_frontier(Pipeline, name, move |_capability, _info| {
        // How many items have come of each time that is open.
        let mut given: BTreeMap<T, u64> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|time, items| {
                let given = given.entry(time.time().clone()).or_default();
                let mut session = output.session(&time);
                for item in items.drain(..) {
                    let number = *given;
                    *given += 1;
                    let addressed = address(number, item).into_iter();
                    session.give_iterator(addressed.map(|(Rank(to), item)| Letter {
                        to,
                        from,
                        number,
                        item,
                    }));
                }
            });
            given.retain(|time, _| frontier.less_equal(time));
        }
    })
}

/// Gives the same to several ranks; the last gets the item itself.
pub(super) fn to_each<D: Clone>(
    ranks: impl ExactSizeIterator<Item = Rank>,
    item: D,
) -> impl Iterator<Item = (Rank, D)> {
    let copies = std::iter::repeat_n(item, ranks.len());
    ranks.zip(copies)
}

/// Takes the items out of letters as they come.
pub(super) fn open<'s, T: Timestamp, L: ExchangeData, D: 'static>(
    letters: Letters<'s, T, L>,
    name: &str,
    mut take: impl FnMut(Letter<L>) -> D + 'static,
) -> StreamVec<'s, T, D> {
    letters.unary(by_rank(), name, move |_capability, _info| {
        move |input, output| {
            input.for_each(|time, letters| {
                let items = letters.drain(..).map(&mut take);
                output.session(&time).give_iterator(items);
            });
        }
    })
}
