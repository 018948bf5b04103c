//! Image manifests and artifacts.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::archive::Layer;
use super::{
    Blob, DOCKER_CONFIG, DOCKER_FOREIGN, DOCKER_LAYER, DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST,
    sha256,
};

/// Which of the two manifest families an image is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification.
    Oci,
    /// Docker, version 2, schema 2.
    Docker,
}

/// One image: its manifest and everything that the manifest names.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest; its bytes, digest and type.
    pub manifest: Blob,
    /// The image configuration.
    pub config: Blob,
    /// The layers that a registry has to hold, without foreign ones.
    pub layers: Vec<Blob>,
}

impl Image {
    /// An OCI image for linux/amd64; add to it, then [`ImageBuilder::build`].
    pub fn builder() -> ImageBuilder {
        ImageBuilder {
            format: Format::Oci,
            layers: Vec::new(),
            diff_ids: Vec::new(),
            entries: Vec::new(),
            platform: ("linux".to_owned(), "amd64".to_owned()),
            config: None,
            config_extra: Map::new(),
            extra: Map::new(),
        }
    }

    /// An image with one random layer per entry of `sizes`, different for each `seed`.
    pub fn random(seed: u64, sizes: &[usize]) -> Self {
        let mut builder = Self::builder().label("seed", &seed.to_string());
        for (position, size) in sizes.iter().enumerate() {
            builder = builder.layer(Blob::random(seed * 1000 + position as u64, *size));
        }
        builder.build()
    }

    /// An image that podman and containerd can unpack and run: one small layer with a file of `content`.
    pub fn runnable(content: &str) -> Self {
        Self::builder()
            .archive(super::archive::layer(&[("etc/content", content.as_bytes())]))
            .build()
    }

    /// `sha256:<hex>` of the manifest.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The manifest, byte for byte.
    pub fn body(&self) -> &Bytes {
        &self.manifest.bytes
    }

    /// The manifest's media type.
    pub fn media_type(&self) -> &str {
        &self.manifest.media_type
    }

    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// Collects what an [`Image`] consists of.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    format: Format,
    layers: Vec<Blob>,
    diff_ids: Vec<String>,
    entries: Vec<Value>,
    platform: (String, String),
    config: Option<Blob>,
    config_extra: Map<String, Value>,
    extra: Map<String, Value>,
}

impl ImageBuilder {
    /// OCI unless said otherwise. Say it before layers are added: it decides their type.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Adds a layer whose bytes are used as they are.
    #[must_use]
    pub fn layer(mut self, mut layer: Blob) -> Self {
        if self.format == Format::Docker && layer.media_type == OCI_LAYER {
            DOCKER_LAYER.clone_into(&mut layer.media_type);
        }
        self.entries.push(layer.descriptor());
        self.diff_ids.push(layer.digest.clone());
        self.layers.push(layer);
        self
    }

    /// Adds a layer that can be unpacked.
    #[must_use]
    pub fn archive(mut self, layer: Layer) -> Self {
        self = self.layer(layer.blob);
        if let Some(last) = self.diff_ids.last_mut() {
            *last = layer.diff_id;
        }
        self
    }

    /// Adds a layer under another declared size than its real one (B10).
    #[must_use]
    pub fn layer_declared(mut self, layer: Blob, size: i64) -> Self {
        self = self.layer(layer);
        if let Some(last) = self.entries.last_mut() {
            last["size"] = json!(size);
        }
        self
    }

    /// Adds a layer that lives elsewhere: named with a URL, never held by a registry (M12).
    #[must_use]
    pub fn foreign_layer(mut self, layer: &Blob, url: &str) -> Self {
        self.entries.push(json!({
            "mediaType": DOCKER_FOREIGN, "digest": layer.digest, "size": layer.size(), "urls": [url],
        }));
        self.diff_ids.push(layer.digest.clone());
        self
    }

    /// Operating system and architecture, `linux` and `amd64` unless said otherwise.
    #[must_use]
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        self.platform = (os.to_owned(), architecture.to_owned());
        self
    }

    /// The command that a container of this image runs.
    #[must_use]
    pub fn command(mut self, words: &[&str]) -> Self {
        self.config_extra.insert("Cmd".to_owned(), json!(words));
        self
    }

    /// Takes this configuration instead of a generated one.
    #[must_use]
    pub fn config(mut self, config: Blob) -> Self {
        self.config = Some(config);
        self
    }

    /// A label in the configuration; makes otherwise equal images differ.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        let labels = self.config_extra.entry("Labels").or_insert_with(|| json!({}));
        labels[key] = json!(value);
        self
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        let annotations = self.extra.entry("annotations").or_insert_with(|| json!({}));
        annotations[key] = json!(value);
        self
    }

    /// The manifest that this one refers to.
    #[must_use]
    pub fn subject(mut self, subject: &Blob) -> Self {
        self.extra.insert("subject".to_owned(), subject.descriptor());
        self
    }

    /// Makes it an artifact of this type.
    #[must_use]
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.extra.insert("artifactType".to_owned(), json!(artifact_type));
        self
    }

    /// Writes config and manifest.
    pub fn build(self) -> Image {
        let (config_type, manifest_type) = match self.format {
            Format::Oci => (OCI_CONFIG, OCI_MANIFEST),
            Format::Docker => (DOCKER_CONFIG, DOCKER_MANIFEST),
        };
        let config = self.config.unwrap_or_else(|| {
            let document = json!({
                "architecture": self.platform.1,
                "os": self.platform.0,
                "config": self.config_extra,
                "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
                "history": [],
            });
            Blob::new(config_type, document.to_string())
        });
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor(),
            "layers": self.entries,
        });
        for (key, value) in self.extra {
            manifest[key] = value;
        }
        // Two spaces of indentation: a body that anybody re-serialises changes its digest.
        let bytes = Bytes::from(serde_json::to_vec_pretty(&manifest).unwrap());
        let manifest = Blob {
            media_type: manifest_type.to_owned(),
            digest: sha256(&bytes),
            bytes,
        };
        Image {
            manifest,
            config,
            layers: self.layers,
        }
    }
}
