//! Plans one drop, from the footers of its objects.
use connectors::{
    DropListing, DropPlan, Error as ConnectorError, Ledger,
    galaxy::{FileKind, KeptTypes},
};

use crate::{Error, plan::Plan};

impl Plan {
    /// Plans a drop from its footers. A drop that cannot be read is planned as failed.
    /// `kept` are the types of kept columns that are known.
    pub(crate) async fn plan_drop(
        &self,
        listing: &DropListing,
        attempt: &str,
        began: u64,
        kept: &KeptTypes,
    ) -> DropPlan {
        let planned = async {
            let (split_bytes, batch) = (self.split_bytes, self.batch);
            let catalog = &self.catalog;
            let mut plan = catalog
                .plan(listing, attempt, began, split_bytes, batch)
                .await?;
            let mut untyped = plan.untyped();
            untyped.retain(|column| !kept.contains_key(column));
            if !untyped.is_empty() {
                plan.know(&catalog.kept_types(&listing.name, untyped).await?);
            }
            plan.know(kept);
            Ok::<_, ConnectorError>(plan)
        };
        planned
            .await
            .unwrap_or_else(|error| DropPlan::failed(listing, attempt, began, error.to_string()))
    }

    /// Fails a drop whose ids or kept columns do not have the catalog's types, and a drop whose predictions would follow
    /// another run's predictions with another model.
    pub(crate) fn check(&self, ledger: &Ledger, listing: &DropListing, plan: DropPlan) -> DropPlan {
        if plan.failure.is_some() {
            return plan;
        }
        let ids = ledger.check_ids(&listing.name, plan.id_kind);
        let types = ids.and_then(|()| ledger.check_kept(&listing.name, &plan.keep));
        let model = match plan.kind {
            FileKind::Galaxies => self.check_model(ledger),
            FileKind::SpecZ => Ok(()),
        };
        match types.map_err(Error::from).and(model) {
            Ok(()) => plan,
            Err(error) => DropPlan::failed(listing, &plan.attempt, plan.began, error.to_string()),
        }
    }
}
