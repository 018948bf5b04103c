//! One history, step by step.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use quayside_oci::Digest;

use super::{LAYERS, Place, REPOSITORIES, Step, TAGS, manifests};
use crate::sql::Statement;
use crate::tests::fixture::{Fixture, Made, TTL, digest, identity, key};
use crate::tests::quota::dump;
use crate::tests::quota::planner::Greedy;
use crate::{
    AdmitError, Content, Hold, MetadataError, NEVER, OrganizationId, OrganizationIdentity, PruneError,
    REMOVED_WINDOW_MS, Renewal, Unlimited, View,
};

const SLACK: i64 = 5000;
const GRACE: i64 = 3000;

/// What happened so far, and what the disk holds.
pub(super) struct History {
    pub(super) db: Fixture,
    organizations: [OrganizationId; 2],
    manifests: Vec<Made>,
    present: [bool; 2],
    windows: [i64; 2],
    now: i64,
    fills: u32,
    /// Fills that are recorded: token, digest and size.
    started: Vec<(String, Digest, u64, Option<OrganizationId>)>,
    /// The keys with bytes.
    disk: BTreeSet<String>,
}

impl History {
    pub(super) async fn new(db: Fixture) -> Self {
        let organizations = [db.acme, db.other_organization().await];
        Self {
            db,
            organizations,
            manifests: manifests(),
            present: [true; 2],
            windows: [1000; 2],
            now: 0,
            fills: 0,
            started: Vec::new(),
            disk: BTreeSet::new(),
        }
    }

    pub(super) async fn take(&mut self, step: &Step) {
        match step {
            Step::Admit { place, tag, stored } => {
                self.admit(*place, TAGS[*tag], self.now + TTL, *stored).await;
            }
            Step::AdmitEndless { place, tag } => self.admit(*place, TAGS[*tag], NEVER, false).await,
            Step::Limit { organization } => {
                let (organization, ends_at) = (self.organizations[*organization], self.now + TTL);
                let limited = self.db.metadata.limit_endless(organization, ends_at).await;
                limited.unwrap();
            }
            Step::AdmitWithin { place, tag, quota } => self.admit_within(*place, TAGS[*tag], *quota).await,
            Step::Prune { organization, quota } => {
                self.prune(self.organizations[*organization], *quota).await;
            }
            Step::PullDigestWithin { place, quota } => {
                let organization = self.organizations[place.0];
                let before = self.usage(organization).await;
                self.renew(*place, 0, step).await;
                // Q8: what was released meanwhile is taken back only while it fits.
                let after = self.usage(organization).await;
                assert!(after <= before.max(*quota), "{before} {after} {quota}");
            }
            Step::Sweep => self.sweep().await,
            Step::Collect => self.collect().await,
            Step::Delete => self.delete().await,
            Step::Remove { organization } => {
                self.present[*organization] = false;
                self.sync().await;
            }
            Step::Return { organization, window } => {
                self.present[*organization] = true;
                self.windows[*organization] = *window;
                self.sync().await;
            }
            Step::StartFill { layer, scope } => self.start_fill(*layer, *scope).await,
            Step::CommitFill => self.commit_fill().await,
            Step::GiveUpFills => self.give_up_fills().await,
            Step::Drop { place, tag } => {
                if let Some(stored) = self.stored(*place).await {
                    let (repository, manifest) = (stored.repository, stored.id);
                    self.db
                        .drop_holder(repository, TAGS[*tag], manifest, self.now)
                        .await;
                }
            }
            Step::Resolve { place, tag } => {
                if let Some(stored) = self.stored(*place).await {
                    self.db
                        .metadata
                        .mark_resolved(stored.repository, TAGS[*tag], stored.id, self.now)
                        .await
                        .unwrap();
                }
            }
            Step::Want(place) => {
                if let Some(stored) = self.stored(*place).await {
                    self.db.metadata.want_manifest(stored.id, self.now).await.unwrap();
                }
            }
            Step::Fill { layer, scope } => self.fill(*layer, *scope).await,
            Step::Forget { layer } => self.forget(&digest(LAYERS[*layer].0)).await,
            Step::Wait(time) => self.now += time,
            Step::PullDigest(place) => self.renew(*place, 0, step).await,
            Step::PullTag { place, tag } | Step::FailCheck { place, tag } => {
                self.renew(*place, *tag, step).await;
            }
        }
    }

    async fn stored(&self, (organization, repository, manifest): Place) -> Option<crate::StoredManifest> {
        self.db
            .metadata
            .manifest(
                self.organizations[organization],
                REPOSITORIES[repository],
                &self.manifests[manifest].digest,
            )
            .await
            .unwrap()
    }

    async fn admit(
        &self,
        (organization, repository, manifest): Place,
        name: &str,
        ends_at: i64,
        stored: bool,
    ) {
        let organization = self.organizations[organization];
        let checked_at = self.now;
        let hold = match name {
            "" => Hold::Pin { ends_at },
            name => Hold::Tag {
                name,
                ends_at,
                checked_at,
            },
        };
        let made = &self.manifests[manifest];
        let mut admission = made.admission(organization, REPOSITORIES[repository], hold, self.now);
        if stored {
            admission.content = Content::Stored;
        }
        match self.db.metadata.admit(&admission, Arc::new(Unlimited)).await {
            Ok(admitted) => assert_eq!(self.db.usage(organization).await, admitted.usage_bytes),
            Err(AdmitError::ManifestGone) => assert!(stored),
            // It was removed so long ago that its row went.
            Err(AdmitError::Metadata(MetadataError::OrganizationGone { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Q5, Q8: what is admitted fits then, and a refusal changes nothing.
    async fn admit_within(&self, (organization, repository, manifest): Place, name: &str, quota: u64) {
        let organization = self.organizations[organization];
        let (ends_at, checked_at) = (self.now + TTL, self.now);
        let hold = match name {
            "" => Hold::Pin { ends_at },
            name => Hold::Tag {
                name,
                ends_at,
                checked_at,
            },
        };
        let made = &self.manifests[manifest];
        let admission = made.admission(organization, REPOSITORIES[repository], hold, self.now);
        let before = dump(&self.db).await;
        let planner = Arc::new(Greedy::new(quota));
        match self.db.metadata.admit(&admission, planner).await {
            Ok(admitted) => {
                let usage = self.usage(organization).await;
                assert_eq!(usage, admitted.usage_bytes);
                assert!(usage <= quota || admitted.needed_bytes == 0, "{admitted:?}");
            }
            Err(AdmitError::Quota(_)) => assert_eq!(dump(&self.db).await, before),
            Err(AdmitError::Metadata(MetadataError::OrganizationGone { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Q9: what is over a quota fits then.
    async fn prune(&self, organization: OrganizationId, quota: u64) {
        let planner = Arc::new(Greedy::new(quota));
        match self.db.prune(organization, planner, self.now).await {
            Ok(pruning) => {
                assert!(pruning.usage_bytes <= quota, "{pruning:?}");
                assert_eq!(self.usage(organization).await, pruning.usage_bytes);
            }
            Err(PruneError::Metadata(MetadataError::OrganizationGone { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Nothing, of one that was removed so long ago that its row went.
    async fn usage(&self, organization: OrganizationId) -> u64 {
        match self.db.metadata.usage(organization, self.now).await {
            Ok(usage) => usage.bytes,
            Err(MetadataError::OrganizationGone { .. }) => 0,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn renew(&self, place: Place, tag: usize, step: &Step) {
        let Some(stored) = self.stored(place).await else {
            return;
        };
        let (repository, manifest) = (stored.repository, stored.id);
        let name = TAGS[tag].to_owned();
        let (at, ends_at) = (self.now, self.now + TTL);
        let renewal = match step {
            Step::PullTag { .. } => Renewal::Tag {
                repository,
                name,
                manifest,
                at,
                ends_at,
            },
            Step::FailCheck { .. } => Renewal::Failed { repository, name, at },
            _ => Renewal::Digest {
                repository,
                manifest,
                at,
                ends_at,
                quota_bytes: match step {
                    Step::PullDigestWithin { quota, .. } => Some(*quota),
                    _ => None,
                },
            },
        };
        self.db.renew(renewal).await;
    }

    async fn fill(&mut self, layer: usize, scope: Option<usize>) {
        self.start_fill(layer, scope).await;
        self.started.rotate_right(1);
        self.commit_fill().await;
    }

    async fn start_fill(&mut self, layer: usize, scope: Option<usize>) {
        let (name, size) = LAYERS[layer];
        self.fills += 1;
        let (token, digest) = (format!("t{}", self.fills), digest(name));
        let scope = scope.map(|scope| self.organizations[scope]);
        self.db.start_fill(&token, &digest, size, scope).await;
        self.started.push((token, digest, size, scope));
    }

    /// The bytes come to their key first, whether or not the fill may commit then.
    async fn commit_fill(&mut self) {
        if self.started.is_empty() {
            return;
        }
        let (token, digest, size, scope) = self.started.remove(0);
        let key = key(&token);
        self.disk.insert(key.clone());
        let metadata = &self.db.metadata;
        let committed = metadata.commit_fill(&token, &digest, &key, size, scope, self.now + GRACE);
        committed.await.unwrap();
    }

    /// Some expire, or all are given up by the process that comes after a crash.
    async fn give_up_fills(&mut self) {
        let metadata = &self.db.metadata;
        let not_before = self.now + GRACE;
        if self.fills.is_multiple_of(2) {
            metadata.expire_fills(self.now, not_before).await.unwrap();
        } else {
            metadata.abandon_all_fills(not_before).await.unwrap();
        }
    }

    async fn sync(&mut self) {
        let wanted: Vec<_> = (0..2)
            .filter(|number| self.present[*number])
            .map(|number| OrganizationIdentity {
                window_ms: self.windows[number],
                ..identity(["acme", "other"][number])
            })
            .collect();
        let synced = self.db.metadata.sync_organizations(&wanted, &[], self.now).await;
        let mut ids = synced.unwrap().into_iter();
        for number in 0..2 {
            if self.present[number] {
                self.organizations[number] = ids.next().unwrap();
            }
        }
    }

    async fn sweep(&self) {
        let metadata = &self.db.metadata;
        for organization in metadata.sweepable(self.now).await.unwrap() {
            while metadata.sweep(organization, SLACK, self.now).await.unwrap().more {}
        }
        metadata
            .drop_departed_organizations(self.now - SLACK)
            .await
            .unwrap();
    }

    async fn collect(&self) {
        let (released_by, not_before) = (self.now - GRACE, self.now + GRACE);
        while self
            .db
            .metadata
            .collect(released_by, not_before)
            .await
            .unwrap()
            .more
        {}
    }

    async fn delete(&mut self) {
        let due = self.db.metadata.due_garbage(self.now, 1000).await.unwrap();
        let keys: Vec<String> = due.into_iter().map(|garbage| garbage.key).collect();
        for key in &keys {
            self.disk.remove(key);
        }
        self.db.metadata.forget_garbage(&keys).await.unwrap();
    }

    /// I2 and I3: bytes and rows know each other. That no key is in two places is for `recount` to say.
    pub(super) async fn compare_with_disk(&self, step: &Step) -> Result<(), TestCaseError> {
        const STORED: Statement = Statement::new(
            "read stored keys",
            "SELECT storage_key FROM blob WHERE storage_key IS NOT NULL",
        );
        const PASSING: Statement = Statement::new(
            "read passing keys",
            "SELECT storage_key FROM fill UNION ALL SELECT storage_key FROM garbage",
        );
        let stored = self.keys(STORED).await;
        prop_assert!(stored.is_subset(&self.disk), "bytes are missing after {:?}", step);
        let known: BTreeSet<_> = &stored | &self.keys(PASSING).await;
        prop_assert!(self.disk.is_subset(&known), "orphans after {:?}", step);
        Ok(())
    }

    async fn keys(&self, statement: Statement) -> BTreeSet<String> {
        let rows = self.db.metadata.engine().fetch_all(statement, vec![]).await;
        rows.unwrap().iter().map(|row| row.text(0).unwrap()).collect()
    }

    /// Lets everything die that is still there, and looks whether anything is left.
    pub(super) async fn outlive_everything(&mut self) -> Result<(), TestCaseError> {
        const REST: Statement = Statement::new(
            "count what is left",
            "SELECT (SELECT COUNT(*) FROM tag) + (SELECT COUNT(*) FROM manifest)
                  + (SELECT COUNT(*) FROM manifest_blob) + (SELECT COUNT(*) FROM manifest_child)
                  + (SELECT COUNT(*) FROM blob) + (SELECT COUNT(*) FROM content)
                  + (SELECT COUNT(*) FROM proof) + (SELECT COUNT(*) FROM fill)
                  + (SELECT COUNT(*) FROM garbage) + (SELECT COUNT(*) FROM repository)
                  + (SELECT COALESCE(SUM(usage_bytes), 0) FROM organization)",
        );
        for organization in self.organizations {
            let ended = self.db.metadata.limit_endless(organization, self.now).await;
            ended.unwrap();
        }
        while !self.started.is_empty() {
            self.commit_fill().await;
        }
        // Each wait is longer than the longest Window, and there are a release and two graces.
        for _ in 0..3 {
            self.now += 2 * REMOVED_WINDOW_MS;
            self.sweep().await;
            self.collect().await;
            self.delete().await;
        }
        let row = self.db.metadata.engine().fetch_optional(REST, vec![]).await;
        prop_assert_eq!(row.unwrap().unwrap().int(0).unwrap(), 0);
        prop_assert!(self.disk.is_empty());
        let organizations = self.keys(Statement::new(
            "read organizations",
            "SELECT uid FROM organization",
        ));
        let expected: BTreeSet<_> = ["acme", "other"]
            .iter()
            .zip(self.present)
            .filter(|(_, present)| *present)
            .map(|(name, _)| identity(name).uid)
            .collect();
        prop_assert_eq!(organizations.await, expected);
        Ok(())
    }

    async fn forget(&mut self, layer: &Digest) {
        for organization in self.organizations {
            for repository in REPOSITORIES {
                let blob = self
                    .db
                    .metadata
                    .blob(organization, repository, layer, View::Member)
                    .await;
                let Some(stored) = blob.unwrap().and_then(|blob| blob.stored) else {
                    continue;
                };
                assert!(stored.key.starts_with(&key("t")));
                self.disk.remove(&stored.key);
                let forgotten = self.db.metadata.forget_bytes(layer, &stored.key, self.now).await;
                assert!(forgotten.unwrap());
            }
        }
    }
}
