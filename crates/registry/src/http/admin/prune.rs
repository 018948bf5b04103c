//! `GET /prune?organization=…&bytes=…`: what would go to make room, and why (O5, Q5).

use std::sync::Arc;

use http::StatusCode;
use quayside_metadata::{MetadataError, PruneError, Pruned};
use quayside_oci::OrganizationName;
use serde_json::{Value, json};

use super::Admin;
use super::commands::{failed, gave_up, is_away, shown};
use super::why::{pruned, time};
use crate::http::Response;
use crate::organizations::Served;
use crate::quota::QuotaPlanner;

/// What a plan comes to.
enum Plan {
    /// Nothing has to go.
    Fits,
    /// These go, in that order.
    Prunes(Vec<Pruned>),
    /// Not even everything together is enough.
    TooLittle,
}

impl Admin {
    pub(super) async fn plan(&self, organization: Option<String>, bytes: Option<String>) -> Response {
        let name = organization.as_deref().map(OrganizationName::parse);
        let Some(Ok(name)) = name else {
            return failed(
                StatusCode::BAD_REQUEST,
                "the organization's name is missing or none",
            );
        };
        let Some(bytes) = bytes.and_then(|bytes| bytes.parse().ok()) else {
            return failed(StatusCode::BAD_REQUEST, "the number of bytes is missing or none");
        };
        let Some(served) = self.snapshot.load().get(&name).cloned() else {
            let message = format!("no organization {name} is served");
            return failed(StatusCode::BAD_REQUEST, &message);
        };
        match self.plan_for(&served, bytes).await {
            Ok(document) => shown(&document),
            Err(error) => gave_up(is_away(&error), error),
        }
    }

    async fn plan_for(&self, served: &Served, bytes: u64) -> Result<Value, MetadataError> {
        let engine = &self.engine;
        // M15: the order goes by the latest uses, some of which are still in memory.
        engine.renewals.written(&engine.metadata).await?;
        let usages = engine.metadata.usages().await?;
        let usage = usages.iter().find(|(id, _)| *id == served.id);
        let usage = usage.map_or(0, |(_, bytes)| *bytes);
        let quota = engine.quota(served);
        let plan = match quota {
            None => Plan::Fits,
            Some(quota) => self.ask_planner(served, quota, bytes).await?,
        };
        let shortfall = quota.map_or(0, |quota| usage.saturating_add(bytes).saturating_sub(quota));
        let (rule, reason) = match (&plan, quota) {
            (_, None) => ("Q1", "the organization has no quota"),
            (Plan::Fits, _) => ("Q5", "it fits as it is"),
            (Plan::Prunes(_), _) => ("Q5", "these images would be pruned"),
            (Plan::TooLittle, Some(quota)) if bytes > quota => (
                "Q4",
                "it is larger than the quota: it is refused, and nothing is pruned",
            ),
            (Plan::TooLittle, _) => (
                "Q5",
                "not even everything that could be pruned is enough: it is refused, and nothing is pruned",
            ),
        };
        let images: &[Pruned] = match &plan {
            Plan::Prunes(images) => images,
            Plan::Fits | Plan::TooLittle => &[],
        };
        Ok(json!({
            "organization": served.spec.name.as_str(),
            "bytes": bytes,
            "quotaBytes": quota,
            "usageBytes": usage,
            "shortfallBytes": shortfall,
            "suffices": !matches!(plan, Plan::TooLittle),
            "freedBytes": images.iter().map(|image| image.freed_bytes).sum::<u64>(),
            "rule": rule,
            "reason": reason,
            "prunes": pruned(images),
            "at": time(engine.now()),
        }))
    }

    async fn ask_planner(&self, served: &Served, quota: u64, bytes: u64) -> Result<Plan, MetadataError> {
        let planner = Arc::new(QuotaPlanner::making_room(quota, bytes));
        let (metadata, now) = (&self.engine.metadata, self.engine.now());
        match metadata.plan_prune(served.id, planner, now).await {
            Ok(pruning) if pruning.pruned.is_empty() => Ok(Plan::Fits),
            Ok(pruning) => Ok(Plan::Prunes(pruning.pruned)),
            Err(PruneError::Quota(_) | PruneError::NeedsPlan) => Ok(Plan::TooLittle),
            Err(PruneError::Metadata(error)) => Err(error),
        }
    }
}
