//! Admissions, and what they leave held and counted.

use super::fixture::{CONFIG, Fixture, HolderRow, Made, TTL, digest, image, index, referrer};
use crate::{AdmitError, Hold};

/// M2, Q2: the first pull by tag stores the body, makes the tag live and counts body and blobs.
pub(super) async fn stores_first_pull_and_counts_it(db: Fixture) {
    let app = image("app", &[("base", 1000), ("app", 50)]);

    let admitted = db.tag("library/app", "1", &app, 5).await;

    let weight = app.size() + CONFIG + 1050;
    assert_eq!((admitted.needed_bytes, admitted.usage_bytes), (weight, weight));
    assert!(!admitted.pinned);
    let state = db.state("library/app", "1").await;
    assert_eq!(state.manifest.body, app.body);
    assert_eq!(state.manifest.media_type, app.manifest.media_type);
    assert!(!state.manifest.released);
    assert_eq!(
        (state.ends_at, state.pulled_at, state.checked_at),
        (5 + TTL, 5, 5)
    );
    let by_digest = db.metadata.manifest(db.acme, "library/app", &app.digest).await;
    assert_eq!(by_digest.unwrap().unwrap(), state.manifest);
    assert_eq!(db.usage(db.acme).await, weight);
    db.assert_consistent().await;
}

/// Q2: a blob counts once in an organization, whatever names it, and fully in each organization.
pub(super) async fn counts_shared_layers_once_per_organization(db: Fixture) {
    let other = db.other_organization().await;
    let one = image("one", &[("base", 1000)]);
    let two = image("two", &[("base", 1000), ("two", 10)]);

    db.tag("one", "1", &one, 1).await;
    let second = db.tag("two", "1", &two, 2).await;
    let same_elsewhere = db.tag("three", "1", &two, 3).await;
    let foreign = db.tag_as(other, "two", "1", &two, 4).await;

    assert_eq!(second.needed_bytes, two.size() + CONFIG + 10);
    assert_eq!(same_elsewhere.needed_bytes, 0);
    assert_eq!(foreign.needed_bytes, two.size() + CONFIG + 1010);
    assert_eq!(db.usage(other).await, foreign.needed_bytes);
    db.assert_consistent().await;
}

/// M4, M5: a replaced row dies at once and stays held; a digest that comes back is the same row,
/// made current, and adds nothing.
pub(super) async fn moves_tag_there_and_back(db: Fixture) {
    let (a, b) = (image("a", &[("a", 10)]), image("b", &[("b", 20)]));

    let first = db.tag("app", "latest", &a, 100).await;
    let second = db.tag("app", "latest", &b, 200).await;
    assert_eq!(db.state("app", "latest").await.manifest.digest, b.digest);
    let replaced = HolderRow {
        name: "latest".to_owned(),
        current: false,
        ends_at: 200,
        pulled_at: 100,
    };
    assert_eq!(db.holders(first.manifest).await, [replaced]);
    assert_eq!(second.usage_bytes, first.usage_bytes + b.size() + CONFIG + 20);

    let third = db.tag("app", "latest", &a, 300).await;
    assert_eq!((third.manifest, third.needed_bytes), (first.manifest, 0));
    let state = db.state("app", "latest").await;
    assert_eq!((&state.manifest.digest, state.ends_at), (&a.digest, 300 + TTL));
    assert_eq!(db.holders(second.manifest).await[0].ends_at, 300);
    db.assert_consistent().await;
}

/// M5: a dead tag in its Window is revived without its body and without bytes.
pub(super) async fn revives_dead_tag_without_body(db: Fixture) {
    let app = image("app", &[("app", 10)]);
    let first = db.tag("app", "1", &app, 0).await;
    db.metadata
        .mark_resolved(first.repository, "1", first.manifest, 2 * TTL)
        .await
        .unwrap();

    let now = 3 * TTL;
    let hold = Hold::Tag {
        name: "1",
        ends_at: now + TTL,
        checked_at: now,
    };
    let revived = db.take_back("app", &app, hold, now).await.unwrap();

    assert_eq!((revived.manifest, revived.needed_bytes), (first.manifest, 0));
    let state = db.state("app", "1").await;
    assert_eq!(
        (state.ends_at, state.checked_at, state.resolved_at),
        (now + TTL, now, 0)
    );
    db.assert_consistent().await;
}

/// M4: two tags on one manifest live their own lives.
pub(super) async fn keeps_two_tags_on_one_manifest_apart(db: Fixture) {
    let (app, next) = (image("app", &[("app", 10)]), image("next", &[("next", 10)]));
    db.tag("app", "1", &app, 0).await;
    let same = db.tag("app", "latest", &app, 10).await;
    assert_eq!(same.needed_bytes, 0);

    db.tag("app", "latest", &next, 20).await;

    assert_eq!(db.state("app", "1").await.manifest.digest, app.digest);
    assert_eq!(db.state("app", "1").await.ends_at, TTL);
    db.drop_holder(same.repository, "latest", same.manifest, 30).await;
    assert!(!db.state("app", "1").await.manifest.released);
    db.assert_consistent().await;
}

/// M4: replacing a tag that is dead already does not lengthen its Window.
pub(super) async fn replaced_tag_that_was_dead_keeps_its_end(db: Fixture) {
    let (a, b) = (image("a", &[]), image("b", &[]));
    let first = db.tag("app", "latest", &a, 0).await;

    db.tag("app", "latest", &b, 5 * TTL).await;

    assert_eq!(db.holders(first.manifest).await[0].ends_at, TTL);
}

/// M9, M10: a pull by digest is pinned only if no live tag, held index or held subject holds it.
pub(super) async fn pins_only_what_nothing_else_holds(db: Fixture) {
    let child = image("child", &[("child", 10)]);
    let list = index("list", &[&child]);
    let tagged = image("tagged", &[]);
    let signature = referrer("signature", &tagged, &[]);
    let lone = image("lone", &[]);
    let mut pinned = Vec::new();

    db.tag("app", "list", &list, 0).await;
    db.tag("app", "tagged", &tagged, 0).await;
    for made in [&child, &tagged, &signature, &lone] {
        pinned.push(db.pin("app", made, 1).await.pinned);
    }
    // Elsewhere nothing holds the child.
    pinned.push(db.pin("elsewhere", &child, 1).await.pinned);
    assert_eq!(pinned, [false, false, false, true, true]);

    // A tag that is dead holds, but it does not keep a pin away.
    let late = db.pin("app", &tagged, 2 * TTL).await;
    assert!(late.pinned);
    assert_eq!(late.needed_bytes, 0);
    db.assert_consistent().await;
}

/// M10: the index that comes after the pin does not take it away; it lapses like a tag.
pub(super) async fn child_that_was_pinned_before_its_index_keeps_its_pin(db: Fixture) {
    let child = image("child", &[("child", 10)]);
    let list = index("list", &[&child]);
    let first = db.pin("app", &child, 0).await;
    assert!(first.pinned);

    let added = db.tag("app", "list", &list, 10).await;

    assert_eq!(added.needed_bytes, list.size());
    assert_eq!(db.holders(first.manifest).await[0].ends_at, TTL);
    // The pin lapses and goes; the index holds on.
    db.drop_holder(first.repository, "", first.manifest, 2 * TTL)
        .await;
    let stored = db.metadata.manifest(db.acme, "app", &child.digest).await;
    assert!(!stored.unwrap().unwrap().released);
    db.assert_consistent().await;
}

/// Q2, M13: an index counts its own body; a child counts from the moment it is stored.
pub(super) async fn counts_child_from_the_moment_it_is_stored(db: Fixture) {
    let child = image("child", &[("child", 10)]);
    let inner = index("inner", &[&child]);
    let outer = index("outer", &[&inner]);

    let admitted = db.tag("app", "1", &outer, 0).await;
    assert_eq!(admitted.needed_bytes, outer.size());
    // The child comes before the index between them, so a pin holds it meanwhile.
    let early = db.pin("app", &child, 1).await;
    assert!(early.pinned);
    assert_eq!(early.needed_bytes, child.size() + CONFIG + 10);
    let middle = db.pin("app", &inner, 2).await;
    assert!(!middle.pinned);
    assert_eq!(middle.needed_bytes, inner.size());

    db.drop_holder(early.repository, "", early.manifest, 3).await;
    assert_eq!(db.usage(db.acme).await, middle.usage_bytes);
    db.assert_consistent().await;
}

/// M12, G1: a referrer is held through its subject and counted with it.
pub(super) async fn holds_referrer_through_its_subject(db: Fixture) {
    let app = image("app", &[("app", 10)]);
    let signature = referrer("signature", &app, &[("signature", 5)]);
    let base = db.tag("app", "1", &app, 0).await;

    let admitted = db.pin("app", &signature, 1).await;
    assert!(!admitted.pinned);
    assert_eq!(admitted.needed_bytes, signature.size() + CONFIG + 5);

    db.drop_holder(base.repository, "1", base.manifest, 2).await;
    let stored = db.metadata.manifest(db.acme, "app", &signature.digest).await;
    assert!(stored.unwrap().unwrap().released);
    assert_eq!(db.usage(db.acme).await, 0);
    db.assert_consistent().await;
}

/// M5, M9, Q3: a released manifest is taken back with its stored children and referrers, and all of
/// them are needed bytes again.
pub(super) async fn takes_back_released_manifest_with_children_and_referrers(db: Fixture) {
    let child = image("child", &[("child", 10)]);
    let inner = index("inner", &[&child]);
    let outer = index("outer", &[&inner]);
    let signature = referrer("signature", &outer, &[("signature", 5)]);
    let never_stored = index("never stored", &[&outer]);
    let tagged = db.tag("app", "1", &outer, 0).await;
    for made in [&inner, &child, &signature] {
        db.pin("app", made, 1).await;
    }
    let full = db.usage(db.acme).await;
    db.drop_holder(tagged.repository, "1", tagged.manifest, 2).await;
    assert_eq!(db.usage(db.acme).await, 0);
    assert_eq!(full, {
        let bodies = [&outer, &inner, &child, &signature].map(Made::size);
        bodies.iter().sum::<u64>() + 2 * CONFIG + 15
    });

    let taken = db
        .take_back("app", &outer, Hold::Pin { ends_at: 3 + TTL }, 3)
        .await;

    let taken = taken.unwrap();
    assert!(taken.pinned);
    assert_eq!((taken.needed_bytes, taken.usage_bytes), (full, full));
    for made in [&outer, &inner, &child, &signature] {
        let stored = db.metadata.manifest(db.acme, "app", &made.digest).await;
        assert!(!stored.unwrap().unwrap().released);
    }
    let stored = db.metadata.manifest(db.acme, "app", &never_stored.digest).await;
    assert_eq!(stored.unwrap(), None);
    db.assert_consistent().await;
}

/// Q2: a new index makes released children held again, and they are counted with it.
pub(super) async fn new_index_takes_back_released_children(db: Fixture) {
    let child = image("child", &[("child", 10)]);
    let list = index("list", &[&child]);
    let pinned = db.pin("app", &child, 0).await;
    db.drop_holder(pinned.repository, "", pinned.manifest, 1).await;
    assert_eq!(db.usage(db.acme).await, 0);

    let admitted = db.tag("app", "1", &list, 2).await;

    let weight = list.size() + child.size() + CONFIG + 10;
    assert_eq!(admitted.needed_bytes, weight);
    db.assert_consistent().await;
}

/// M8, M9: a manifest that was collected is reported, and no empty repository is left behind.
pub(super) async fn reports_manifest_that_is_gone_and_leaves_no_repository(db: Fixture) {
    let app = image("app", &[]);

    let gone = db.take_back("app", &app, Hold::Pin { ends_at: TTL }, 0).await;

    assert!(matches!(gone, Err(AdmitError::ManifestGone)));
    let left = db.count("SELECT COUNT(*) FROM repository").await;
    assert_eq!(left, 0, "the repository was rolled back");
    db.assert_consistent().await;
}

/// M10: two requests that fetched the same manifest store it once and count it once.
pub(super) async fn stores_same_manifest_once(db: Fixture) {
    let app = image("app", &[("app", 10)]);
    let (one, two) = tokio::join!(db.pin("app", &app, 0), db.pin("app", &app, 5));

    assert_eq!(one.manifest, two.manifest);
    assert_eq!(one.usage_bytes, two.usage_bytes);
    assert_eq!(one.needed_bytes.min(two.needed_bytes), 0);
    let holders = db.holders(one.manifest).await;
    assert_eq!((holders.len(), holders[0].ends_at), (1, 5 + TTL));
    let blob = db
        .metadata
        .blob(db.acme, "app", &digest("app"), crate::View::Member)
        .await;
    assert_eq!(blob.unwrap().unwrap().declared_size, 10);
    db.assert_consistent().await;
}
