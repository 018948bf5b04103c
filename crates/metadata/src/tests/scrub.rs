//! What a comparison with storage asks (O5).

use std::collections::HashMap;

use super::fixture::{Fixture, digest, image, key};
use crate::{KeyPlace, StoredKey, StoredTotal, View};

const LAYERS: [(&str, u64); 5] = [("l1", 1), ("l2", 2), ("l3", 3), ("l4", 4), ("l5", 5)];

/// Five blobs, of which the first four are stored at `key/l1` to `key/l4`.
async fn four_of_five(db: &Fixture) {
    db.tag("app", "1", &image("app", &LAYERS), 0).await;
    for (layer, size) in &LAYERS[..4] {
        db.fill(layer, &digest(layer), *size, None).await;
    }
}

/// O5: what should be in storage comes in the order of the keys, by pages of any length.
pub(super) async fn lists_stored_keys_in_order(db: Fixture) {
    four_of_five(&db).await;
    let expected: Vec<_> = LAYERS[..4]
        .iter()
        .map(|(layer, size)| StoredKey {
            key: key(layer),
            digest: digest(layer),
            size: *size,
        })
        .collect();

    for limit in [1, 3, 10] {
        let mut found: Vec<StoredKey> = Vec::new();
        loop {
            let after = found.last().map(|stored| stored.key.as_str());
            let page = db.metadata.stored_keys(after, limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
    let total = StoredTotal {
        blobs: 4,
        bytes: 1 + 2 + 3 + 4,
    };
    assert_eq!(db.metadata.stored_total().await.unwrap(), total);
}

/// O5, I3: a key is looked for in all three places.
pub(super) async fn finds_keys_wherever_they_are(db: Fixture) {
    four_of_five(&db).await;
    db.start_fill("l5", &digest("l5"), 5, None).await;
    let forgotten = db.metadata.forget_bytes(&digest("l2"), &key("l2"), 50).await;
    assert!(forgotten.unwrap());

    let asked = ["l1", "l2", "l5", "nowhere"].map(key);
    let places = db.metadata.places_of_keys(&asked).await.unwrap();

    let expected = [
        (key("l1"), KeyPlace::Blob),
        (key("l2"), KeyPlace::Garbage),
        (key("l5"), KeyPlace::Fill),
    ];
    assert_eq!(places, HashMap::from(expected));
}

/// O5, G3: only a key that is recorded nowhere becomes garbage, and once.
pub(super) async fn discards_only_keys_that_nobody_knows(db: Fixture) {
    four_of_five(&db).await;
    db.start_fill("l5", &digest("l5"), 5, None).await;
    db.metadata
        .forget_bytes(&digest("l2"), &key("l2"), 50)
        .await
        .unwrap();
    let keys = ["l1", "l2", "l5", "lost"].map(|token| (key(token), 7));

    let discard = || db.metadata.discard_unknown_keys(&keys, 60);
    assert_eq!(discard().await.unwrap(), [key("lost")]);
    assert_eq!(discard().await.unwrap(), Vec::<String>::new());

    for (token, place) in [
        ("l1", "blob"),
        ("l2", "garbage"),
        ("l5", "fill"),
        ("lost", "garbage"),
    ] {
        assert_eq!(db.places(token).await, [place], "{token}");
    }
    assert_eq!(db.metadata.garbage_bytes().await.unwrap(), 7);
    let due = async |now| db.metadata.due_garbage(now, 10).await.unwrap().len();
    assert_eq!((due(59).await, due(60).await), (1, 2));
    db.assert_consistent().await;
}

/// O5, B8: wrong bytes are garbage of their size, and the blob weighs what it weighed.
pub(super) async fn forgets_wrong_bytes_with_their_size(db: Fixture) {
    four_of_five(&db).await;
    let before = db.usage(db.acme).await;
    let forget = async |token| {
        let (metadata, layer) = (&db.metadata, digest("l3"));
        metadata.forget_wrong_bytes(&layer, &key(token), 3, 50).await
    };

    assert!(!forget("l4").await.unwrap());
    assert!(forget("l3").await.unwrap());
    assert!(!forget("l3").await.unwrap());

    assert_eq!(db.places("l3").await, ["garbage"]);
    assert_eq!(db.metadata.garbage_bytes().await.unwrap(), 3);
    let blob = db
        .metadata
        .blob(db.acme, "app", &digest("l3"), View::Member)
        .await;
    assert_eq!(blob.unwrap().unwrap().stored, None);
    assert_eq!(db.usage(db.acme).await, before);
    db.assert_consistent().await;
}
