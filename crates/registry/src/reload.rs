//! C3, G5: the organizations file is read every 2 s and applied when its content changed.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quayside_config::organizations::{self, FileError, Merged, Organization, Refused};
use quayside_metadata::{MetadataError, OrganizationId, OrganizationIdentity};
use quayside_oci::OrganizationName;
use quayside_upstream::{Client, Spec, Upstream};
use tokio::sync::Mutex;

use crate::chain::Chain;
use crate::clock::millis;
use crate::metrics::Metrics;
use crate::organizations::{Served, Snapshot};
use crate::pull::Engine;

/// How often the file is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("apply {}", path.display())]
    File { path: PathBuf, source: FileError },
    #[error("record the organizations")]
    Metadata(#[source] MetadataError),
}

/// Keeps the snapshot in step with the file.
pub(crate) struct Loader {
    path: PathBuf,
    engine: Arc<Engine>,
    client: Client,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    last: Mutex<Last>,
}

/// What the last look at the file came to.
#[derive(Default)]
struct Last {
    content: Option<Vec<u8>>,
    complaint: Option<String>,
}

impl Loader {
    pub(crate) fn new(
        path: PathBuf,
        engine: Arc<Engine>,
        client: Client,
        snapshot: Arc<ArcSwap<Snapshot>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            path,
            engine,
            client,
            snapshot,
            metrics,
            last: Mutex::default(),
        }
    }

    /// Looks at the file and applies it if it changed. A file that is no good changes nothing (C3).
    pub(crate) async fn load(&self) {
        let mut last = self.last.lock().await;
        match self.load_changed(&mut last).await {
            Ok(()) => last.complaint = None,
            Err(error) => {
                let complaint = format!("{:#}", anyhow::Error::from(error));
                if last.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(error = complaint, "organizations stay as they are");
                    last.complaint = Some(complaint);
                }
            }
        }
    }

    async fn load_changed(&self, last: &mut Last) -> Result<(), ReloadError> {
        let path = || self.path.clone();
        let read = tokio::fs::read(&self.path).await;
        let content = read.map_err(|source| ReloadError::Read { path: path(), source })?;
        if last.content.as_ref() == Some(&content) {
            return Ok(());
        }
        let applied = self.apply(&content).await;
        // What the database refused is tried again; a file that is no good stays so until it changes.
        if !matches!(applied, Err(ReloadError::Metadata(_))) {
            last.content = Some(content);
        }
        applied
    }

    async fn apply(&self, content: &[u8]) -> Result<(), ReloadError> {
        let refuse = |source| ReloadError::File {
            path: self.path.clone(),
            source,
        };
        let file = organizations::parse(content).map_err(refuse)?;
        let known = self
            .engine
            .metadata
            .known_organizations()
            .await
            .map_err(ReloadError::Metadata)?;
        file.check_emptiness(known.len()).map_err(refuse)?;
        for warning in &file.warnings {
            tracing::warn!("organizations file: {warning}");
        }
        let before = self.snapshot.load_full();
        let served: Vec<Arc<Organization>> = before
            .by_name
            .values()
            .map(|served| Arc::clone(&served.spec))
            .collect();
        let merged = organizations::merge(&served, file);
        merged.refused.iter().for_each(complain);
        let upstreams = self.connect(&before, &merged);
        let ids = self.record(&known, &merged, &upstreams).await?;
        let by_name = upstreams.into_iter().zip(ids).map(|((spec, way), id)| {
            let metrics = || self.metrics.organization(spec.name.as_str());
            let served = match way {
                Way::Kept(served) if served.id == id => served,
                Way::Kept(served) => {
                    let (upstream, metrics) = (served.upstream.clone(), metrics());
                    Arc::new(Served::new(spec, id, upstream, metrics))
                }
                Way::New(upstream) => {
                    let metrics = metrics();
                    Arc::new(Served::new(spec, id, upstream, metrics))
                }
            };
            (served.spec.name.clone(), served)
        });
        let snapshot = Snapshot {
            by_name: by_name.collect(),
            loaded: true,
            generation: before.generation + 1,
        };
        tracing::info!(organizations = snapshot.by_name.len(), "organizations applied");
        let names: HashSet<&str> = snapshot.by_name.keys().map(OrganizationName::as_str).collect();
        self.metrics.keep_organizations(|name| names.contains(name));
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(Arc::clone(&snapshot));
        self.end_the_endless(&snapshot)
            .await
            .map_err(ReloadError::Metadata)
    }

    /// E3: renewals of before that say never are written first, so that they get an end too.
    async fn end_the_endless(&self, snapshot: &Snapshot) -> Result<(), MetadataError> {
        self.engine.renewals.written(&self.engine.metadata).await?;
        let limited = limit_endless(&self.engine, snapshot).await?;
        if limited > 0 {
            tracing::info!(limited, "tags that would never have ended have an end now");
        }
        Ok(())
    }

    /// A way to the upstream of each organization; the old one where nothing changed, with its tokens.
    fn connect(&self, before: &Snapshot, merged: &Merged) -> Vec<(Arc<Organization>, Way)> {
        let mut ways = Vec::new();
        for spec in &merged.serve {
            let old = before.get(&spec.name);
            if let Some(old) = old.filter(|old| *old.spec == **spec) {
                ways.push((Arc::clone(&old.spec), Way::Kept(Arc::clone(old))));
                continue;
            }
            match self.client.upstream(upstream_spec(spec)) {
                Ok(upstream) => ways.push((Arc::clone(spec), Way::New(upstream))),
                Err(error) => {
                    let error = Chain(&error);
                    tracing::error!(organization = %spec.name, %error, "organization not served in its new form");
                    let same = old.filter(|old| old.spec.identity() == spec.identity());
                    ways.extend(same.map(|old| (Arc::clone(&old.spec), Way::Kept(Arc::clone(old)))));
                }
            }
        }
        ways
    }

    async fn record(
        &self,
        known: &[quayside_metadata::KnownOrganization],
        merged: &Merged,
        ways: &[(Arc<Organization>, Way)],
    ) -> Result<Vec<OrganizationId>, ReloadError> {
        let identities: Vec<_> = ways.iter().map(|(spec, _)| identity(spec)).collect();
        let unserved = merged
            .serve
            .iter()
            .map(|spec| (spec.id.clone(), spec.remote.identity()));
        let present = known.iter().filter(|known| {
            merged
                .present
                .iter()
                .any(|present| present.covers(&known.name, &known.uid, &known.upstream))
        });
        let present = present.map(|known| (known.uid.clone(), known.upstream.clone()));
        let keep: Vec<_> = unserved.chain(present).collect();
        self.engine
            .metadata
            .sync_organizations(&identities, &keep, self.engine.now())
            .await
            .map_err(ReloadError::Metadata)
    }
}

enum Way {
    Kept(Arc<Served>),
    New(Upstream),
}

fn complain(refused: &Refused) {
    let name = refused.name.as_deref().unwrap_or("?");
    let instead = if refused.kept.is_some() {
        "its last good form stays"
    } else {
        "it is not served"
    };
    tracing::error!(
        entry = refused.index,
        organization = name,
        "entry refused, {instead}: {}",
        refused.reason
    );
}

fn identity(spec: &Organization) -> OrganizationIdentity {
    OrganizationIdentity {
        uid: spec.id.clone(),
        name: spec.name.to_string(),
        upstream: spec.remote.identity(),
        window_ms: millis(spec.window),
    }
}

fn upstream_spec(spec: &Organization) -> Spec {
    let credentials = spec.credentials.as_ref();
    Spec {
        host: spec.remote.host().to_owned(),
        port: spec.remote.port(),
        plain_http: spec.tls.plain_http,
        ca_bundle: spec.tls.ca_bundle.clone(),
        insecure_skip_verify: spec.tls.insecure_skip_verify,
        credentials: credentials
            .map(|credentials| (credentials.username.clone(), credentials.password.clone())),
    }
}

/// Gives the tags and pins that never end an end wherever the TTL is not 0 (any more), and says how many that were
/// (E3). What has an end keeps it.
pub(crate) async fn limit_endless(engine: &Engine, snapshot: &Snapshot) -> Result<u64, MetadataError> {
    let served = snapshot.by_name.values();
    let mortal: HashMap<_, _> = served
        .filter(|served| served.spec.ttl.is_some())
        .map(|served| (served.id, served))
        .collect();
    let ids: Vec<_> = mortal.keys().copied().collect();
    let mut limited = 0;
    // Almost always there is none: one question for all, however many there are.
    for organization in engine.metadata.endless(&ids).await? {
        let Some(served) = mortal.get(&organization) else {
            continue;
        };
        let ends_at = served.end(engine.now());
        loop {
            let step = engine.metadata.limit_endless(organization, ends_at).await?;
            if step == 0 {
                break;
            }
            limited += step;
        }
    }
    if limited > 0 {
        engine.warm.forget_tags();
    }
    Ok(limited)
}
