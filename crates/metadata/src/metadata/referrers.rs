//! What refers to a manifest.

use quayside_oci::Digest;

use super::{Metadata, Result};
use crate::queries::referrers;
use crate::{OrganizationId, ReferrerPage, View};

impl Metadata {
    /// A page of the held manifests of a repository whose subject is this one, by digest, after the
    /// given digest; of one artifact type only, if one is given (L2).
    ///
    /// Who is not a member sees those that a live tag holds, directly or through an index (B1). The
    /// subject itself need not be stored.
    // Each of them narrows the page down; together they are what a request asks for.
    #[allow(clippy::too_many_arguments)]
    pub async fn referrers(
        &self,
        organization: OrganizationId,
        repository: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
        view: View,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ReferrerPage> {
        let query = referrers::ReferrerQuery {
            organization,
            repository,
            subject,
            artifact_type,
            view,
            after,
            limit,
        };
        referrers::referrers(&self.engine, query).await
    }
}
