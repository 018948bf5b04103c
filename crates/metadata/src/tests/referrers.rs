//! Who refers to a manifest.

use super::fixture::{Fixture, Made, TTL, image, index, referrer};
use crate::{Hold, ReferrerPage, View};

async fn page(db: &Fixture, subject: &Made, view: View, after: Option<&str>, limit: u32) -> ReferrerPage {
    let (digest, artifact_type) = (&subject.digest, None);
    let page = db
        .metadata
        .referrers(db.acme, "app", digest, artifact_type, view, after, limit);
    page.await.unwrap()
}

async fn seen(db: &Fixture, subject: &Made, view: View) -> Vec<String> {
    digests(&page(db, subject, view, None, 100).await)
}

fn digests(page: &ReferrerPage) -> Vec<String> {
    page.referrers
        .iter()
        .map(|referrer| referrer.digest.to_string())
        .collect()
}

fn sorted(made: &[&Made]) -> Vec<String> {
    let mut digests: Vec<String> = made.iter().map(|made| made.digest.to_string()).collect();
    digests.sort();
    digests
}

/// L2: held referrers of this subject in this repository, in pages; what was released is not listed.
pub(super) async fn lists_held_referrers_by_digest(db: Fixture) {
    let app = image("app", &[]);
    let made: Vec<Made> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|name| referrer(name, &app, &[]))
        .collect();
    assert_eq!(
        page(&db, &app, View::Member, None, 10).await.referrers,
        [],
        "an unknown subject"
    );
    db.tag("app", "1", &app, 0).await;
    for made in &made {
        db.pin("app", made, 0).await;
    }
    db.pin("app", &referrer("other", &image("other", &[]), &[]), 0)
        .await;
    db.pin("elsewhere", &referrer("elsewhere", &app, &[]), 0).await;
    let all: Vec<&Made> = made.iter().collect();
    let found = page(&db, &app, View::Member, None, 10).await;
    assert_eq!((digests(&found), found.next), (sorted(&all), None));
    let one = &found.referrers[0];
    let same = made.iter().find(|made| made.digest == one.digest).unwrap();
    assert_eq!(
        (&one.media_type, &one.artifact_type, &one.body),
        (
            &same.manifest.media_type,
            &same.manifest.artifact_type,
            &same.body
        )
    );
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = page(&db, &app, View::Member, after.as_deref(), 2).await;
        paged.extend(digests(&page));
        match page.next {
            Some(next) => after = Some(next.to_string()),
            None => break,
        }
    }
    assert_eq!(paged, sorted(&all));

    let tagged = db.state("app", "1").await;
    db.drop_holder(tagged.repository, "1", tagged.manifest.id, TTL)
        .await;
    assert_eq!(seen(&db, &app, View::Member).await, Vec::<String>::new());
}

/// L2: one artifact type, which is that of the config where the manifest itself has none.
pub(super) async fn filters_referrers_by_artifact_type(db: Fixture) {
    let app = image("app", &[]);
    db.tag("app", "1", &app, 0).await;
    let made = referrer("a", &app, &[]);
    db.pin("app", &made, 0).await;
    let count = async |artifact_type| {
        let page = db.metadata.referrers(
            db.acme,
            "app",
            &app.digest,
            Some(artifact_type),
            View::Member,
            None,
            10,
        );
        page.await.unwrap().referrers.len()
    };
    assert_eq!(count("application/vnd.oci.image.config.v1+json").await, 1);
    assert_eq!(count("application/vnd.example").await, 0);
}

/// B1, L2: strangers see what a live tag holds, directly or through an index, and no pin; a page of what they may
/// not see is not the last one.
pub(super) async fn strangers_see_referrers_that_live_tags_hold(db: Fixture) {
    let app = image("app", &[]);
    let [pinned, tagged, dead, indexed] =
        ["pinned", "tagged", "dead", "indexed"].map(|name| referrer(name, &app, &[]));
    db.tag("app", "1", &app, 0).await;
    db.pin("app", &pinned, 0).await;
    db.tag("app", "tagged", &tagged, 0).await;
    db.tag("app", "dead", &dead, -TTL).await;
    db.tag("app", "fallback", &index("fallback", &[&indexed]), 0)
        .await;
    db.pin("app", &indexed, 0).await;
    let public = View::Public { now: 1 };
    assert_eq!(
        seen(&db, &app, View::Member).await,
        sorted(&[&pinned, &tagged, &dead, &indexed])
    );
    assert_eq!(seen(&db, &app, public).await, sorted(&[&tagged, &indexed]));
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = page(&db, &app, public, after.as_deref(), 1).await;
        paged.extend(digests(&page));
        match page.next {
            Some(next) => after = Some(next.to_string()),
            None => break,
        }
    }
    assert_eq!(paged, sorted(&[&tagged, &indexed]));
    let hold = Hold::Tag {
        name: "dead",
        ends_at: 2 * TTL,
        checked_at: 1,
    };
    db.take_back("app", &dead, hold, 1).await.unwrap();
    assert_eq!(seen(&db, &app, public).await, sorted(&[&tagged, &indexed, &dead]));
    assert_eq!(
        seen(&db, &app, View::Public { now: 3 * TTL }).await,
        Vec::<String>::new()
    );
}
