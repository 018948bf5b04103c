//! The queue of the background filler.

use super::fixture::{CONFIG, Fixture, config_of, digest, identity, image, index};
use crate::Wanted;
use quayside_oci::Digest;

fn digests(wanted: &[Wanted]) -> Vec<Digest> {
    wanted.iter().map(|blob| blob.digest.clone()).collect()
}

/// B6: the blobs of a manifest that are not stored are wanted, the config first, then the smallest,
/// and the marks survive a restart.
pub(super) async fn wants_missing_blobs_configs_first(db: Fixture) {
    let app = image("app", &[("large", 500), ("small", 5), ("stored", 1)]);
    let admitted = db.tag("library/app", "1", &app, 0).await;
    db.fill("t1", &digest("stored"), 1, None).await;

    let wanted = db.metadata.want_manifest(admitted.manifest, 10).await.unwrap();

    let expected = [config_of("app"), digest("small"), digest("large")];
    assert_eq!(digests(&wanted), expected);
    assert_eq!((wanted[0].size, wanted[0].layer), (CONFIG, false));
    assert_eq!((wanted[1].size, wanted[1].layer), (5, true));
    assert_eq!(wanted[1].repository_name, "library/app");
    assert_eq!(wanted[1].organization, db.acme);
    let again = db.reopen().await;
    assert_eq!(again.metadata.wanted(10, 10).await.unwrap(), wanted);
    assert_eq!(again.metadata.wanted(10, 1).await.unwrap(), wanted[..1]);
}

/// B6: a pull of a complete image leaves nothing wanted.
pub(super) async fn complete_image_wants_nothing(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.metadata.want_manifest(admitted.manifest, 1).await.unwrap();
    db.fill("t1", &digest("layer"), 10, None).await;
    db.fill("t2", &config_of("app"), CONFIG, None).await;

    assert_eq!(db.metadata.wanted(10, 10).await.unwrap(), []);
    let wanted = db.metadata.want_manifest(admitted.manifest, 2).await.unwrap();
    assert_eq!(wanted, []);
}

/// B6: a pull does not shorten the backoff of a blob that is wanted already.
pub(super) async fn keeps_backoff_of_what_is_wanted_already(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.metadata.want_manifest(admitted.manifest, 1).await.unwrap();
    db.metadata.postpone(&digest("layer"), 5000).await.unwrap();

    let again = db.metadata.want_manifest(admitted.manifest, 2).await.unwrap();

    assert_eq!(again[1].retry_at, 5000);
    let due = db.metadata.wanted(4999, 10).await.unwrap();
    assert_eq!(digests(&due), [config_of("app")]);
    assert_eq!(db.metadata.wanted(5000, 10).await.unwrap().len(), 2);
}

/// B6: given up on 404 until the next pull.
pub(super) async fn gives_up_until_next_pull(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 0).await;
    db.metadata.want_manifest(admitted.manifest, 1).await.unwrap();
    db.metadata.postpone(&config_of("app"), 5000).await.unwrap();

    let wanted = admitted.manifest;
    db.metadata.give_up(&config_of("app"), wanted).await.unwrap();
    assert_eq!(db.metadata.wanted(10_000, 10).await.unwrap(), []);

    let again = db.metadata.want_manifest(admitted.manifest, 2).await.unwrap();
    assert_eq!(again[0].retry_at, 0);
    assert_eq!(db.metadata.wanted(2, 10).await.unwrap(), again);
}

/// B6, M11: the GET of a layer wants the images of that repository that it is a layer of and that were
/// pulled; one that only a HEAD stored is not wanted.
pub(super) async fn wants_images_around_a_layer(db: Fixture) {
    let one = image("one", &[("base", 10), ("one", 1)]);
    let two = image("two", &[("base", 10), ("two", 2)]);
    let unrelated = image("unrelated", &[("unrelated", 3)]);
    let seen = image("seen", &[("base", 10), ("seen", 4)]);
    for made in [&one, &two, &unrelated] {
        let pulled = db.pin("app", made, 0).await.manifest;
        db.metadata.record_pull(pulled).await.unwrap();
        db.metadata.record_pull(pulled).await.unwrap();
    }
    db.pin("app", &seen, 0).await;
    let elsewhere = db
        .pin("elsewhere", &image("else", &[("base", 10), ("else", 1)]), 0)
        .await;
    let repository = db.tag("app", "1", &one, 0).await.repository;

    let mut wanted = digests(
        &db.metadata
            .want_by_layer(repository, &digest("base"), 1)
            .await
            .unwrap(),
    );
    wanted.sort();

    let mut expected = [
        config_of("one"),
        config_of("two"),
        digest("base"),
        digest("one"),
        digest("two"),
    ];
    expected.sort();
    assert_eq!(wanted, expected);
    let config = db.metadata.want_by_layer(repository, &config_of("one"), 1).await;
    assert_eq!(config.unwrap(), [], "a config is no layer");
    assert_ne!(elsewhere.repository, repository);
}

/// B6: a blob is filled through the organization that wanted it, never through another that happens
/// to name it, and not for one that is removed or holds it no more.
pub(super) async fn asks_only_for_organization_that_wanted_it(db: Fixture) {
    let other = db.other_organization().await;
    let app = image("app", &[]);
    let ours = db.tag("app", "1", &app, 0).await;
    let theirs = db.tag_as(other, "app", "1", &app, 0).await;
    db.metadata.want_manifest(ours.manifest, 1).await.unwrap();
    assert_eq!(db.metadata.wanted(1, 10).await.unwrap()[0].organization, db.acme);

    db.metadata.want_manifest(theirs.manifest, 2).await.unwrap();
    assert_eq!(db.metadata.wanted(2, 10).await.unwrap()[0].organization, other);

    db.metadata
        .sync_organizations(&[identity("acme")], &[], 3)
        .await
        .unwrap();
    assert_eq!(db.metadata.wanted(3, 10).await.unwrap(), []);

    db.metadata.want_manifest(ours.manifest, 4).await.unwrap();
    assert_eq!(db.metadata.wanted(4, 10).await.unwrap().len(), 1);
    db.drop_holder(ours.repository, "1", ours.manifest, 5).await;
    assert_eq!(db.metadata.wanted(5, 10).await.unwrap(), []);
}

/// B6, B10: what a blob is wanted for says where it is fetched and how long it is, whatever manifests of
/// other repositories say of the same digest; they count only when that manifest is gone.
pub(super) async fn other_manifests_do_not_say_where_to_fill(db: Fixture) {
    let lies = image("lies", &[("layer", 15)]);
    let first = db.tag("a/first", "1", &lies, 0).await;
    let pulled = db.tag("b/pulled", "1", &image("app", &[("layer", 10)]), 0).await;
    let same = db.tag("b/pulled", "2", &image("more", &[("layer", 12)]), 0).await;
    let layer = digest("layer");
    let due = async || {
        let due = db.metadata.wanted(10, 10).await.unwrap();
        let found = due.into_iter().find(|blob| blob.digest == layer).unwrap();
        (found.repository_name, found.size, found.wanted_in)
    };

    db.metadata.want_manifest(pulled.manifest, 1).await.unwrap();
    assert_eq!(due().await, ("b/pulled".to_owned(), 10, pulled.manifest));
    db.metadata.want_manifest(first.manifest, 2).await.unwrap();
    assert_eq!(due().await, ("a/first".to_owned(), 15, first.manifest));
    db.metadata.want_manifest(pulled.manifest, 3).await.unwrap();
    assert_eq!(due().await, ("b/pulled".to_owned(), 10, pulled.manifest));

    db.drop_holder(pulled.repository, "1", pulled.manifest, 4).await;
    assert_eq!(due().await, ("a/first".to_owned(), 15, pulled.manifest));
    assert_ne!(same.manifest, pulled.manifest);
}

/// B6: given up on for one manifest, a blob stays wanted for another that was pulled since.
pub(super) async fn gives_up_only_for_the_manifest_that_failed(db: Fixture) {
    let gone = db.tag("a/gone", "1", &image("app", &[("layer", 10)]), 0).await;
    let good = db.tag("b/good", "1", &image("app", &[("layer", 10)]), 0).await;
    let layer = digest("layer");
    db.metadata.want_manifest(gone.manifest, 1).await.unwrap();
    db.metadata.want_manifest(good.manifest, 2).await.unwrap();

    db.metadata.give_up(&layer, gone.manifest).await.unwrap();
    let due = db.metadata.wanted(2, 10).await.unwrap();
    assert!(digests(&due).contains(&layer));

    db.metadata.give_up(&layer, good.manifest).await.unwrap();
    let due = db.metadata.wanted(2, 10).await.unwrap();
    assert!(!digests(&due).contains(&layer));
}

/// B6: the children of held indexes wait for the first GET of one of their layers.
pub(super) async fn tells_children_of_held_indexes(db: Fixture) {
    let child = image("child", &[]);
    let list = db.tag("app", "1", &index("list", &[&child]), 0).await;
    let inside = db.pin("app", &child, 0).await;
    let is_child = |manifest| db.metadata.is_child_of_held_index(list.repository, manifest);

    assert!(is_child(inside.manifest).await.unwrap());
    assert!(!is_child(list.manifest).await.unwrap());
    db.drop_holder(list.repository, "1", list.manifest, 1).await;
    assert!(!is_child(inside.manifest).await.unwrap());
}
