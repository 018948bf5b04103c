//! Making a manifest held under the quota of its organization (SPEC §5): what has to go for it goes in the same
//! transaction, and what does not fit changes nothing.

use std::sync::Arc;

use quayside_metadata::{Admission, AdmitError, Admitted, Hold, Planner, Refusal, Unlimited};

use super::pruned::{Cause, image_name};
use super::{Engine, PullError, Quotas};
use crate::human::Size;
use crate::organizations::Served;
use crate::quota::{Planning, QuotaPlanner};

impl Engine {
    /// What an organization is held to, in bytes (Q1).
    pub(crate) fn quota(&self, served: &Served) -> Option<u64> {
        match self.quotas {
            Quotas::Enforced => served.spec.storage_quota_bytes,
            Quotas::Counted => None,
        }
    }

    /// Admits a manifest, and prunes for it if that is what it takes. `None`: it was believed to be stored, and is
    /// not any more.
    pub(crate) async fn admit(
        &self,
        served: &Served,
        admission: &Admission<'_>,
    ) -> Result<Option<Admitted>, PullError> {
        let mut planning = Planning::WithoutPlan;
        loop {
            let planner = self.planner(served, planning);
            match self.metadata.admit(admission, planner).await {
                Ok(admitted) => {
                    let cause = Cause::Pull {
                        image: asked_for(admission),
                        needed_bytes: admitted.needed_bytes,
                    };
                    self.forget_pruned(served, &admitted.pruned, &cause);
                    return Ok(Some(admitted));
                }
                // M15: a plan goes by the order of last uses, and the latest are still in memory.
                Err(AdmitError::NeedsPlan) => {
                    let written = self.renewals.written(&self.metadata).await;
                    written.map_err(|error| PullError::Unwritten(Arc::new(error)))?;
                    planning = Planning::WithPlan;
                }
                Err(AdmitError::ManifestGone) => return Ok(None),
                Err(AdmitError::Quota(refusal)) => return Err(refuse(served, admission, refusal)),
                Err(AdmitError::Metadata(error)) => return Err(error.into()),
            }
        }
    }

    fn planner(&self, served: &Served, planning: Planning) -> Arc<dyn Planner> {
        match self.quota(served) {
            Some(quota_bytes) => Arc::new(QuotaPlanner::new(quota_bytes, planning)),
            None => Arc::new(Unlimited),
        }
    }
}

/// The image that is admitted, as a person names it.
fn asked_for(admission: &Admission<'_>) -> String {
    let tag = match admission.hold {
        Hold::Tag { name, .. } => Some(name),
        Hold::Pin { .. } => None,
    };
    image_name(admission.repository, tag, admission.digest)
}

/// Q7: whoever waits for the manifest is told, and so is whoever runs the registry.
fn refuse(served: &Served, admission: &Admission<'_>, refusal: Refusal) -> PullError {
    let Refusal {
        quota_bytes,
        used_bytes,
        needed_bytes,
    } = refusal;
    served.metrics.refused.inc();
    tracing::info!(
        organization = %served.spec.name,
        repository = admission.repository,
        digest = %admission.digest,
        quota_bytes,
        used_bytes,
        needed_bytes,
        "refused {}: it needs {}, and {} of {} are in use",
        asked_for(admission),
        Size(needed_bytes),
        Size(used_bytes),
        Size(quota_bytes),
    );
    PullError::Quota {
        organization: served.spec.name.clone(),
        refusal,
    }
}
