//! The JSON of a manifest, as far as we read it. Unknown fields are ignored: the body is kept whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Every field of every kind of manifest, so that a body that mixes kinds is seen to do so.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(super) schema_version: Option<serde_json::Number>,
    #[serde(default)]
    pub(super) media_type: Option<String>,
    #[serde(default)]
    pub(super) config: Option<Entry>,
    #[serde(default, deserialize_with = "present")]
    pub(super) layers: Option<Vec<Entry>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) manifests: Option<Vec<Entry>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) blobs: Option<Vec<Entry>>,
    /// Schema 1's list of layers.
    #[serde(default, rename = "fsLayers")]
    pub(super) fs_layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(super) subject: Option<Entry>,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, serde_json::Value>>,
}

/// A descriptor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default)]
    pub(super) media_type: Option<String>,
    pub(super) digest: String,
    pub(super) size: serde_json::Number,
    #[serde(default)]
    pub(super) urls: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
}

/// What decides whether a body is schema 1, read on its own so that nothing else in it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    #[serde(default)]
    pub(super) schema_version: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) media_type: Option<serde_json::Value>,
}

/// A list that is there although it may be `null`, which is how Go writes an empty one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Entry>>, D::Error> {
    Option::<Vec<Entry>>::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}
