use quayside_oci::{Algorithm, Tag};

use super::*;

const NOW: Millis = 1_000_000;

fn stored() -> StoredManifest {
    let body = Bytes::from_static(b"{}");
    StoredManifest {
        repository: RepositoryId(1),
        id: ManifestId(1),
        digest: Digest::of(Algorithm::Sha256, &body),
        media_type: "application/x".to_owned(),
        kind: Kind::Image,
        body,
        released: false,
    }
}

fn state() -> TagState {
    TagState {
        repository: RepositoryId(1),
        manifest: stored(),
        ends_at: NOW + 1,
        checked_at: NOW,
        resolved_at: 0,
        failed_at: 0,
        pulled_at: NOW,
    }
}

fn repository() -> RepositoryName {
    RepositoryName::parse("app").unwrap()
}

fn key(tag: &str) -> TagKey {
    (OrganizationId(1), repository(), Tag::parse(tag).unwrap())
}

/// Q6: a row that was read before its tag was pruned is not kept afterwards, whether one was forgotten or all; what is
/// read then is.
#[test]
fn what_was_read_before_it_was_forgotten_is_not_kept() {
    let warm = Warm::new(Duration::from_mins(5));
    let forgets: [&dyn Fn(); 2] = [&|| warm.forget_tag(&key("1")), &|| warm.forget_tags()];
    for forget in forgets {
        let before = warm.tag_epoch(&key("1"));
        forget();
        warm.keep_tag(&key("1"), state(), NOW, before);
        assert!(warm.tag(&key("1"), NOW).is_none());
        warm.keep_tag(&key("1"), state(), NOW, warm.tag_epoch(&key("1")));
        assert!(warm.tag(&key("1"), NOW).is_some());
    }
}

/// Q6: the same for a manifest that was released.
#[test]
fn what_was_read_before_it_was_released_is_not_kept() {
    let warm = Warm::new(Duration::from_mins(5));
    let ready = Ready::new(stored(), NOW);
    let key = (OrganizationId(1), repository(), ready.digest.clone());
    let before = warm.manifest_epoch(&key);
    warm.forget_manifests();
    warm.keep_manifest(&key, &ready, before);
    assert!(warm.manifest(&key, NOW).is_none());
    warm.keep_manifest(&key, &ready, warm.manifest_epoch(&key));
    assert!(warm.manifest(&key, NOW).is_some());
}

/// M3: one tag that is forgotten costs the others nothing, but for the few that share its counter.
#[test]
fn other_tags_are_kept() {
    let warm = Warm::new(Duration::from_mins(5));
    let keys: Vec<TagKey> = (0..100).map(|number| key(&format!("v{number}"))).collect();
    let epochs: Vec<Epoch> = keys.iter().map(|key| warm.tag_epoch(key)).collect();
    warm.forget_tag(&key("1"));
    for (key, epoch) in keys.iter().zip(epochs) {
        warm.keep_tag(key, state(), NOW, epoch);
    }
    let kept = keys.iter().filter(|key| warm.tag(key, NOW).is_some());
    assert!(kept.count() > 90);
}

/// O4: what tags point at takes a bounded part of the memory, however many are pulled and however large they are.
#[test]
fn manifests_of_tags_take_a_bounded_part_of_memory() {
    let warm = Warm::new(Duration::from_mins(5));
    let mut large = state();
    large.manifest.body = Bytes::from(vec![0; 4 << 20]);
    for number in 0..100 {
        let key = key(&format!("v{number}"));
        warm.keep_tag(&key, large.clone(), NOW, warm.tag_epoch(&key));
    }
    warm.tags.run_pending_tasks();
    assert_eq!(warm.tags.entry_count(), 15, "16 would be a little over 64 MiB");
}

/// B8, O5: the same for a blob whose bytes were found to be lost or wrong.
#[test]
fn what_was_looked_up_before_its_bytes_were_found_wrong_is_not_kept() {
    let warm = Warm::new(Duration::from_mins(5));
    let digest = Digest::of(Algorithm::Sha256, b"a layer");
    let place = (OrganizationId(1), repository(), digest.clone());
    let state = BlobState {
        repository: RepositoryId(1),
        declared_size: 7,
        stored: None,
        private: false,
        proven: true,
        layer: true,
        wanted: false,
    };
    let entry = BlobEntry::new(&state, StorageKey::new(&digest, "t").unwrap(), 7, NOW);
    let forgets: [&dyn Fn(); 2] = [&|| warm.forget_blob(&place), &|| warm.forget_blobs()];
    for forget in forgets {
        let before = warm.blob_epoch(&place);
        forget();
        warm.keep_blob(&place, &entry, before);
        assert!(warm.blob(&place, NOW).is_none());
        warm.keep_blob(&place, &entry, warm.blob_epoch(&place));
        assert!(warm.blob(&place, NOW).is_some());
    }
}
