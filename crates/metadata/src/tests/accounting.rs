//! What a digest weighs, and the proof of it.

use super::fixture::{CONFIG, Fixture, TTL, digest, image};
use crate::sql::args;
use crate::{Discrepancy, FillCommit, Usage, View};

/// B10, Q2: of two declarations in one organization the larger one counts until bytes are verified;
/// another organization's declarations do not matter.
pub(super) async fn counts_largest_declared_size_until_verified(db: Fixture) {
    let other = db.other_organization().await;
    let small = image("small", &[("layer", 10)]);
    let large = image("large", &[("layer", 1 << 40)]);
    db.tag("small", "1", &small, 0).await;

    db.tag_as(other, "large", "1", &large, 0).await;
    assert_eq!(db.usage(db.acme).await, small.size() + CONFIG + 10);

    let grown = db.tag("large", "1", &large, 1).await;
    assert_eq!(grown.needed_bytes, large.size() + CONFIG + (1 << 40) - 10);
    let again = db.tag("third", "1", &small, 2).await;
    assert_eq!(again.needed_bytes, 0);
    db.assert_consistent().await;
}

/// B10: when the larger declaration goes, the smaller one counts again.
pub(super) async fn shrinks_again_when_largest_declaration_goes(db: Fixture) {
    let small = image("small", &[("layer", 10)]);
    let large = image("large", &[("layer", 12)]);
    db.tag("app", "small", &small, 0).await;
    let admitted = db.tag("app", "large", &large, 0).await;

    db.drop_holder(admitted.repository, "large", admitted.manifest, 1)
        .await;

    assert_eq!(db.usage(db.acme).await, small.size() + CONFIG + 10);
    db.assert_consistent().await;
}

/// B10, Q2: declared 10, verified 12: the usage of every organization is put right by the commit.
pub(super) async fn corrects_every_organization_when_bytes_are_verified(db: Fixture) {
    let other = db.other_organization().await;
    let app = image("app", &[("layer", 10)]);
    let right = image("right", &[("layer", 12)]);
    db.tag("app", "1", &app, 0).await;
    db.tag_as(other, "app", "1", &app, 0).await;
    db.tag_as(other, "right", "1", &right, 0).await;

    let committed = db.fill("t1", &digest("layer"), 12, None).await;

    assert_eq!(committed, FillCommit::Stored);
    assert_eq!(db.usage(db.acme).await, app.size() + CONFIG + 12);
    let weight = app.size() + right.size() + 2 * CONFIG + 12;
    assert_eq!(db.usage(other).await, weight);
    db.assert_consistent().await;
}

/// B10: a declaration that comes after the bytes does not matter, in either direction.
pub(super) async fn counts_real_size_for_later_declarations(db: Fixture) {
    let (app, less, more) = (
        image("app", &[("layer", 10)]),
        image("less", &[("layer", 1)]),
        image("more", &[("layer", 100)]),
    );
    db.tag("app", "app", &app, 0).await;
    db.fill("t1", &digest("layer"), 10, None).await;

    for (name, made) in [("less", &less), ("more", &more)] {
        let admitted = db.tag("app", name, made, 1).await;
        assert_eq!(admitted.needed_bytes, made.size() + CONFIG);
        db.drop_holder(admitted.repository, name, admitted.manifest, 2)
            .await;
    }

    assert_eq!(db.usage(db.acme).await, app.size() + CONFIG + 10);
    db.assert_consistent().await;
}

/// B8, B10: bytes that are lost do not change what a digest weighs, and the next fill expects the
/// real size.
pub(super) async fn weight_survives_loss_of_bytes(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "1", &app, 0).await;
    db.fill("t1", &digest("layer"), 12, None).await;
    let before = db.usage(db.acme).await;

    let forgotten = db
        .metadata
        .forget_bytes(&digest("layer"), &super::fixture::key("t1"), 9)
        .await;

    assert!(forgotten.unwrap());
    assert_eq!(db.usage(db.acme).await, before);
    let blob = db
        .metadata
        .blob(db.acme, "app", &digest("layer"), View::Member)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((blob.stored, blob.declared_size), (None, 12));
    db.assert_consistent().await;
}

/// Q2: what is kept incrementally is compared with the rows it comes from.
pub(super) async fn finds_what_was_tampered_with(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let admitted = db.tag("app", "1", &app, 0).await;
    let weight = admitted.usage_bytes;

    db.run("UPDATE organization SET usage_bytes = 1", args![]).await;
    db.run(
        "UPDATE content SET refs = 2 WHERE digest = $1",
        args![&digest("layer")],
    )
    .await;
    db.run("DELETE FROM content WHERE digest = $1", args![&app.digest])
        .await;
    db.run("INSERT INTO blob (digest) VALUES ($1)", args![&digest("stray")])
        .await;
    db.start_fill("t1", &digest("layer"), 10, None).await;
    db.run(
        "INSERT INTO garbage (storage_key, size, not_before) VALUES ('key/t1', 10, 0)",
        args![],
    )
    .await;
    db.run("DELETE FROM tag", args![]).await;

    let found = db.metadata.recount().await.unwrap();

    assert_eq!(found.len(), 6);
    assert!(found.contains(&Discrepancy::Usage {
        organization: db.acme,
        recorded: 1,
        actual: weight - app.size(),
    }));
    assert!(found.contains(&Discrepancy::Content {
        organization: db.acme,
        digest: digest("layer"),
        recorded: Some((10, 2)),
        actual: Some((10, 1)),
    }));
    assert!(found.contains(&Discrepancy::Content {
        organization: db.acme,
        digest: app.digest.clone(),
        recorded: None,
        actual: Some((app.size(), 1)),
    }));
    assert!(found.contains(&Discrepancy::Held {
        manifest: admitted.manifest,
        held: false
    }));
    assert!(found.contains(&Discrepancy::UnnamedBlob {
        digest: digest("stray")
    }));
    assert!(found.contains(&Discrepancy::SharedKey {
        key: "key/t1".to_owned()
    }));
}

/// Q2: usage counts bytes held, and tags and repositories that are live; pins are no tags.
pub(super) async fn reports_usage(db: Fixture) {
    let (app, pinned) = (image("app", &[]), image("pinned", &[]));
    db.tag("app", "1", &app, 0).await;
    db.tag("app", "2", &app, 0).await;
    db.tag("late", "1", &app, 100).await;
    db.pin("pins", &pinned, 0).await;
    let bytes = db.usage(db.acme).await;

    let at = |now| db.metadata.usage(db.acme, now);
    let expected = |repositories, tags| Usage {
        bytes,
        repositories,
        tags,
    };
    assert_eq!(at(50).await.unwrap(), expected(2, 3));
    assert_eq!(at(TTL + 50).await.unwrap(), expected(1, 1));
    assert_eq!(at(TTL + 200).await.unwrap(), expected(0, 0));
}

/// O1: what the metrics show, in one statement; an organization that was removed is not among them.
pub(super) async fn reports_usage_of_every_organization_that_is_there(db: Fixture) {
    let other = db.other_organization().await;
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "1", &app, 0).await;
    let weight = app.size() + CONFIG + 10;
    assert_eq!(
        db.metadata.usages().await.unwrap(),
        [(db.acme, weight), (other, 0)]
    );
    db.metadata.sync_organizations(&[], &[], 1).await.unwrap();
    assert_eq!(db.metadata.usages().await.unwrap(), []);
}
