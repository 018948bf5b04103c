//! What a pass did.

use std::time::Duration;

use quayside_metadata::Forecast;
use serde::Serialize;

/// What a pass did, or, of a dry run, would have done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// For how many seconds more nothing is done, because the wall clock was stepped (E3); 0: no rest. A dry run
    /// counts nevertheless what is due.
    pub resting_seconds: u64,
    /// Tags and pins that would never have ended and got an end, because the TTL is no longer 0 (E3).
    pub limited_tags: u64,
    /// Tag rows that had outlived their Window (E2), those that others had replaced included.
    pub swept_tags: u64,
    /// Digest pins that had outlived their Window.
    pub swept_pins: u64,
    /// Images that went because their organization was over its quota (Q9). Those that a pull prunes for itself are
    /// not the collector's doing, and not here.
    pub pruned_images: u64,
    /// Manifests that nothing held any more: they no longer count, and are collected a grace later.
    pub released_manifests: u64,
    /// Manifests that had been released a grace ago and are gone now.
    pub collected_manifests: u64,
    /// Blobs that no manifest named any more, stored or not. Their bytes are deleted a grace later.
    pub collected_blobs: u64,
    /// Repositories that were left without a manifest.
    pub collected_repositories: u64,
    /// Organizations that were removed from the file and of which nothing was left (G5).
    pub departed_organizations: u64,
    /// Fills whose time was over.
    pub expired_fills: u64,
    /// Storage keys that were deleted.
    pub deleted_keys: u64,
    /// The bytes at those keys.
    pub deleted_bytes: u64,
    /// Storage keys that could not be deleted and are tried again later.
    pub failed_keys: u64,
}

impl Report {
    pub(super) fn of_forecast(forecast: &Forecast) -> Self {
        Self {
            swept_tags: forecast.tags,
            swept_pins: forecast.pins,
            released_manifests: forecast.released,
            collected_manifests: forecast.manifests,
            collected_blobs: forecast.blobs,
            expired_fills: forecast.fills,
            deleted_keys: forecast.keys,
            deleted_bytes: forecast.bytes,
            ..Self::default()
        }
    }

    pub(super) fn did_nothing(&self) -> bool {
        let idle = Self {
            resting_seconds: self.resting_seconds,
            ..Self::default()
        };
        *self == idle
    }

    pub(super) fn log(&self) {
        tracing::info!(
            swept_tags = self.swept_tags,
            swept_pins = self.swept_pins,
            pruned_images = self.pruned_images,
            released_manifests = self.released_manifests,
            collected_manifests = self.collected_manifests,
            collected_blobs = self.collected_blobs,
            expired_fills = self.expired_fills,
            deleted_keys = self.deleted_keys,
            deleted_bytes = self.deleted_bytes,
            failed_keys = self.failed_keys,
            "garbage collected"
        );
    }

    pub(super) fn rest(&mut self, rest: Duration) {
        // A rest of half a second is a rest.
        self.resting_seconds = rest.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_a_report_is_what_the_documentation_says() {
        let mut report = Report {
            swept_tags: 1,
            deleted_bytes: 2,
            ..Report::default()
        };
        report.rest(Duration::from_millis(1_001));
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "restingSeconds": 2, "limitedTags": 0, "sweptTags": 1, "sweptPins": 0,
                "prunedImages": 0, "releasedManifests": 0, "collectedManifests": 0, "collectedBlobs": 0,
                "collectedRepositories": 0, "departedOrganizations": 0, "expiredFills": 0,
                "deletedKeys": 0, "deletedBytes": 2, "failedKeys": 0,
            })
        );
        assert!(!report.did_nothing());
    }

    #[test]
    fn a_rest_is_nothing_done() {
        let mut report = Report::default();
        assert!(report.did_nothing());
        report.rest(Duration::from_secs(5));
        assert!(report.did_nothing());
    }
}
