//! A database for one test, and content to put in.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quayside_oci::{Algorithm, Digest, Manifest, media_type};
use serde_json::{Value as Json, json};

use crate::queries::release;
use crate::sql::{Statement, Value, args};
use crate::{
    Admission, AdmitError, Admitted, Content, FillIntent, Hold, ManifestId, Metadata, OrganizationId,
    OrganizationIdentity, Planner, PostgresSettings, PruneError, Pruning, Renewal, RepositoryId, TagState,
    Unlimited,
};

/// An open database with the organization `acme`.
pub(super) struct Fixture {
    pub(super) metadata: Metadata,
    pub(super) acme: OrganizationId,
    pub(super) directory: tempfile::TempDir,
    /// Of the database, where it is a server's.
    pub(super) url: Option<String>,
}

/// How many cases are tried, in the short form and in the long one.
pub(super) fn cases(short: u32, long: u32) -> u32 {
    if std::env::var_os("QUAYSIDE_LONG").is_some() {
        long
    } else {
        short
    }
}

async fn open(directory: &Path, url: Option<&String>) -> Metadata {
    let Some(url) = url else {
        return Metadata::open_sqlite(&directory.join("quayside.db"))
            .await
            .unwrap();
    };
    let settings = PostgresSettings {
        url: url.as_str().into(),
        connections: 8,
    };
    Metadata::open_postgres(&settings).await.unwrap()
}

/// A row that holds a manifest, as a test wants to see it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HolderRow {
    pub(super) name: String,
    pub(super) current: bool,
    pub(super) ends_at: i64,
    pub(super) pulled_at: i64,
}

impl Fixture {
    pub(super) async fn sqlite() -> Self {
        Self::new(None).await
    }

    pub(super) async fn postgres(url: String) -> Self {
        Self::new(Some(url)).await
    }

    async fn new(url: Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metadata = open(directory.path(), url.as_ref()).await;
        let acme = metadata
            .sync_organizations(&[identity("acme")], &[], 1)
            .await
            .unwrap();
        Self {
            metadata,
            acme: acme[0],
            directory,
            url,
        }
    }

    /// The database as the next process finds it.
    pub(super) async fn reopen(self) -> Self {
        self.metadata.close().await;
        let metadata = open(self.directory.path(), self.url.as_ref()).await;
        Self { metadata, ..self }
    }

    /// The same database as another process has it.
    pub(super) async fn another(&self) -> Metadata {
        open(self.directory.path(), self.url.as_ref()).await
    }

    /// A second organization beside `acme`.
    pub(super) async fn other_organization(&self) -> OrganizationId {
        let wanted = [identity("acme"), identity("other")];
        self.metadata.sync_organizations(&wanted, &[], 1).await.unwrap()[1]
    }

    pub(super) async fn tag_as(
        &self,
        organization: OrganizationId,
        repository: &str,
        name: &str,
        made: &Made,
        at: i64,
    ) -> Admitted {
        let hold = Hold::Tag {
            name,
            ends_at: at + TTL,
            checked_at: at,
        };
        self.metadata
            .admit(
                &made.admission(organization, repository, hold, at),
                Arc::new(Unlimited),
            )
            .await
            .unwrap()
    }

    /// Pulls by tag in `acme`, from upstream, with a life of [`TTL`].
    pub(super) async fn tag(&self, repository: &str, name: &str, made: &Made, at: i64) -> Admitted {
        self.tag_as(self.acme, repository, name, made, at).await
    }

    /// Pulls by digest in `acme`, from upstream.
    pub(super) async fn pin(&self, repository: &str, made: &Made, at: i64) -> Admitted {
        let hold = Hold::Pin { ends_at: at + TTL };
        self.metadata
            .admit(
                &made.admission(self.acme, repository, hold, at),
                Arc::new(Unlimited),
            )
            .await
            .unwrap()
    }

    /// Admits what is stored already.
    pub(super) async fn take_back(
        &self,
        repository: &str,
        made: &Made,
        hold: Hold<'_>,
        now: i64,
    ) -> Result<Admitted, AdmitError> {
        let admission = Admission {
            content: Content::Stored,
            ..made.admission(self.acme, repository, hold, now)
        };
        self.metadata.admit(&admission, Arc::new(Unlimited)).await
    }

    pub(super) async fn state(&self, repository: &str, name: &str) -> TagState {
        self.metadata
            .tag(self.acme, repository, name)
            .await
            .unwrap()
            .unwrap()
    }

    pub(super) async fn renew(&self, renewal: Renewal) {
        self.metadata.renew(&[renewal]).await.unwrap();
    }

    /// A GET by digest.
    pub(super) async fn pull_digest(&self, admitted: &Admitted, at: i64) {
        self.renew(Renewal::Digest {
            repository: admitted.repository,
            manifest: admitted.manifest,
            at,
            ends_at: at + TTL,
            quota_bytes: None,
        })
        .await;
    }

    /// Plans a prune and carries all of it out (Q9).
    pub(super) async fn prune(
        &self,
        organization: OrganizationId,
        planner: Arc<dyn Planner>,
        now: i64,
    ) -> Result<Pruning, PruneError> {
        let mut plan = self.metadata.start_prune(organization, planner, now).await?;
        let mut whole = Pruning {
            usage_bytes: self.usage(organization).await,
            ..Pruning::default()
        };
        while let Some(step) = self.metadata.prune(&mut plan).await? {
            whole.pruned.extend(step.pruned);
            (whole.usage_bytes, whole.rows_read) = (step.usage_bytes, step.rows_read);
        }
        Ok(whole)
    }

    pub(super) async fn usage(&self, organization: OrganizationId) -> u64 {
        self.metadata.usage(organization, 0).await.unwrap().bytes
    }

    pub(super) async fn assert_consistent(&self) {
        assert_eq!(self.metadata.recount().await.unwrap(), []);
    }

    pub(super) async fn holders(&self, manifest: ManifestId) -> Vec<HolderRow> {
        const HOLDERS: Statement = Statement::new(
            "read holders",
            "SELECT name, current, ends_at, pulled_at FROM tag WHERE manifest_id = $1 ORDER BY name",
        );
        let rows = self
            .metadata
            .engine()
            .fetch_all(HOLDERS, args![manifest])
            .await
            .unwrap();
        rows.iter()
            .map(|row| HolderRow {
                name: row.text(0).unwrap(),
                current: row.flag(1).unwrap(),
                ends_at: row.int(2).unwrap(),
                pulled_at: row.int(3).unwrap(),
            })
            .collect()
    }

    /// Runs a statement that no query file has and that gives a number.
    pub(super) async fn count(&self, sql: &'static str) -> u64 {
        let statement = Statement::new("count", sql);
        let row = self.metadata.engine().fetch_optional(statement, args![]).await;
        row.unwrap().unwrap().count(0).unwrap()
    }

    /// Runs a statement that no query file has.
    pub(super) async fn run(&self, sql: &'static str, values: Vec<Value>) {
        let statement = Statement::new("tamper", sql);
        let work = self
            .metadata
            .engine()
            .write(values, move |tx, values: &Vec<Value>| {
                Box::pin(async move { tx.execute(statement, values.clone()).await })
            });
        work.await.unwrap();
    }

    /// Takes away what holds a manifest and is called `name` (a pin is called nothing), and releases
    /// what that leaves unheld.
    pub(super) async fn drop_holder(
        &self,
        repository: RepositoryId,
        name: &str,
        manifest: ManifestId,
        now: i64,
    ) {
        const DROP: Statement = Statement::new(
            "drop holder",
            "DELETE FROM tag WHERE repository_id = $1 AND name = $2 AND manifest_id = $3
             RETURNING organization_id",
        );
        let values = args![repository, name, manifest];
        let work = self
            .metadata
            .engine()
            .write((values, manifest, now), |tx, (values, manifest, now)| {
                Box::pin(async move {
                    let Some(row) = tx.fetch_optional(DROP, values.clone()).await? else {
                        return Ok(());
                    };
                    release::release(tx, row.organization(0)?, &[*manifest], *now)
                        .await
                        .map(drop)
                })
            });
        let result: Result<(), crate::MetadataError> = work.await;
        result.unwrap();
    }

    pub(super) async fn start_fill(
        &self,
        token: &str,
        digest: &Digest,
        size: u64,
        scope: Option<OrganizationId>,
    ) {
        let intent = FillIntent {
            token: token.to_owned(),
            digest: digest.clone(),
            size,
            scope,
            storage_key: key(token),
            address: String::new(),
            expires_at: 100,
        };
        self.metadata.record_fill(intent).await.unwrap();
    }

    /// Fills a blob from the intent to the commit.
    pub(super) async fn fill(
        &self,
        token: &str,
        digest: &Digest,
        size: u64,
        scope: Option<OrganizationId>,
    ) -> crate::FillCommit {
        self.start_fill(token, digest, size, scope).await;
        self.metadata
            .commit_fill(token, digest, &key(token), size, scope, 200)
            .await
            .unwrap()
    }

    /// Where a storage key is, of `fill`, `blob` and `garbage`.
    pub(super) async fn places(&self, token: &str) -> Vec<String> {
        const PLACES: Statement = Statement::new(
            "find key",
            "SELECT 'fill' FROM fill WHERE storage_key = $1
             UNION ALL SELECT 'blob' FROM blob WHERE storage_key = $1
             UNION ALL SELECT 'garbage' FROM garbage WHERE storage_key = $1",
        );
        let rows = self
            .metadata
            .engine()
            .fetch_all(PLACES, args![key(token).as_str()])
            .await
            .unwrap();
        rows.iter().map(|row| row.text(0).unwrap()).collect()
    }
}

/// How long everything lives in these tests, in milliseconds.
pub(super) const TTL: i64 = 10_000;

pub(super) fn key(token: &str) -> String {
    format!("key/{token}")
}

pub(super) fn identity(name: &str) -> OrganizationIdentity {
    OrganizationIdentity {
        uid: format!("uid-{name}"),
        name: name.to_owned(),
        upstream: "registry.example".to_owned(),
        window_ms: 1000,
    }
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

/// A manifest as upstream would give it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) digest: Digest,
    pub(super) body: Bytes,
    pub(super) manifest: Manifest,
}

impl Made {
    fn new(document: &Json) -> Self {
        let body = Bytes::from(serde_json::to_vec(document).unwrap());
        Self {
            digest: Digest::of(Algorithm::Sha256, &body),
            manifest: Manifest::parse(&body, None).unwrap(),
            body,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.body.len() as u64
    }

    pub(super) fn admission<'a>(
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
}

fn descriptor(kind: &str, digest: &Digest, size: u64) -> Json {
    json!({ "mediaType": kind, "digest": digest.as_str(), "size": size })
}

/// The size of every config, in bytes.
pub(super) const CONFIG: u64 = 100;

pub(super) fn config_of(name: &str) -> Digest {
    digest(&format!("config of {name}"))
}

fn image_document(name: &str, layers: &[(&str, u64)]) -> Json {
    let layers: Vec<Json> = layers
        .iter()
        .map(|(layer, size)| {
            descriptor(
                "application/vnd.oci.image.layer.v1.tar+gzip",
                &digest(layer),
                *size,
            )
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config_of(name), CONFIG),
        "layers": layers,
    })
}

/// An image with a config of its own and these layers, named by their content.
pub(super) fn image(name: &str, layers: &[(&str, u64)]) -> Made {
    Made::new(&image_document(name, layers))
}

/// An image that is about another manifest.
pub(super) fn referrer(name: &str, subject: &Made, layers: &[(&str, u64)]) -> Made {
    let mut document = image_document(name, layers);
    document["subject"] = descriptor(&subject.manifest.media_type, &subject.digest, subject.size());
    Made::new(&document)
}

/// An index of these.
pub(super) fn index(name: &str, children: &[&Made]) -> Made {
    let children: Vec<Json> = children
        .iter()
        .map(|child| descriptor(&child.manifest.media_type, &child.digest, child.size()))
        .collect();
    Made::new(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": children,
        "annotations": { "name": name },
    }))
}

/// An index of these that is about another manifest.
pub(super) fn subject_index(name: &str, subject: &Made, children: &[&Made]) -> Made {
    let mut document: Json = serde_json::from_slice(&index(name, children).body).unwrap();
    document["subject"] = descriptor(&subject.manifest.media_type, &subject.digest, subject.size());
    Made::new(&document)
}
