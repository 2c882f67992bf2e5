//! A conformance suite for stores: what the catalog, reading, the output and the ledger need from each of them.
mod catalog;
mod ledger;
mod output;
mod reading;

use connectors::Location;

use crate::below;

/// Asserts that a store does all that Hubbleflow needs. Each part of the suite uses its own folder below `location`.
pub async fn conforms(location: Location) {
    let part = |name: &str| below(&location, name);
    catalog::drops_come_in_the_byte_order_of_their_names(&part("names")).await;
    catalog::hidden_names_are_ignored(&part("hidden")).await;
    catalog::long_listings_are_read_whole(&part("many")).await;
    catalog::a_catalog_can_be_one_drop(&part("all")).await;
    reading::rows_are_read_once_in_order(&part("rows")).await;
    reading::large_row_groups_are_cut_or_streamed(&part("large")).await;
    reading::a_replaced_object_is_noticed(&part("replaced")).await;
    reading::a_truncated_object_is_corrupt(&part("truncated")).await;
    output::the_check_of_a_store_leaves_nothing(&part("checked")).await;
    output::a_drop_is_staged_committed_and_published(&part("published")).await;
    output::one_of_two_attempts_commits(&part("overtaken")).await;
    output::an_abandoned_attempt_cannot_commit(&part("abandoned")).await;
    output::recovery_rolls_forward(&part("recovered")).await;
    output::a_superseding_entry_takes_the_old_files_away(&part("superseded")).await;
    ledger::appenders_take_turns(&part("ledger")).await;
}
