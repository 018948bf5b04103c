//! From JSON to [`Manifest`]: type, shape, descriptors.

use std::collections::BTreeMap;

use super::document::{Document, Entry, Object, Version};
use super::{Descriptor, Kind, MAX_BLOB_BYTES, MAX_MANIFEST_BYTES, Manifest, ManifestError};
use crate::Digest;
use crate::media_type::{
    self, DOCKER_CONFIG, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, is_index,
};

pub(super) fn parse(body: &[u8], content_type: Option<&str>) -> Result<Manifest, ManifestError> {
    if body.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLarge { length: body.len() });
    }
    if is_schema1(body, content_type) {
        return Err(ManifestError::Schema1);
    }
    let Object(document): Object<Document> = serde_json::from_slice(body).map_err(|source| {
        if source.is_data() {
            ManifestError::Field { source }
        } else {
            ManifestError::NotJson { source }
        }
    })?;
    let media_type = type_of(&document, content_type)?;
    check_shape(&document, &media_type)?;
    build(document, media_type)
}

pub(super) fn is_schema1(body: &[u8], content_type: Option<&str>) -> bool {
    let version = serde_json::from_slice(body)
        .ok()
        .map(|Object::<Version>(version)| version);
    let number = version
        .as_ref()
        .and_then(|version| version.schema_version.as_ref());
    if number.and_then(serde_json::Number::as_u64) == Some(1) {
        return true;
    }
    let own = version.as_ref().and_then(|version| version.media_type.as_deref());
    let known = |media_type: &&str| media_type::is_manifest(media_type) || media_type::is_schema1(media_type);
    own.filter(known)
        .or(content_type.map(media_type::without_parameters))
        .is_some_and(media_type::is_schema1)
}

/// The type rule of M12. A `Content-Type` that is no manifest's (`text/plain`, `application/json`)
/// says nothing, and clients would not know what to do with it.
fn type_of(document: &Document, content_type: Option<&str>) -> Result<String, ManifestError> {
    let own = document.media_type.as_deref();
    let given = content_type.map(media_type::without_parameters);
    if let Some(known) = own
        .into_iter()
        .chain(given)
        .find(|media_type| media_type::is_manifest(media_type))
    {
        return Ok(known.to_owned());
    }
    let by_shape = if document.manifests.is_some() {
        OCI_INDEX
    } else if let Some(config) = &document.config {
        if config.0.media_type.as_deref() == Some(DOCKER_CONFIG) {
            DOCKER_MANIFEST
        } else {
            OCI_MANIFEST
        }
    } else if document.blobs.is_some() && document.artifact_type.is_some() {
        OCI_ARTIFACT
    } else {
        let reason = "it has neither a known mediaType nor the fields of a manifest".to_owned();
        return Err(ManifestError::WrongShape { reason });
    };
    Ok(by_shape.to_owned())
}

/// A body must have the fields of its type and none that would make it another type: two clients that
/// read it differently would pull different images from one digest.
fn check_shape(document: &Document, media_type: &str) -> Result<(), ManifestError> {
    let wrong = |reason: String| Err(ManifestError::WrongShape { reason });
    if let Some(version) = &document.schema_version
        && version.as_u64() != Some(2)
    {
        return wrong(format!("its schemaVersion is {version}"));
    }
    let filled = |list: &Option<Vec<Object<Entry>>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if document.fs_layers.is_some() {
        return wrong("it has the field fsLayers of schema 1".to_owned());
    }
    if is_index(media_type) {
        if document.manifests.is_none() {
            return wrong(format!("{media_type} without the field manifests"));
        }
        if document.config.is_some() || filled(&document.layers) {
            return wrong(format!(
                "{media_type} with the fields config or layers of an image"
            ));
        }
        return Ok(());
    }
    if filled(&document.manifests) {
        return wrong(format!("{media_type} with the field manifests of an index"));
    }
    if media_type == OCI_ARTIFACT {
        if document.config.is_some() || filled(&document.layers) {
            return wrong(format!(
                "{media_type} with the fields config or layers of an image"
            ));
        }
    } else if document.config.is_none() {
        return wrong(format!("{media_type} without the field config"));
    }
    Ok(())
}

fn build(document: Document, media_type: String) -> Result<Manifest, ManifestError> {
    let Document {
        schema_version: _,
        media_type: _,
        fs_layers: _,
        config,
        layers,
        manifests,
        blobs,
        subject,
        artifact_type,
        annotations,
    } = document;
    let kind = if is_index(&media_type) {
        Kind::Index
    } else {
        Kind::Image
    };
    let mut reader = Reader::default();
    let config = config
        .map(|entry| reader.read(entry, "config".to_owned()))
        .transpose()?;
    let subject = subject
        .map(|entry| reader.read(entry, "subject".to_owned()))
        .transpose()?;
    let mut layers = reader.read_all(layers, "layers")?;
    // Only an artifact manifest has blobs; in another body the field means nothing to anybody.
    if media_type == OCI_ARTIFACT {
        layers.extend(reader.read_all(blobs, "blobs")?);
    }
    let (children, others): (Vec<_>, Vec<_>) = reader
        .read_all(manifests, "manifests")?
        .into_iter()
        .partition(is_child);
    layers.extend(others);
    let artifact_type = artifact_type
        .filter(|artifact_type| !artifact_type.is_empty())
        .or_else(|| config.as_ref().map(|config| config.media_type.clone()))
        .filter(|artifact_type| !artifact_type.is_empty());
    let text = |(key, value): (String, Option<String>)| (key, value.unwrap_or_default());
    let annotations = annotations.unwrap_or_default().into_iter().map(text).collect();
    Ok(Manifest {
        kind,
        media_type,
        config,
        layers,
        children,
        subject,
        artifact_type,
        annotations,
    })
}

/// What an index lists is a manifest if its type says so or says nothing.
fn is_child(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type.as_str();
    media_type.is_empty() || media_type::is_manifest(media_type) || media_type::is_schema1(media_type)
}

/// Reads descriptors and remembers the size that each digest was given.
#[derive(Default)]
struct Reader {
    sizes: BTreeMap<Digest, u64>,
}

impl Reader {
    fn read_all(
        &mut self,
        entries: Option<Vec<Object<Entry>>>,
        field: &str,
    ) -> Result<Vec<Descriptor>, ManifestError> {
        let entries = entries.unwrap_or_default().into_iter().enumerate();
        entries
            .map(|(index, entry)| self.read(entry, format!("{field}[{index}]")))
            .collect()
    }

    fn read(&mut self, Object(entry): Object<Entry>, place: String) -> Result<Descriptor, ManifestError> {
        let digest = match Digest::parse(&entry.digest) {
            Ok(digest) => digest,
            Err(source) => return Err(ManifestError::DescriptorDigest { place, source }),
        };
        let Some(size) = entry.size.as_u64().filter(|size| *size <= MAX_BLOB_BYTES) else {
            return Err(ManifestError::DescriptorSize { place });
        };
        let other = *self.sizes.entry(digest.clone()).or_insert(size);
        if other != size {
            return Err(ManifestError::Contradiction {
                place,
                digest,
                size,
                other,
            });
        }
        let media_type = entry.media_type.unwrap_or_default();
        let elsewhere = entry.urls.is_some_and(|urls| !urls.is_empty());
        let fetchable = !elsewhere && !media_type::is_foreign_layer(&media_type);
        let artifact_type = entry
            .artifact_type
            .filter(|artifact_type| !artifact_type.is_empty());
        Ok(Descriptor {
            media_type,
            digest,
            size,
            fetchable,
            artifact_type,
        })
    }
}
