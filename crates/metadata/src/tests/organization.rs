//! Identities of organizations, and settings.

use super::fixture::{Fixture, identity, image};
use crate::{KnownOrganization, OrganizationIdentity};

fn with_upstream(name: &str, upstream: &str) -> OrganizationIdentity {
    OrganizationIdentity {
        upstream: upstream.to_owned(),
        ..identity(name)
    }
}

/// G5: another id or another upstream under the same name starts empty.
pub(super) async fn other_identity_starts_empty(db: Fixture) {
    db.tag("app", "1", &image("app", &[]), 0).await;

    let moved = with_upstream("acme", "elsewhere.example");
    let moved = db.metadata.sync_organizations(&[moved], &[], 2).await.unwrap()[0];
    assert_ne!(moved, db.acme);
    assert_eq!(db.metadata.tag(moved, "app", "1").await.unwrap(), None);
    assert_eq!(db.usage(moved).await, 0);

    let renewed = OrganizationIdentity {
        uid: "uid-2".to_owned(),
        ..identity("acme")
    };
    let renewed = db.metadata.sync_organizations(&[renewed], &[], 3).await.unwrap()[0];
    assert!(renewed != moved && renewed != db.acme);
    let known = db.metadata.known_organizations().await.unwrap();
    assert_eq!(
        known,
        [KnownOrganization {
            id: renewed,
            uid: "uid-2".to_owned(),
            name: "acme".to_owned(),
            upstream: "registry.example".to_owned(),
        }]
    );
}

/// G5: an organization that comes back with the same identity finds its content.
pub(super) async fn organization_comes_back_with_its_content(db: Fixture) {
    let app = image("app", &[]);
    db.tag("app", "1", &app, 0).await;
    let before = db.usage(db.acme).await;

    assert_eq!(db.metadata.sync_organizations(&[], &[], 2).await.unwrap(), []);
    assert_eq!(db.metadata.known_organizations().await.unwrap(), []);
    let back = db
        .metadata
        .sync_organizations(&[identity("acme")], &[], 3)
        .await
        .unwrap();

    assert_eq!(back, [db.acme]);
    assert_eq!(db.state("app", "1").await.manifest.digest, app.digest);
    assert_eq!(db.usage(db.acme).await, before);
    db.assert_consistent().await;
}

/// G5: a name is not an identity, so two organizations can swap theirs in one file.
pub(super) async fn two_organizations_swap_names(db: Fixture) {
    let other = db.other_organization().await;
    let swapped = [
        OrganizationIdentity {
            name: "other".to_owned(),
            ..identity("acme")
        },
        OrganizationIdentity {
            name: "acme".to_owned(),
            ..identity("other")
        },
    ];

    let ids = db.metadata.sync_organizations(&swapped, &[], 2).await.unwrap();

    assert_eq!(ids, [db.acme, other]);
    let names: Vec<_> = db.metadata.known_organizations().await.unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|known| (known.name.as_str(), known.id))
        .collect();
    assert_eq!(names, [("acme", other), ("other", db.acme)]);
}

/// C3, G5: an entry that is in the file but not served is not absent, unless another has its name.
pub(super) async fn kept_organization_is_not_removed(db: Fixture) {
    let other = db.other_organization().await;
    let keep = [("uid-other".to_owned(), "registry.example".to_owned())];
    let known = async || {
        let known = db.metadata.known_organizations().await.unwrap();
        known.iter().map(|known| known.id).collect::<Vec<_>>()
    };

    db.metadata
        .sync_organizations(&[identity("acme")], &keep, 2)
        .await
        .unwrap();
    assert_eq!(known().await, [db.acme, other]);

    let taken = OrganizationIdentity {
        uid: "uid-3".to_owned(),
        ..identity("other")
    };
    let ids = db.metadata.sync_organizations(&[taken], &keep, 3).await.unwrap();
    assert_eq!(known().await, ids);
}

/// C4, A1: of two processes that generate a value the first one's stays.
pub(super) async fn first_setting_wins(db: Fixture) {
    let metadata = &db.metadata;
    assert_eq!(metadata.setting("storage-id").await.unwrap(), None);

    assert_eq!(
        metadata.setting_or_insert("storage-id", b"one").await.unwrap(),
        b"one"
    );
    assert_eq!(
        metadata.setting_or_insert("storage-id", b"two").await.unwrap(),
        b"one"
    );

    assert_eq!(metadata.setting("storage-id").await.unwrap().unwrap(), b"one");
    assert_eq!(metadata.setting("other").await.unwrap(), None);
}

/// C4: a storage that is adopted replaces the one that was known.
pub(super) async fn setting_is_replaced_on_request(db: Fixture) {
    let metadata = &db.metadata;
    for value in [b"one", b"two"] {
        metadata.replace_setting("storage-id", value).await.unwrap();
        assert_eq!(metadata.setting("storage-id").await.unwrap().unwrap(), value);
    }
}
