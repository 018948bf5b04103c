//! Any history of pulls, moves, renewals, releases and fills leaves everything counted right.

use futures::future::BoxFuture;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use quayside_oci::Digest;

use super::fixture::{Fixture, Made, TTL, digest, image, index, key, referrer};
use crate::{AdmitError, Content, Hold, OrganizationId, Renewal, View};

const REPOSITORIES: [&str; 2] = ["app", "library/base"];
const LAYERS: [(&str, u64); 4] = [("l0", 10), ("l1", 200), ("l2", 3000), ("l3", 40_000)];
const TAGS: [&str; 3] = ["", "1", "latest"];

/// A manifest of a repository of an organization, by their numbers.
type Place = (usize, usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Admit { place: Place, tag: usize, stored: bool },
    PullDigest(Place),
    PullTag { place: Place, tag: usize },
    FailCheck { place: Place, tag: usize },
    Resolve { place: Place, tag: usize },
    Drop { place: Place, tag: usize },
    Fill { layer: usize, scope: Option<usize> },
    Forget { layer: usize },
    Want(Place),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0..2_usize, 0..2_usize, 0..manifests().len());
    let tag = 0..TAGS.len();
    let at = (place.clone(), tag);
    let step = prop_oneof![
        8 => (at.clone(), any::<bool>())
            .prop_map(|((place, tag), stored)| Step::Admit { place, tag, stored }),
        3 => place.clone().prop_map(Step::PullDigest),
        1 => at.clone().prop_map(|(place, tag)| Step::PullTag { place, tag }),
        1 => at.clone().prop_map(|(place, tag)| Step::FailCheck { place, tag }),
        1 => at.clone().prop_map(|(place, tag)| Step::Resolve { place, tag }),
        4 => at.prop_map(|(place, tag)| Step::Drop { place, tag }),
        2 => (0..LAYERS.len(), proptest::option::of(0..2_usize))
            .prop_map(|(layer, scope)| Step::Fill { layer, scope }),
        1 => (0..LAYERS.len()).prop_map(|layer| Step::Forget { layer }),
        1 => place.prop_map(Step::Want),
        2 => (1..TTL).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Images that share layers and do not agree on their sizes, nested indexes, and referrers.
fn manifests() -> Vec<Made> {
    let [l0, l1, l2, l3] = LAYERS;
    let one = image("one", &[l0, l1]);
    let two = image("two", &[l0, l2]);
    let wrong = image("wrong", &[("l0", 7), ("l1", 999), l3]);
    let inner = index("inner", &[&one, &two]);
    let outer = index("outer", &[&inner, &wrong]);
    let about_one = referrer("about one", &one, &[("l3", 1)]);
    let about_outer = referrer("about outer", &outer, &[l2]);
    let about_that = referrer("about that", &about_outer, &[]);
    vec![one, two, wrong, inner, outer, about_one, about_outer, about_that]
}

/// Q2, Q3, G1, G3, M9: whatever happens in whatever order, usage, references, held manifests, blob
/// rows and storage keys are right after each step.
pub(super) fn any_history_can_be_recounted<F>(open: F)
where
    F: Fn() -> BoxFuture<'static, Fixture>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let mut history = History::new(open().await).await;
                for step in &steps {
                    history.take(step).await;
                    let found = history.db.metadata.recount().await.unwrap();
                    prop_assert_eq!(found, [], "after {:?}", step);
                }
                Ok(())
            })
        })
        .unwrap();
}

struct History {
    db: Fixture,
    organizations: [OrganizationId; 2],
    manifests: Vec<Made>,
    now: i64,
    fills: u32,
}

impl History {
    async fn new(db: Fixture) -> Self {
        let organizations = [db.acme, db.other_organization().await];
        Self {
            db,
            organizations,
            manifests: manifests(),
            now: 0,
            fills: 0,
        }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Admit { place, tag, stored } => self.admit(*place, TAGS[*tag], *stored).await,
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

    async fn admit(&self, (organization, repository, manifest): Place, name: &str, stored: bool) {
        let organization = self.organizations[organization];
        let hold = match name {
            "" => Hold::Pin {
                ends_at: self.now + TTL,
            },
            name => Hold::Tag {
                name,
                ends_at: self.now + TTL,
                checked_at: self.now,
            },
        };
        let made = &self.manifests[manifest];
        let mut admission = made.admission(organization, REPOSITORIES[repository], hold, self.now);
        if stored {
            admission.content = Content::Stored;
        }
        let before = self.db.usage(organization).await;
        match self.db.metadata.admit(admission).await {
            Ok(admitted) => {
                assert_eq!(admitted.usage_bytes, before + admitted.needed_bytes);
                assert_eq!(self.db.usage(organization).await, admitted.usage_bytes);
            }
            Err(error) => assert!(stored && matches!(error, AdmitError::ManifestGone), "{error:?}"),
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
            },
        };
        self.db.renew(renewal).await;
    }

    async fn fill(&mut self, layer: usize, scope: Option<usize>) {
        let (name, size) = LAYERS[layer];
        self.fills += 1;
        let scope = scope.map(|scope| self.organizations[scope]);
        self.db
            .fill(&format!("t{}", self.fills), &digest(name), size, scope)
            .await;
    }

    async fn forget(&self, layer: &Digest) {
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
                let forgotten = self.db.metadata.forget_bytes(layer, &stored.key, self.now).await;
                assert!(forgotten.unwrap());
            }
        }
    }
}
