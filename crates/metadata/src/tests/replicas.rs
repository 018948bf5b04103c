//! Several processes on one database, in each other's way.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use futures::future::join_all;
use quayside_test_servers::Postgres;

use super::begin::{LATER, LIFE, STORE, held, intent, silent};
use super::fixture::{Fixture, digest, image};
use crate::{FillCommit, FillLease, Metadata, OrganizationId, Taken};

/// A database that two processes have open. The server goes with it.
struct Two {
    db: Fixture,
    other: Metadata,
    _server: Postgres,
}

impl Two {
    async fn open() -> Self {
        let server = Postgres::start();
        let url = server.create_database("quayside");
        let db = Fixture::postgres(url.clone()).await;
        let other = Fixture::postgres(url).await.metadata;
        Self {
            db,
            other,
            _server: server,
        }
    }

    fn metadata(&self, number: usize) -> &Metadata {
        [&self.db.metadata, &self.other][number % 2]
    }
}

/// Another order of arrival in every round.
async fn stagger(round: usize, number: usize) {
    for _ in 0..(round * (number + 3)) % 7 {
        tokio::task::yield_now().await;
    }
}

/// B2: of all that begin to fill one blob at once exactly one does, and the others follow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_fills() {
    let two = Two::open().await;
    for round in 0..25 {
        let layer = digest(&format!("layer {round}"));
        let asked = (0..6).map(async |number| {
            stagger(round, number).await;
            let intent = intent(&format!("{round} {number}"), &layer, 10, None, 0);
            let metadata = two.metadata(number);
            metadata.begin_fill(&intent, 0, LATER).await.unwrap()
        });
        let answers = join_all(asked).await;

        let ours: Vec<_> = (0..6).filter(|number| answers[*number] == STORE).collect();
        assert_eq!(ours.len(), 1, "{answers:?}");
        let following = held(&format!("{round} {}", ours[0]), 10, LIFE);
        let follow = answers.iter().filter(|answer| **answer == following).count();
        assert_eq!(follow, 5, "{answers:?}");
    }
    two.db.assert_consistent().await;
}

/// B2: whoever asks while a fill is committed follows it or finds the blob; it is never fetched again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_fills_what_is_committed_meanwhile() {
    let two = Two::open().await;
    let layers: Vec<_> = (0..40).map(|round| format!("layer {round}")).collect();
    let named: Vec<_> = layers.iter().map(|layer| (layer.as_str(), 10)).collect();
    two.db.tag("app", "1", &image("app", &named), 0).await;
    for (round, layer) in layers.iter().enumerate() {
        let layer = digest(layer);
        let first = intent(&format!("{round} first"), &layer, 10, None, 0);
        assert_eq!(two.db.begin(&first, 0).await, STORE);
        let commit = async {
            stagger(round, 0).await;
            two.db.end(&first).await
        };
        let asked = join_all((1..4).map(async |number| {
            stagger(round, number).await;
            let intent = intent(&format!("{round} {number}"), &layer, 10, None, 0);
            let metadata = two.metadata(number);
            metadata.begin_fill(&intent, 0, LATER).await.unwrap()
        }));

        let (committed, answers) = tokio::join!(commit, asked);

        assert_eq!(committed, FillCommit::Stored);
        let following = held(&first.token, 10, LIFE);
        let none_fills = answers
            .iter()
            .all(|answer| *answer == following || *answer == FillLease::Found);
        assert!(none_fills, "{answers:?}");
    }
    two.db.assert_consistent().await;
}

/// ENGINE §3.4, G3: a holder that comes back while its fill is taken over commits, or the other one fills; never
/// both, and no key is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holder_that_comes_back_commits_or_is_taken_over() {
    let two = Two::open().await;
    let layers: Vec<_> = (0..60).map(|round| format!("layer {round}")).collect();
    let named: Vec<_> = layers.iter().map(|layer| (layer.as_str(), 10)).collect();
    two.db.tag("app", "1", &image("app", &named), 0).await;
    let mut stored = 0;
    for (round, layer) in layers.iter().enumerate() {
        let layer = digest(layer);
        let dead = silent(&format!("{round} dead"), &layer, 10, 0);
        let heir = intent(&format!("{round} heir"), &layer, 10, None, LIFE + 1);
        assert_eq!(two.db.begin(&dead, 0).await, STORE);
        let come_back = async {
            stagger(round, 0).await;
            two.db.end(&dead).await
        };
        let take_over = async {
            stagger(round, 1).await;
            let begun = two.other.begin_fill(&heir, LIFE + 1, LATER).await;
            begun.unwrap()
        };

        let outcome = tokio::join!(come_back, take_over);

        let places = async |token: &str| two.db.places(token).await.join(", ");
        let places = (places(&dead.token).await, places(&heir.token).await);
        match outcome {
            (FillCommit::Stored, FillLease::Found) => {
                stored += 1;
                assert_eq!(places, ("blob".to_owned(), String::new()));
            }
            (FillCommit::Lost, begun) if begun == STORE => {
                assert_eq!(places, ("garbage".to_owned(), "fill".to_owned()));
                assert_eq!(two.db.end(&heir).await, FillCommit::Stored);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        (1..60).contains(&stored),
        "one of them was always first: {stored}"
    );
    two.db.assert_consistent().await;
}

/// ENGINE §1.3: workers that give up expired fills beside each other, a heartbeat and a commit: what was given up may
/// not be committed, and what was renewed or committed is not given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiry_beside_commit_and_heartbeat() {
    let two = Two::open().await;
    let layers: Vec<_> = (0..60).map(|round| format!("layer {round}")).collect();
    let named: Vec<_> = layers.iter().map(|layer| (layer.as_str(), 10)).collect();
    two.db.tag("app", "1", &image("app", &named), 0).await;
    for (round, layer) in layers.iter().enumerate() {
        let late = intent(&format!("{round} late"), &digest(layer), 10, None, 0);
        let beating = intent(&format!("{round} beating"), &digest("beating"), 10, None, 0);
        two.db.begin(&late, 0).await;
        two.db.record(&beating).await;
        let tokens = [late.token.clone(), beating.token.clone()];
        let expire = async |number| {
            stagger(round, number).await;
            let expired = two.metadata(number).expire_fills(LIFE + 1, LATER).await;
            expired.unwrap()
        };
        let heartbeat = async {
            stagger(round, 2).await;
            two.other.heartbeat_fills(&tokens, 0, LIFE + 1).await.unwrap()
        };
        let commit = async {
            stagger(round, 3).await;
            two.db.end(&late).await
        };

        let (one, another, beat, committed) = tokio::join!(expire(0), expire(1), heartbeat, commit);

        let kept = beat.contains(&beating.token);
        let place = if kept { "fill" } else { "garbage" };
        assert_eq!(two.db.places(&beating.token).await, [place]);
        let place = match committed {
            FillCommit::Stored => "blob",
            FillCommit::Lost => "garbage",
            other => panic!("{other:?}"),
        };
        assert_eq!(two.db.places(&late.token).await, [place]);
        let given_up = u64::from(!kept) + u64::from(committed == FillCommit::Lost);
        assert_eq!(one + another, given_up);
        two.db.metadata.abandon_fill(&beating.token, LATER).await.unwrap();
    }
    two.db.assert_consistent().await;
}

/// G4, M2: of all that want a lease at once one gets it; the same of all that overrule a note.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_has_the_lease() {
    let two = Two::open().await;
    let ours = |answers: &[Taken]| answers.iter().filter(|answer| **answer == Taken::Ours).count();
    for round in 0..25 {
        let name = format!("m:1/app@{round}");
        let holders: Vec<_> = (0..6).map(|number| format!("replica {number}")).collect();
        let take = async |number: usize, now| {
            stagger(round, number).await;
            let metadata = two.metadata(number);
            let taken = metadata.take_lease(&name, &holders[number], now, now + 10).await;
            taken.unwrap()
        };
        assert_eq!(ours(&join_all((0..6).map(|number| take(number, 0))).await), 1);
        // It expired.
        let taken = join_all((0..6).map(|number| take(number, 11))).await;
        assert_eq!(ours(&taken), 1, "{taken:?}");
        let holder = &holders[taken.iter().position(|answer| *answer == Taken::Ours).unwrap()];
        two.other
            .give_lease_with_note(&name, holder, "it failed", 99)
            .await
            .unwrap();

        let noted = two.other.lease(&name).await.unwrap().unwrap();
        let overrule = async |number: usize| {
            stagger(round, number).await;
            let metadata = two.metadata(number);
            let taken = metadata.take_noted_lease(&name, &holders[number], &noted, 12, 22);
            taken.await.unwrap()
        };
        assert_eq!(ours(&join_all((0..6).map(overrule)).await), 1);
    }
}

/// One process of [`any_turmoil_can_be_recounted`].
struct Busy<'a> {
    two: &'a Two,
    organizations: [OrganizationId; 2],
    number: usize,
    clock: &'a AtomicI64,
    stored: &'a AtomicUsize,
}

impl Busy<'_> {
    /// Something, depending on the step.
    async fn step(&self, step: usize) {
        let metadata = self.two.metadata(self.number);
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let chance = (step * 31 + self.number * 17) % 97;
        let layer = format!("layer {}", chance % 3);
        match chance % 8 {
            0 | 1 => {
                // Every image declares another size for the layer.
                let made = image(&format!("app {chance}"), &[(&layer, 10 + chance as u64)]);
                let organization = self.organizations[chance % 2];
                let tag = format!("{}", chance % 2);
                self.two.db.tag_as(organization, "app", &tag, &made, now).await;
            }
            2 => {
                let expired = metadata.expire_fills(now, now + 20).await;
                expired.unwrap();
            }
            3 => {
                for organization in metadata.sweepable(now + 20_000).await.unwrap() {
                    metadata.sweep(organization, 0, now + 20_000).await.unwrap();
                }
                metadata.collect(now + 20_000, now + 20).await.unwrap();
            }
            _ => self.fill(metadata, &layer, step, now).await,
        }
    }

    async fn fill(&self, metadata: &Metadata, layer: &str, step: usize, now: i64) {
        let scope = [None, Some(self.organizations[0]), None][step % 3];
        let token = format!("{} {step}", self.number);
        let intent = intent(&token, &digest(layer), 10, scope, now);
        let begun = metadata.begin_fill(&intent, now, now + 20).await;
        match begun.unwrap() {
            FillLease::Ours(crate::FillPurpose::Store) if step.is_multiple_of(5) => {
                // It dies.
            }
            FillLease::Ours(crate::FillPurpose::Store) => {
                stagger(step, self.number).await;
                if self.two.db.end(&intent).await == FillCommit::Stored {
                    self.stored.fetch_add(1, Ordering::Relaxed);
                }
            }
            FillLease::Ours(crate::FillPurpose::Prove) => {
                metadata.prove_blob(&intent.digest, scope).await.unwrap();
                metadata.abandon_fill(&token, now + 20).await.unwrap();
            }
            FillLease::Held(held) => {
                let tokens = [held.token];
                metadata.heartbeat_fills(&tokens, now, now + 1).await.unwrap();
            }
            FillLease::Found => {
                let blob = metadata.blob(self.organizations[0], "app", &intent.digest, crate::View::Member);
                if let Some(stored) = blob.await.unwrap().and_then(|blob| blob.stored) {
                    let lost = metadata.forget_bytes(&intent.digest, &stored.key, now + 20);
                    lost.await.unwrap();
                }
            }
        }
    }
}

/// G3, Q2, I3: whatever several processes do at once, every size is counted right and every key is in one place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_turmoil_can_be_recounted() {
    const PROCESSES: usize = 4;
    let steps = if std::env::var_os("QUAYSIDE_LONG").is_some() {
        1000
    } else {
        50
    };
    let two = Two::open().await;
    let other = two.db.other_organization().await;
    let organizations = [two.db.acme, other];
    let (clock, stored) = (AtomicI64::new(1), AtomicUsize::new(0));
    for start in (0..steps).step_by(10) {
        let processes = (0..PROCESSES).map(async |number| {
            let busy = Busy {
                two: &two,
                organizations,
                number,
                clock: &clock,
                stored: &stored,
            };
            for step in start..start + 10 {
                busy.step(step).await;
            }
        });
        join_all(processes).await;
        two.db.assert_consistent().await;
        for token in (0..PROCESSES).flat_map(|number| (start..start + 10).map(move |step| (number, step))) {
            let places = two.db.places(&format!("{} {}", token.0, token.1)).await;
            assert!(places.len() <= 1, "{token:?}: {places:?}");
        }
    }
    assert!(stored.into_inner() > 0, "nothing was ever stored");
}
