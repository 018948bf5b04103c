//! Fills with leases: who of several processes fills a blob, and what becomes of the keys.

use quayside_oci::Digest;

use super::fixture::{Fixture, digest, image, key};
use crate::{FillCommit, FillIntent, FillLease, FillPurpose, HeldFill, OrganizationId};

/// How long a fill lives in these tests without a heartbeat.
pub(super) const LIFE: i64 = 15;
/// When its key may be deleted.
pub(super) const LATER: i64 = 500;

pub(super) fn intent(
    token: &str,
    digest: &Digest,
    size: u64,
    scope: Option<OrganizationId>,
    now: i64,
) -> FillIntent {
    FillIntent {
        token: token.to_owned(),
        digest: digest.clone(),
        size,
        scope,
        storage_key: key(token),
        address: format!("{token}:9091"),
        expires_at: now + LIFE,
    }
}

/// As [`intent`], of a process that nobody can reach.
pub(super) fn silent(token: &str, digest: &Digest, size: u64, now: i64) -> FillIntent {
    FillIntent {
        address: String::new(),
        ..intent(token, digest, size, None, now)
    }
}

pub(super) fn held(token: &str, size: u64, expires_at: i64) -> FillLease {
    FillLease::Held(HeldFill {
        token: token.to_owned(),
        address: format!("{token}:9091"),
        size,
        expires_at,
    })
}

pub(super) const STORE: FillLease = FillLease::Ours(FillPurpose::Store);
const PROVE: FillLease = FillLease::Ours(FillPurpose::Prove);

impl Fixture {
    /// An image with a layer of 10 bytes, in `acme`.
    pub(super) async fn layer(&self) -> Digest {
        self.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
        digest("layer")
    }

    pub(super) async fn begin(&self, intent: &FillIntent, now: i64) -> FillLease {
        self.metadata.begin_fill(intent, now, LATER).await.unwrap()
    }

    /// A fill that nobody can follow.
    pub(super) async fn record(&self, intent: &FillIntent) {
        self.metadata.record_fill(intent.clone()).await.unwrap();
    }

    pub(super) async fn end(&self, intent: &FillIntent) -> FillCommit {
        let FillIntent {
            token,
            digest,
            size,
            scope,
            storage_key,
            ..
        } = intent;
        let committed = self
            .metadata
            .commit_fill(token, digest, storage_key, *size, *scope, LATER);
        committed.await.unwrap()
    }
}

/// B2, B9, B10: who wants what while somebody without credentials or with those of `acme` fills 10 bytes, and what
/// the one that asks is told.
pub(super) async fn fill_is_shared_by_size_and_scope(db: Fixture) {
    let other = db.other_organization().await;
    let (nobody, acme, other) = (None, Some(db.acme), Some(other));
    let table = [
        // the scope that fills, the scope and size that ask, whether they follow
        (nobody, nobody, 10, true),
        (nobody, acme, 10, true),
        (nobody, acme, 11, false),
        (nobody, nobody, 11, false),
        (acme, acme, 10, true),
        (acme, acme, 11, false),
        (acme, nobody, 10, false),
        (acme, other, 10, false),
    ];
    for (number, (filling, asking, size, follows)) in table.into_iter().enumerate() {
        let layer = digest(&format!("layer {number}"));
        let first = intent(&format!("first {number}"), &layer, 10, filling, 0);
        assert_eq!(db.begin(&first, 0).await, STORE);

        let token = format!("second {number}");
        let second = intent(&token, &layer, size, asking, 1);
        let begun = db.begin(&second, 1).await;

        if follows {
            assert_eq!(begun, held(&first.token, 10, LIFE), "{number}");
            assert_eq!(db.places(&token).await, [""; 0], "{number}");
        } else {
            assert_eq!(begun, STORE, "{number}");
            assert_eq!(db.places(&token).await, ["fill"], "{number}");
        }
        assert_eq!(db.places(&first.token).await, ["fill"], "{number}");
    }
    db.assert_consistent().await;
}

/// B10: another size runs beside the lease and is followed by nobody; the commit decides.
pub(super) async fn other_size_fills_beside_the_lease(db: Fixture) {
    let layer = db.layer().await;
    let right = intent("right", &layer, 10, None, 0);
    let wrong = intent("wrong", &layer, 99, None, 0);
    db.begin(&right, 0).await;
    assert_eq!(db.begin(&wrong, 0).await, STORE);

    let third = intent("third", &layer, 99, None, 0);
    assert_eq!(db.begin(&third, 0).await, STORE);

    assert_eq!(db.end(&right).await, FillCommit::Stored);
    assert_eq!(db.end(&wrong).await, FillCommit::Superseded);
    let fourth = intent("fourth", &layer, 10, None, 0);
    assert_eq!(db.begin(&fourth, 0).await, FillLease::Found);
    for (token, place) in [("right", "blob"), ("wrong", "garbage"), ("third", "fill")] {
        assert_eq!(db.places(token).await, [place]);
    }
    assert_eq!(db.places("fourth").await, [""; 0]);
    db.assert_consistent().await;
}

/// ENGINE §3.4: a fill without a heartbeat that nobody can follow is taken over, whatever its size; its key is garbage in
/// that moment, and it may not commit.
pub(super) async fn fill_that_expired_is_taken_over(db: Fixture) {
    let layer = db.layer().await;
    for size in [10, 99] {
        let dead = silent(&format!("dead {size}"), &layer, size, 0);
        let heir = intent(&format!("heir {size}"), &layer, 10, None, LIFE);
        assert_eq!(db.begin(&dead, 0).await, STORE);
        if size == 10 {
            let begun = db.begin(&heir, LIFE).await;
            let FillLease::Held(live) = begun else {
                panic!("not a moment early: {begun:?}")
            };
            assert_eq!(live.token, dead.token);
        }

        assert_eq!(db.begin(&heir, LIFE + 1).await, STORE);

        assert_eq!(db.places(&dead.token).await, ["garbage"]);
        assert_eq!(db.places(&heir.token).await, ["fill"]);
        assert_eq!(db.end(&dead).await, FillCommit::Lost);
        assert_eq!(db.places(&dead.token).await, ["garbage"]);
        db.metadata.abandon_fill(&heir.token, LATER).await.unwrap();
    }
    db.assert_consistent().await;
}

/// B2, O2: a row that was not renewed says nothing of its process where the database was away; the process is asked.
pub(super) async fn fill_that_expired_is_followed_where_it_says_where(db: Fixture) {
    let layer = db.layer().await;
    let running = intent("running", &layer, 10, None, 0);
    db.begin(&running, 0).await;

    let other = intent("other", &layer, 10, None, 100);
    assert_eq!(db.begin(&other, 100).await, held("running", 10, LIFE));

    let tokens = [running.token.clone()];
    assert_eq!(
        db.metadata.heartbeat_fills(&tokens, 100, 200).await.unwrap(),
        tokens
    );
    assert_eq!(db.end(&running).await, FillCommit::Stored);
    db.assert_consistent().await;
}

/// B2: of those that cannot reach who fills one takes the lease, and the others follow that one. What could not be
/// reached goes on, and the first commit decides.
pub(super) async fn one_replaces_a_fill_that_cannot_be_reached(db: Fixture) {
    let layer = db.layer().await;
    let (first, second) = (
        intent("first", &layer, 10, None, 0),
        intent("second", &layer, 10, None, 0),
    );
    let third = intent("third", &layer, 10, None, 0);
    db.begin(&first, 0).await;

    let instead = async |intent, now| {
        let begun = db
            .metadata
            .begin_fill_instead_of("first", intent, now, LATER)
            .await;
        begun.unwrap()
    };
    assert_eq!(instead(&second, LIFE).await, STORE);
    assert_eq!(instead(&third, LIFE).await, held("second", 10, LIFE));

    for token in ["first", "second"] {
        assert_eq!(db.places(token).await, ["fill"]);
    }
    assert_eq!(db.end(&first).await, FillCommit::Stored);
    assert_eq!(db.end(&second).await, FillCommit::Superseded);
    db.assert_consistent().await;
}

/// G3: a process that was replaced and slept through its lease may not commit: its key is garbage, or its row can no
/// longer be renewed.
pub(super) async fn replaced_fill_that_expires_is_lost(db: Fixture) {
    let layer = db.layer().await;
    for (dead, heir, replaced_at) in [("early", "a", LIFE), ("late", "b", LIFE + 1)] {
        let (dead, heir) = (
            intent(dead, &layer, 10, None, 0),
            intent(heir, &layer, 10, None, 50),
        );
        db.begin(&dead, 0).await;
        let begun = db
            .metadata
            .begin_fill_instead_of(&dead.token, &heir, replaced_at, LATER);
        assert_eq!(begun.await.unwrap(), STORE);

        let tokens = [dead.token.clone(), heir.token.clone()];
        let there = db.metadata.heartbeat_fills(&tokens, LIFE + 1, 100).await.unwrap();

        assert_eq!(
            there,
            std::slice::from_ref(&heir.token),
            "replaced at {replaced_at}"
        );
        let place = if replaced_at > LIFE { "garbage" } else { "fill" };
        assert_eq!(db.places(&dead.token).await, [place]);
        for token in [&dead.token, &heir.token] {
            db.metadata.abandon_fill(token, LATER).await.unwrap();
        }
        assert_eq!(db.end(&dead).await, FillCommit::Lost);
    }
    db.assert_consistent().await;
}

/// B2, B9: what is stored and may be had is not fetched.
pub(super) async fn stored_blob_is_found(db: Fixture) {
    let layer = db.layer().await;
    let stored = intent("stored", &layer, 10, Some(db.acme), 0);
    db.begin(&stored, 0).await;
    db.end(&stored).await;

    let late = intent("late", &layer, 10, Some(db.acme), 1);
    assert_eq!(db.begin(&late, 1).await, FillLease::Found);
    assert_eq!(db.places("late").await, [""; 0]);
    assert_eq!(db.metadata.held_fill(&layer, None, 1).await.unwrap(), None);
    db.assert_consistent().await;
}

/// B9: bytes that came with credentials of others are fetched once more, by one process at a time, and thrown
/// away. Their key was never written; listed as garbage all the same, since a deletion of nothing costs nothing.
pub(super) async fn private_blob_is_proven_under_a_lease(db: Fixture) {
    let other = db.other_organization().await;
    let layer = db.layer().await;
    let stored = intent("stored", &layer, 10, Some(db.acme), 0);
    db.begin(&stored, 0).await;
    db.end(&stored).await;

    let proof = intent("proof", &layer, 10, Some(other), 0);
    let second = intent("second", &layer, 10, Some(other), 0);
    assert_eq!(db.begin(&proof, 0).await, PROVE);
    assert_eq!(db.begin(&second, 0).await, held("proof", 10, LIFE));
    let anonymous = intent("anonymous", &layer, 10, None, 0);
    assert_eq!(db.begin(&anonymous, 0).await, PROVE);

    db.metadata.prove_blob(&layer, Some(other)).await.unwrap();
    assert_eq!(db.begin(&second, 0).await, FillLease::Found);
    db.metadata.abandon_fill("proof", LATER).await.unwrap();
    assert_eq!(db.places("proof").await, ["garbage"]);
    assert_eq!(db.places("stored").await, ["blob"]);
    db.assert_consistent().await;
}

/// B8, I3: a proof that runs while the stored bytes are lost leaves its key to the garbage list, never to the blob.
pub(super) async fn lost_bytes_are_filled_under_a_new_key(db: Fixture) {
    let layer = db.layer().await;
    let lost = intent("lost", &layer, 10, None, 0);
    db.begin(&lost, 0).await;
    db.end(&lost).await;
    db.metadata
        .forget_bytes(&layer, &key("lost"), LATER)
        .await
        .unwrap();

    let again = intent("again", &layer, 10, None, 0);
    assert_eq!(db.begin(&again, 0).await, STORE);
    assert_eq!(db.end(&again).await, FillCommit::Stored);
    assert_eq!(db.places("lost").await, ["garbage"]);
    assert_eq!(db.places("again").await, ["blob"]);
    db.assert_consistent().await;
}

/// G1: what no manifest names may be filled, as without leases, and the commit finds that nobody wants it.
pub(super) async fn blob_that_nothing_names_is_garbage_at_the_end(db: Fixture) {
    let unnamed = intent("unnamed", &digest("nothing"), 10, None, 0);
    assert_eq!(db.begin(&unnamed, 0).await, STORE);
    assert_eq!(db.end(&unnamed).await, FillCommit::Unreferenced);
    assert_eq!(db.places("unnamed").await, ["garbage"]);
}

/// ENGINE §3.4: a heartbeat keeps the fills that are there, and tells which are not.
pub(super) async fn heartbeat_tells_which_fills_are_gone(db: Fixture) {
    let (here, gone) = (digest("here"), digest("gone"));
    db.begin(&intent("here", &here, 10, None, 0), 0).await;
    db.begin(&intent("gone", &gone, 10, None, 0), 0).await;
    db.metadata.abandon_fill("gone", LATER).await.unwrap();

    let tokens = ["gone", "here", "never"].map(str::to_owned);
    let there = db.metadata.heartbeat_fills(&tokens, 0, 100).await.unwrap();

    assert_eq!(there, ["here"]);
    assert_eq!(db.metadata.expire_fills(100, LATER).await.unwrap(), 0);
    let late = intent("late", &here, 10, None, 100);
    assert_eq!(db.begin(&late, 100).await, held("here", 10, 100));
    assert_eq!(
        db.metadata.heartbeat_fills(&[], 0, 100).await.unwrap(),
        Vec::<String>::new()
    );
    db.assert_consistent().await;
}

/// ENGINE §3.4: who breaks off from a peer finds the fill that runs by now; first one that anybody may follow.
pub(super) async fn running_fill_is_read_again(db: Fixture) {
    let layer = db.layer().await;
    let other = db.other_organization().await;
    let running = async |scope, now| {
        let found = db.metadata.held_fill(&layer, scope, now).await.unwrap();
        found.map(|fill| fill.token)
    };
    assert_eq!(running(None, 0).await, None);
    db.begin(&intent("acme", &layer, 10, Some(db.acme), 0), 0).await;
    assert_eq!(running(Some(db.acme), LIFE).await.as_deref(), Some("acme"));
    assert_eq!(running(Some(db.acme), LIFE + 1).await.as_deref(), Some("acme"));
    assert_eq!(running(Some(other), 0).await, None);
    assert_eq!(running(None, 0).await, None);

    db.record(&intent("alone", &layer, 10, None, 0)).await;
    assert_eq!(running(None, 0).await, None, "nobody follows what has no lease");
    db.begin(&intent("free", &layer, 10, None, 0), 0).await;

    assert_eq!(running(Some(db.acme), 0).await.as_deref(), Some("free"));
    assert_eq!(running(Some(other), 0).await.as_deref(), Some("free"));
}

/// ENGINE §1.3: the worker gives up what expired, with a lease or without; then it may be begun anew.
pub(super) async fn expired_fill_frees_its_lease(db: Fixture) {
    let layer = db.layer().await;
    db.begin(&intent("dead", &layer, 10, None, 0), 0).await;
    db.record(&intent("alone", &layer, 10, None, 0)).await;

    assert_eq!(db.metadata.expire_fills(LIFE, LATER).await.unwrap(), 0);
    assert_eq!(db.metadata.expire_fills(LIFE + 1, LATER).await.unwrap(), 2);

    for token in ["dead", "alone"] {
        assert_eq!(db.places(token).await, ["garbage"]);
    }
    let next = intent("next", &layer, 10, None, LIFE);
    assert_eq!(db.begin(&next, LIFE).await, STORE);
    db.assert_consistent().await;
}
