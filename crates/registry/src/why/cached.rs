//! What is cached of an image.

use std::collections::BTreeMap;
use std::sync::Arc;

use quayside_metadata::{HeldBy, Inspection, StoredManifest, TagState};
use quayside_oci::{Digest, Kind, Manifest, Reference, RepositoryName};
use serde::Deserialize;

use crate::organizations::Served;
use crate::pull::{Engine, PullError};

/// What the database has for a reference.
pub(super) struct Found {
    /// The current row of the tag, if that is what was asked about.
    pub(super) tag: Option<TagState>,
    pub(super) manifest: Option<StoredManifest>,
    pub(super) cached: Option<Cached>,
}

impl Found {
    /// What Q4 compares with the quota: an index is its body.
    pub(super) fn alone_bytes(&self) -> u64 {
        match (&self.manifest, &self.cached) {
            (Some(manifest), _) if manifest.kind == Kind::Index => manifest.body.len() as u64,
            (_, Some(cached)) => cached.inspection.alone_bytes + cached.inspection.shared_bytes,
            _ => 0,
        }
    }
}

/// What is cached.
pub(crate) struct Cached {
    pub(crate) manifest: StoredManifest,
    /// The current row of the tag, if that is what was asked about.
    pub(crate) tag: Option<TagState>,
    pub(crate) standing: Standing,
    pub(crate) artifact_type: Option<String>,
    pub(crate) inspection: Inspection,
    /// Of an index, in its order.
    pub(crate) children: Vec<Child>,
}

/// How a manifest stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Something live holds it.
    Live,
    /// Held, and nothing that holds it is live.
    Dead,
    /// Held by nothing: not counted, collected soon.
    Released,
}

/// A manifest that an index names.
pub(crate) struct Child {
    pub(crate) digest: Digest,
    /// `linux/arm64/v8`; nothing if the index does not say.
    pub(crate) platform: Option<String>,
    pub(crate) stored: bool,
    /// How many of its blobs are not to be had from storage, if it is stored.
    pub(crate) missing: usize,
}

impl Cached {
    /// Whether a pull of it would need nothing from upstream: of an index, of every child too.
    pub(crate) fn is_complete(&self) -> bool {
        let parts = self.inspection.parts.iter();
        parts.clone().all(|part| part.missing.is_empty()) && self.children.iter().all(|child| child.stored)
    }
}

pub(super) async fn find(
    engine: &Arc<Engine>,
    served: &Served,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Found, PullError> {
    let name = repository.as_str();
    let (tag, manifest) = match reference {
        Reference::Tag(tag) => {
            let state = engine.metadata.tag(served.id, name, tag.as_str()).await?;
            let manifest = state.as_ref().map(|state| state.manifest.clone());
            (state, manifest)
        }
        Reference::Digest(digest) => (None, engine.metadata.manifest(served.id, name, digest).await?),
    };
    let mut found = Found {
        tag,
        manifest,
        cached: None,
    };
    let Some(manifest) = &found.manifest else {
        return Ok(found);
    };
    let Some(inspection) = engine.metadata.inspect(served.id, manifest.id).await? else {
        // It was collected a moment ago.
        found.manifest = None;
        return Ok(found);
    };
    let live = engine
        .metadata
        .live_manifest(served.id, name, &manifest.digest, engine.now(), HeldBy::TagOrPin)
        .await?;
    let standing = match (manifest.released, live) {
        (true, _) => Standing::Released,
        (false, Some(_)) => Standing::Live,
        (false, None) => Standing::Dead,
    };
    // What is stored was read once; if it cannot be read any more there is nothing to say of its inside.
    let parsed = Manifest::parse(&manifest.body, Some(&manifest.media_type)).ok();
    found.cached = Some(Cached {
        children: parsed
            .as_ref()
            .map(|parsed| children(parsed, &manifest.body, &inspection))
            .unwrap_or_default(),
        artifact_type: parsed
            .filter(|parsed| parsed.subject.is_some())
            .and_then(|parsed| parsed.artifact_type),
        manifest: manifest.clone(),
        tag: found.tag.clone(),
        standing,
        inspection,
    });
    Ok(found)
}

fn children(parsed: &Manifest, body: &[u8], inspection: &Inspection) -> Vec<Child> {
    let mut platforms = platforms(body);
    let children = parsed.children.iter().map(|child| {
        let stored = inspection.parts.iter().find(|part| part.digest == child.digest);
        Child {
            platform: platforms.remove(child.digest.as_str()),
            stored: stored.is_some(),
            missing: stored.map_or(0, |part| part.missing.len()),
            digest: child.digest.clone(),
        }
    });
    children.collect()
}

/// The platforms that an index gives its manifests, as people write them.
fn platforms(body: &[u8]) -> BTreeMap<String, String> {
    let Ok(index) = serde_json::from_slice::<Index>(body) else {
        return BTreeMap::new();
    };
    let named = index.manifests.into_iter().filter_map(|entry| {
        let Platform {
            os,
            architecture,
            variant,
        } = entry.platform?;
        let parts = [Some(os), Some(architecture), variant];
        let parts: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        Some((entry.digest, parts.join("/")))
    });
    named.collect()
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O5: an index may say of its manifests for which platform they are.
    #[test]
    fn platforms_are_said_as_people_write_them() {
        let body = br#"{ "manifests": [
            { "digest": "a", "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" } },
            { "digest": "b", "platform": { "os": "linux", "architecture": "amd64" } },
            { "digest": "c" }
        ] }"#;
        let said: Vec<_> = platforms(body).into_iter().collect();
        let expected = [("a", "linux/arm64/v8"), ("b", "linux/amd64")];
        assert_eq!(
            said,
            expected.map(|(digest, platform)| (digest.to_owned(), platform.to_owned()))
        );
        assert!(platforms(b"no index").is_empty());
    }
}
