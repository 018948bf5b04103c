//! A database with one organization, and manifests to put in.

use bytes::Bytes;
use quayside_metadata::{
    Admission, Content, Hold, ManifestId, Metadata, OrganizationId, OrganizationIdentity,
};
use quayside_oci::{Algorithm, Digest, Manifest, media_type};
use serde_json::{Value, json};

/// How long everything lives, in milliseconds.
pub(crate) const TTL: i64 = 10_000;

const CONFIG: u64 = 100;

pub(crate) struct Shelf {
    pub(crate) metadata: Metadata,
    pub(crate) acme: OrganizationId,
    _directory: tempfile::TempDir,
}

impl Shelf {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metadata = Metadata::open_sqlite(&directory.path().join("quayside.db"))
            .await
            .unwrap();
        let acme = OrganizationIdentity {
            uid: "uid".to_owned(),
            name: "acme".to_owned(),
            upstream: "registry.example".to_owned(),
            window_ms: TTL,
        };
        let acme = metadata.sync_organizations(&[acme], &[], 1).await.unwrap()[0];
        Self {
            metadata,
            acme,
            _directory: directory,
        }
    }

    pub(crate) async fn usage(&self) -> u64 {
        self.metadata.usage(self.acme, 0).await.unwrap().bytes
    }

    pub(crate) async fn id(&self, repository: &str, digest: &Digest) -> ManifestId {
        let stored = self.metadata.manifest(self.acme, repository, digest).await;
        stored.unwrap().unwrap().id
    }
}

/// A manifest as upstream would give it.
pub(crate) struct Made {
    digest: Digest,
    body: Bytes,
    manifest: Manifest,
}

impl Made {
    fn new(document: &Value) -> Self {
        let body = Bytes::from(serde_json::to_vec(document).unwrap());
        Self {
            digest: Digest::of(Algorithm::Sha256, &body),
            manifest: Manifest::parse(&body, None).unwrap(),
            body,
        }
    }

    /// What Q4 compares with the quota.
    pub(crate) fn alone(&self) -> u64 {
        let blobs = self.manifest.blobs();
        self.body.len() as u64 + blobs.iter().map(|blob| blob.size).sum::<u64>()
    }

    pub(crate) fn admission<'a>(
        &'a self,
        organization: OrganizationId,
        repository: &'a str,
        hold: Hold<'a>,
        now: i64,
    ) -> Admission<'a> {
        Admission {
            organization,
            repository,
            digest: &self.digest,
            content: Content::New {
                media_type: &self.manifest.media_type,
                body: &self.body,
                manifest: &self.manifest,
            },
            hold,
            now,
        }
    }

    fn descriptor(&self) -> Value {
        descriptor(
            &self.manifest.media_type,
            self.digest.as_str(),
            self.body.len() as u64,
        )
    }
}

fn descriptor(kind: &str, digest: &str, size: u64) -> Value {
    json!({ "mediaType": kind, "digest": digest, "size": size })
}

fn image_document(name: &str, layers: &[(&str, u64)]) -> Value {
    let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers = layers.iter();
    let layers = layers.map(|(layer, size)| descriptor(kind, digest(layer).as_str(), *size));
    let config = digest(&format!("config of {name}"));
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_str(), CONFIG),
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// An image with a config of its own and these layers, named by their content.
pub(crate) fn image(name: &str, layers: &[(&str, u64)]) -> Made {
    Made::new(&image_document(name, layers))
}

fn referrer(name: &str, subject: &Made, layers: &[(&str, u64)]) -> Made {
    let mut document = image_document(name, layers);
    document["subject"] = subject.descriptor();
    Made::new(&document)
}

fn index(name: &str, subject: Option<&Made>, children: &[&Made]) -> Made {
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": children.iter().map(|child| child.descriptor()).collect::<Vec<_>>(),
        "annotations": { "name": name },
    });
    if let Some(subject) = subject {
        document["subject"] = subject.descriptor();
    }
    Made::new(&document)
}

/// Images that share layers, nested indexes, referrers, and an index that names its own subject.
pub(crate) fn manifests() -> Vec<Made> {
    let one = image("one", &[("l0", 1000), ("l1", 200)]);
    let two = image("two", &[("l0", 1000), ("l2", 3000)]);
    let three = image("three", &[("l3", 700)]);
    let inner = index("inner", None, &[&one, &two]);
    let outer = index("outer", None, &[&inner, &three]);
    let about_one = referrer("about one", &one, &[("l3", 700)]);
    let about_outer = referrer("about outer", &outer, &[("l4", 50)]);
    let knot = index("knot", Some(&two), &[&two, &one]);
    vec![one, two, three, inner, outer, about_one, about_outer, knot]
}
