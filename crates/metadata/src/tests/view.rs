//! Who sees which manifest and which blob.

use super::fixture::{Fixture, TTL, digest, image, index, referrer, subject_index};
use crate::{HeldBy, StoredBlob, View};

/// B1, B4: a blob is reached through a manifest of the repository, held or released, with the size
/// that it declares.
pub(super) async fn reads_blob_through_held_and_released_manifests(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let admitted = db.pin("app", &app, 0).await;
    let layer = digest("layer");
    let look = || db.metadata.blob(db.acme, "app", &layer, View::Member);

    let blob = look().await.unwrap().unwrap();
    assert_eq!((blob.declared_size, blob.stored.clone()), (10, None));
    assert!(blob.layer && blob.proven && !blob.private && !blob.wanted);
    assert_eq!(blob.repository, admitted.repository);

    db.drop_holder(admitted.repository, "", admitted.manifest, 1)
        .await;
    assert_eq!(look().await.unwrap().unwrap(), blob);
    let config = super::fixture::config_of("app");
    let config = db.metadata.blob(db.acme, "app", &config, View::Member).await;
    assert!(!config.unwrap().unwrap().layer);
}

/// B1, A3: a stranger sees what a live tag holds, directly or through an index; pins, dead tags and
/// subjects do not count.
pub(super) async fn strangers_see_only_what_live_tags_hold(db: Fixture) {
    let child = image("child", &[("child", 1)]);
    let inner = index("inner", &[&child]);
    let outer = index("outer", &[&inner]);
    let signature = referrer("signature", &outer, &[("signature", 1)]);
    let pinned = image("pinned", &[("pinned", 1)]);
    db.tag("app", "1", &outer, 0).await;
    for made in [&inner, &child, &signature, &pinned] {
        db.pin("app", made, 0).await;
    }

    for (made, layer, visible) in [
        (&child, "child", true),
        (&signature, "signature", false),
        (&pinned, "pinned", false),
    ] {
        for (now, visible) in [(1, visible), (TTL, false)] {
            let manifest = db
                .metadata
                .live_manifest(db.acme, "app", &made.digest, now, HeldBy::Tag)
                .await;
            assert_eq!(manifest.unwrap().is_some(), visible, "{layer} at {now}");
            let view = View::Public { now };
            let blob = db.metadata.blob(db.acme, "app", &digest(layer), view).await;
            assert_eq!(blob.unwrap().is_some(), visible, "{layer} at {now}");
        }
    }
    let outer = db
        .metadata
        .live_manifest(db.acme, "app", &outer.digest, 1, HeldBy::Tag)
        .await;
    assert!(outer.unwrap().is_some());
}

/// C2: while upstream must not be asked, members see what live tags and live pins hold.
pub(super) async fn members_see_live_pins_too(db: Fixture) {
    let pinned = image("pinned", &[("pinned", 1)]);
    db.pin("app", &pinned, 0).await;
    for (now, by, visible) in [
        (1, HeldBy::TagOrPin, true),
        (1, HeldBy::Tag, false),
        (TTL, HeldBy::TagOrPin, false),
    ] {
        let manifest = db
            .metadata
            .live_manifest(db.acme, "app", &pinned.digest, now, by)
            .await;
        assert_eq!(manifest.unwrap().is_some(), visible, "{by:?} at {now}");
    }
}

/// C2: without upstream a member sees the blobs of what is live, pins, children of live indexes and
/// referrers of live images included, and none of what is dead; a referrer's manifest likewise.
pub(super) async fn members_see_only_what_is_live(db: Fixture) {
    let child = image("child", &[("child", 1)]);
    let list = index("list", &[&child]);
    let signature = referrer("signature", &child, &[("signature", 1)]);
    let dead = image("dead", &[("dead", 1), ("shared", 5)]);
    let pinned = image("pinned", &[("pinned", 1), ("shared", 5)]);
    db.tag("app", "0", &dead, 0).await;
    db.tag("app", "1", &list, 10).await;
    for made in [&child, &signature, &pinned] {
        db.pin("app", made, 10).await;
    }

    for (now, layer, visible) in [
        (1, "dead", true),
        (TTL, "dead", false),
        (TTL, "shared", true),
        (TTL, "child", true),
        (TTL, "signature", true),
        (TTL, "pinned", true),
        (TTL + 10, "child", false),
        (TTL + 10, "signature", false),
        (TTL + 10, "pinned", false),
        (TTL + 10, "shared", false),
    ] {
        let blob = db
            .metadata
            .blob(db.acme, "app", &digest(layer), View::Live { now })
            .await;
        assert_eq!(blob.unwrap().is_some(), visible, "{layer} at {now}");
    }
    for (now, by, visible) in [
        (TTL, HeldBy::TagOrPin, true),
        (TTL, HeldBy::Tag, false),
        (TTL + 10, HeldBy::TagOrPin, false),
    ] {
        let found = db
            .metadata
            .live_manifest(db.acme, "app", &signature.digest, now, by)
            .await;
        assert_eq!(found.unwrap().is_some(), visible, "{by:?} at {now}");
    }
}

/// C2: manifests that are each other's subject end no search and hold nothing alive.
pub(super) async fn a_circle_of_holders_is_not_live(db: Fixture) {
    let app = image("app", &[("layer", 1)]);
    let list = subject_index("list", &app, &[&app]);
    db.tag("app", "1", &app, 0).await;
    db.pin("app", &list, 0).await;

    for (now, visible) in [(TTL - 1, true), (TTL, false)] {
        let found = db
            .metadata
            .live_manifest(db.acme, "app", &list.digest, now, HeldBy::TagOrPin)
            .await;
        assert_eq!(found.unwrap().is_some(), visible, "at {now}");
    }
}

/// B9, B4: what another organization's upstream delivered with credentials says nothing here, not even
/// how long it is.
pub(super) async fn real_size_is_told_only_with_proof(db: Fixture) {
    let other = db.other_organization().await;
    let layer = digest("layer");
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    let lies = image("lies", &[("layer", 99)]);
    db.tag_as(other, "app", "1", &lies, 0).await;
    db.fill("t1", &layer, 10, Some(db.acme)).await;
    let size = async || {
        let blob = db.metadata.blob(other, "app", &layer, View::Member).await;
        blob.unwrap().unwrap().declared_size
    };
    assert_eq!(size().await, 99);
    db.metadata.forget_bytes(&layer, "key/t1", 1).await.unwrap();
    assert_eq!(size().await, 99, "nor when the bytes are lost");

    db.metadata.prove_blob(&layer, Some(other)).await.unwrap();
    assert_eq!(size().await, 10);
}

/// B10: any manifest of the repository may be right about the size, and no other's counts.
pub(super) async fn a_size_counts_where_it_was_declared(db: Fixture) {
    let layer = digest("layer");
    db.tag("app", "good", &image("good", &[("layer", 10)]), 0).await;
    db.tag("app", "bad", &image("bad", &[("layer", 15)]), 0).await;
    db.tag("else", "1", &image("else", &[("layer", 20)]), 0).await;
    let allows = async |size| {
        let allowed = db.metadata.allows_size(db.acme, "app", &layer, size).await;
        allowed.unwrap()
    };
    assert!(allows(10).await && allows(15).await);
    assert!(!allows(20).await && !allows(11).await);

    db.fill("t1", &layer, 11, None).await;
    assert!(allows(11).await, "it was verified");
}

/// B1: another repository or another organization does not make a blob or manifest reachable.
pub(super) async fn blob_of_other_repository_is_not_there(db: Fixture) {
    let other = db.other_organization().await;
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "1", &app, 0).await;
    db.tag_as(other, "else", "1", &image("else", &[("else", 1)]), 0)
        .await;

    for (organization, repository) in [(db.acme, "else"), (other, "app"), (other, "else")] {
        let blob = db
            .metadata
            .blob(organization, repository, &digest("layer"), View::Member)
            .await;
        assert_eq!(blob.unwrap(), None);
        let manifest = db.metadata.manifest(organization, repository, &app.digest).await;
        assert_eq!(manifest.unwrap(), None);
        assert_eq!(
            db.metadata.tag(organization, repository, "2").await.unwrap(),
            None
        );
    }
}

/// B9: bytes obtained with credentials are proven for the organization whose upstream delivered them,
/// for another one after its own has, and for all once they were obtained anonymously.
pub(super) async fn private_blob_needs_proof(db: Fixture) {
    let other = db.other_organization().await;
    let layer = digest("layer");
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "1", &app, 0).await;
    db.tag_as(other, "app", "1", &app, 0).await;
    db.fill("t1", &layer, 10, Some(db.acme)).await;
    let proven = async |organization| {
        let blob = db.metadata.blob(organization, "app", &layer, View::Member).await;
        let blob = blob.unwrap().unwrap();
        let stored = StoredBlob {
            key: "key/t1".to_owned(),
            size: 10,
        };
        assert_eq!(blob.stored, Some(stored));
        (blob.private, blob.proven)
    };
    assert_eq!(proven(db.acme).await, (true, true));
    assert_eq!(proven(other).await, (true, false));

    db.metadata.prove_blob(&layer, Some(other)).await.unwrap();
    db.metadata.prove_blob(&layer, Some(other)).await.unwrap();
    assert_eq!(proven(other).await, (true, true));

    db.metadata.prove_blob(&layer, None).await.unwrap();
    assert_eq!(proven(db.acme).await, (false, true));
}
