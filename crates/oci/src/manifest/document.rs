//! The JSON of a manifest, as far as we read it. Unknown fields are ignored: the body is kept whole.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
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
    pub(super) config: Option<Object<Entry>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) layers: Option<Vec<Object<Entry>>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) manifests: Option<Vec<Object<Entry>>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) blobs: Option<Vec<Object<Entry>>>,
    /// Schema 1's list of layers.
    #[serde(default, rename = "fsLayers")]
    pub(super) fs_layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(super) subject: Option<Object<Entry>>,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, Option<String>>>,
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
    pub(super) schema_version: Option<serde_json::Number>,
    #[serde(default)]
    pub(super) media_type: Option<String>,
}

/// A list that is there although it may be `null`, which is how Go writes an empty one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Object<Entry>>>, D::Error> {
    Option::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

/// A JSON object. A derived struct would also be read from an array of its fields in order, which is
/// no manifest to anybody else.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}
