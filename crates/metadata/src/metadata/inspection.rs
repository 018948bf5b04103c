//! What tools ask about one image.

use std::convert::Infallible;
use std::sync::Arc;

use super::{Metadata, Result};
use crate::queries::{admit, inspect};
use crate::{
    Admission, AdmitError, Admitted, Inspection, ManifestId, MetadataError, OrganizationId, Planner,
};

/// Why a rehearsal is rolled back: always.
enum Rehearsed {
    Ended(Result<Admitted, AdmitError>),
    Failed(MetadataError),
}

impl From<MetadataError> for Rehearsed {
    fn from(source: MetadataError) -> Self {
        Self::Failed(source)
    }
}

impl Metadata {
    /// What holds a manifest, what belongs to it and how much of that nothing else in the organization
    /// holds; nothing if it was collected. Reads what belongs to the image, changes nothing.
    pub async fn inspect(
        &self,
        organization: OrganizationId,
        manifest: ManifestId,
    ) -> Result<Option<Inspection>> {
        inspect::inspect(&self.engine, organization, manifest).await
    }

    /// What [`admit`](Self::admit) would do now, and nothing is changed: the same transaction, rolled back. Like
    /// that one it waits for the writer, and renewals have to be written before (M15).
    pub async fn rehearse(
        &self,
        admission: &Admission<'_>,
        planner: Arc<dyn Planner>,
    ) -> Result<Admitted, AdmitError> {
        let request = admit::Request::new(admission, planner);
        let rehearsal: Result<Infallible, Rehearsed> = self
            .engine
            .write(request, |tx, request| {
                Box::pin(async move { Err(Rehearsed::Ended(admit::admit(tx, request).await)) })
            })
            .await;
        match rehearsal {
            Ok(never) => match never {},
            Err(Rehearsed::Ended(end)) => end,
            Err(Rehearsed::Failed(source)) => Err(AdmitError::Metadata(source)),
        }
    }
}
