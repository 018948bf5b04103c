//! What is told of one image.

use std::sync::Arc;

use super::fixture::{Fixture, TTL, config_of, digest, image, index, referrer};
use crate::{Absence, Admission, AdmitError, Admitted, Content, Hold, Inspection, ManifestId, Unlimited};

async fn look(db: &Fixture, manifest: ManifestId) -> Inspection {
    db.metadata.inspect(db.acme, manifest).await.unwrap().unwrap()
}

/// O5: every tag and the pin, with their times.
pub(super) async fn tells_what_holds_an_image(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let pinned = db.pin("app", &app, 5).await;
    db.tag("app", "1", &app, 7).await;
    let newer = image("newer", &[]);
    db.tag("app", "1", &newer, 9).await;
    let seen = look(&db, pinned.manifest).await;
    let holders: Vec<_> = seen
        .holders
        .iter()
        .map(|holder| (&*holder.name, holder.current, holder.ends_at, holder.pulled_at))
        .collect();
    assert_eq!(holders, [("", true, 5 + TTL, 5), ("1", false, 9, 7)]);
    assert_eq!(seen.holders[1].checked_at, 7);
    assert!(seen.held_through.is_empty());
}

/// O5, Q2: what goes with an image and what others hold too; an image's own second mention is no other.
pub(super) async fn tells_what_an_image_holds_alone(db: Fixture) {
    let app = image("app", &[("own", 10), ("shared", 1_000)]);
    let other = image("other", &[("shared", 1_000), ("theirs", 70)]);
    let app_size = app.size() + super::fixture::CONFIG;
    let admitted = db.tag("app", "1", &app, 0).await;
    let alone = look(&db, admitted.manifest).await;
    assert_eq!((alone.alone_bytes, alone.shared_bytes), (app_size + 1_010, 0));
    let second = db.tag("elsewhere", "1", &other, 0).await;
    let shared = look(&db, admitted.manifest).await;
    assert_eq!((shared.alone_bytes, shared.shared_bytes), (app_size + 10, 1_000));

    db.drop_holder(second.repository, "1", second.manifest, 1).await;
    let released = look(&db, second.manifest).await;
    assert_eq!(released.shared_bytes, 1_000);
    assert_eq!(
        released.alone_bytes,
        other.size() + super::fixture::CONFIG + 70,
        "what is released is held by nobody"
    );
    assert_eq!(look(&db, admitted.manifest).await.shared_bytes, 0);
    let elsewhere = db.other_organization().await;
    db.tag_as(elsewhere, "app", "1", &app, 0).await;
    assert_eq!(look(&db, admitted.manifest).await.shared_bytes, 0);
}

/// O5, M13: an index weighs its stored children too, but not those that something else holds.
pub(super) async fn weighs_an_index_with_its_children(db: Fixture) {
    let (first, second) = (image("first", &[("a", 10)]), image("second", &[("b", 200)]));
    let tagged = image("tagged", &[("c", 3_000)]);
    let list = index("list", &[&first, &second, &tagged]);
    let admitted = db.tag("app", "1", &list, 0).await;
    let child = db.pin("app", &first, 0).await;
    db.tag("app", "2", &tagged, 0).await;
    let seen = look(&db, admitted.manifest).await;
    let mut stored = [first.digest.clone(), tagged.digest.clone()];
    stored.sort();
    let parts: Vec<_> = seen.parts.iter().map(|part| part.digest.clone()).collect();
    assert_eq!(parts[0], list.digest);
    assert_eq!(parts[1..], stored);
    assert_eq!(
        (seen.alone_bytes, seen.shared_bytes),
        (
            list.size() + first.size() + super::fixture::CONFIG + 10,
            tagged.size() + super::fixture::CONFIG + 3_000
        )
    );
    let through = look(&db, child.manifest).await;
    assert_eq!(through.held_through, std::slice::from_ref(&list.digest));
    assert!(through.holders.is_empty(), "a child of a held index gets no pin");
}

/// O5: a referrer is held through its subject.
pub(super) async fn tells_the_subject_that_holds_a_referrer(db: Fixture) {
    let app = image("app", &[]);
    let signature = referrer("signature", &app, &[("signature", 1)]);
    db.tag("app", "1", &app, 0).await;
    let admitted = db.pin("app", &signature, 0).await;
    assert_eq!(look(&db, admitted.manifest).await.held_through, [app.digest]);
}

/// O5, B9: which blobs would have to be fetched, and that bytes obtained by others prove nothing.
pub(super) async fn tells_which_blobs_are_missing(db: Fixture) {
    let app = image("app", &[("layer", 10), ("other", 20)]);
    let admitted = db.tag("app", "1", &app, 0).await;
    let missing = async || {
        let seen = look(&db, admitted.manifest).await;
        let blobs = seen.parts[0].missing.iter();
        let mut blobs: Vec<_> = blobs
            .map(|blob| (blob.digest.clone(), blob.size, blob.absence))
            .collect();
        blobs.sort_by_key(|(_, size, _)| *size);
        blobs
    };
    assert_eq!(
        missing().await,
        [
            (digest("layer"), 10, Absence::NotStored),
            (digest("other"), 20, Absence::NotStored),
            (config_of("app"), 100, Absence::NotStored),
        ]
    );
    let strangers = db.other_organization().await;
    db.tag_as(strangers, "app", "1", &app, 0).await;
    db.fill("a", &digest("layer"), 10, Some(strangers)).await;
    db.fill("b", &config_of("app"), 100, None).await;
    assert_eq!(
        missing().await,
        [
            (digest("layer"), 10, Absence::Unproven),
            (digest("other"), 20, Absence::NotStored)
        ]
    );
}

/// O5, G3: what was collected is not there.
pub(super) async fn tells_nothing_of_what_was_collected(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 0).await;
    db.drop_holder(admitted.repository, "1", admitted.manifest, 1)
        .await;
    assert!(!look(&db, admitted.manifest).await.parts[0].held);
    db.metadata.collect(2, 3).await.unwrap();
    let gone = db.metadata.inspect(db.acme, admitted.manifest).await.unwrap();
    assert_eq!(gone, None);
}

/// O5: a rehearsed admission says what the real one does, and changes nothing.
pub(super) async fn rehearses_an_admission(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let hold = Hold::Pin { ends_at: TTL };
    let admission = app.admission(db.acme, "app", hold, 5);
    let nobody = Admission {
        content: Content::Stored,
        ..app.admission(db.acme, "app", hold, 5)
    };
    let gone = db.metadata.rehearse(&nobody, Arc::new(Unlimited)).await;
    assert!(matches!(gone, Err(AdmitError::ManifestGone)), "{gone:?}");

    let rehearsed = db
        .metadata
        .rehearse(&admission, Arc::new(Unlimited))
        .await
        .unwrap();
    assert_eq!(rehearsed.needed_bytes, app.size() + super::fixture::CONFIG + 10);
    assert_eq!(db.usage(db.acme).await, 0);
    let stored = db.metadata.manifest(db.acme, "app", &app.digest).await.unwrap();
    assert_eq!(stored, None);
    let admitted = db.metadata.admit(&admission, Arc::new(Unlimited)).await.unwrap();
    // What was rehearsed has used up numbers, where they are given outside of transactions.
    let expected = Admitted {
        repository: admitted.repository,
        manifest: admitted.manifest,
        ..rehearsed
    };
    assert_eq!(admitted, expected);
    db.assert_consistent().await;
}
