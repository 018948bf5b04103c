//! The end of tags and pins, and what is released with them.

use std::sync::Arc;

use super::fixture::{Fixture, Made, TTL, identity, image, index, referrer, subject_index};
use crate::sql::args;
use crate::{Hold, NEVER, OrganizationIdentity, REMOVED_WINDOW_MS, Swept, Unlimited};

/// The Window of the fixture's organizations.
const WINDOW: i64 = 1000;
const SLACK: i64 = 5000;
/// When a tag that was pulled at 0 may go.
const DUE: i64 = TTL + WINDOW + SLACK;

async fn sweep(db: &Fixture, now: i64) -> Swept {
    db.metadata.sweep(db.acme, SLACK, now).await.unwrap()
}

async fn is_released(db: &Fixture, repository: &str, made: &Made) -> bool {
    let stored = db.metadata.manifest(db.acme, repository, &made.digest).await;
    stored.unwrap().unwrap().released
}

/// E2, M15: a tag goes when its life, its Window and the slack are over, and not a moment earlier.
pub(super) async fn sweeps_only_after_window_and_slack(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "1", &app, 0).await;
    assert_eq!(sweep(&db, DUE - 1).await, Swept::default());
    assert!(db.usage(db.acme).await > 0);
    assert_eq!(db.metadata.sweepable(TTL + WINDOW - 1).await.unwrap(), []);
    assert_eq!(db.metadata.sweepable(TTL + WINDOW).await.unwrap(), [db.acme]);

    let swept = sweep(&db, DUE).await;

    let expected = Swept {
        tags: 1,
        pins: 0,
        released: 1,
        more: false,
    };
    assert_eq!(swept, expected);
    assert_eq!(db.metadata.tag(db.acme, "app", "1").await.unwrap(), None);
    assert!(is_released(&db, "app", &app).await);
    assert_eq!(db.usage(db.acme).await, 0);
    assert_eq!(db.metadata.sweepable(NEVER).await.unwrap(), []);
    db.assert_consistent().await;
}

/// G1: a manifest is held as long as any tag or pin is on it, live, dead or replaced.
pub(super) async fn keeps_manifest_that_another_tag_holds(db: Fixture) {
    let (app, other) = (image("app", &[("layer", 10)]), image("other", &[("layer", 10)]));
    db.tag("app", "1", &app, 0).await;
    db.tag("app", "2", &app, 100).await;
    db.tag("app", "3", &app, 0).await;
    db.tag("app", "3", &other, 50).await;

    // The replaced row died when it was replaced.
    assert_eq!(sweep(&db, 50 + WINDOW + SLACK).await.tags, 1);
    let swept = sweep(&db, DUE).await;

    assert_eq!((swept.tags, swept.released), (1, 0));
    assert!(!is_released(&db, "app", &app).await);
    let swept = sweep(&db, DUE + 100).await;
    assert_eq!((swept.tags, swept.released), (2, 2));
    db.assert_consistent().await;
}

/// G1: children and referrers go with what held them, unless something else does.
pub(super) async fn releases_children_and_referrers_with_their_holder(db: Fixture) {
    let (one, two) = (image("one", &[("layer", 10)]), image("two", &[("layer", 10)]));
    let (inner, shared) = (index("inner", &[&one]), index("shared", &[&two]));
    let outer = index("outer", &[&inner, &two]);
    let (about, about_two) = (referrer("about", &outer, &[]), referrer("about two", &two, &[]));
    db.tag("app", "outer", &outer, 0).await;
    db.tag("app", "shared", &shared, 500).await;
    for made in [&inner, &one, &two, &about, &about_two] {
        db.pin("app", made, 0).await;
    }

    let swept = sweep(&db, DUE).await;

    assert_eq!((swept.tags, swept.pins, swept.released), (1, 0, 4));
    for (made, released) in [
        (&outer, true),
        (&inner, true),
        (&one, true),
        (&about, true),
        (&shared, false),
        (&two, false),
        (&about_two, false),
    ] {
        assert_eq!(is_released(&db, "app", made).await, released);
    }
    db.assert_consistent().await;
    assert_eq!(sweep(&db, DUE + 500).await.released, 3);
    assert_eq!(db.usage(db.acme).await, 0);
}

/// G1: a referrer that was pulled while nothing held its subject has a pin, and lives by it.
pub(super) async fn referrer_with_a_pin_outlives_its_subject(db: Fixture) {
    let app = image("app", &[]);
    let (early, late) = (referrer("early", &app, &[]), referrer("late", &app, &[]));
    assert!(db.pin("app", &early, 100).await.pinned);
    db.tag("app", "1", &app, 0).await;
    assert!(!db.pin("app", &late, 100).await.pinned);

    let swept = sweep(&db, DUE).await;

    assert_eq!((swept.tags, swept.released), (1, 2));
    assert!(!is_released(&db, "app", &early).await);
    assert!(is_released(&db, "app", &late).await);
    // It does not hold its subject: a reference is not a holder.
    assert!(is_released(&db, "app", &app).await);
    assert_eq!(sweep(&db, DUE + 100).await.pins, 1);
    db.assert_consistent().await;
}

/// G1: an index that names its own subject and that subject hold each other; without anybody else both
/// go.
pub(super) async fn two_that_hold_each_other_are_released(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let knot = subject_index("knot", &app, &[&app]);
    db.tag("app", "1", &app, 0).await;
    db.tag("app", "knot", &knot, 100).await;
    db.assert_consistent().await;
    assert_eq!(sweep(&db, DUE).await.released, 0);

    let swept = sweep(&db, DUE + 100).await;

    assert_eq!((swept.tags, swept.released), (1, 2));
    assert_eq!(db.usage(db.acme).await, 0);
    db.assert_consistent().await;
}

/// ENGINE §1.3: a step takes 256 rows, the oldest first.
pub(super) async fn sweeps_in_bounded_steps(db: Fixture) {
    let app = image("app", &[]);
    db.tag("app", "1", &app, 100).await;
    db.run(
        "WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 300)
         INSERT INTO tag (repository_id, organization_id, name, manifest_id, current, ends_at, pulled_at, checked_at)
         SELECT t.repository_id, t.organization_id, 'n' || n.value, t.manifest_id, TRUE, $1 - n.value, 0, 0
         FROM n CROSS JOIN tag t WHERE t.name = '1'",
        args![TTL],
    )
    .await;

    let steps = [sweep(&db, DUE).await, sweep(&db, DUE).await];

    assert_eq!(
        steps.map(|swept| (swept.tags, swept.released, swept.more)),
        [(256, 0, true), (44, 0, false)]
    );
    assert_eq!(sweep(&db, DUE + 100).await.released, 1);
}

/// E3: a changed Window applies to everything that is dead already, in both directions.
pub(super) async fn changed_window_applies_to_the_dead(db: Fixture) {
    db.tag("app", "1", &image("app", &[]), 0).await;
    let with_window = |window_ms| {
        [OrganizationIdentity {
            window_ms,
            ..identity("acme")
        }]
    };
    let set = async |window| {
        let wanted = with_window(window);
        db.metadata.sync_organizations(&wanted, &[], TTL).await.unwrap();
    };

    set(60_000).await;
    assert_eq!(sweep(&db, DUE).await.tags, 0);
    set(0).await;
    assert_eq!(sweep(&db, TTL + SLACK - 1).await.tags, 0);
    assert_eq!(sweep(&db, TTL + SLACK).await.tags, 1);
}

/// E1, E3: what never ends gets an end when the TTL is no longer 0; what has one keeps it.
pub(super) async fn endless_tags_and_pins_get_an_end(db: Fixture) {
    let (app, pinned, mortal) = (image("app", &[]), image("pinned", &[]), image("mortal", &[]));
    let endless = Hold::Tag {
        name: "1",
        ends_at: NEVER,
        checked_at: 0,
    };
    let tagged = db
        .metadata
        .admit(&app.admission(db.acme, "app", endless, 0), Arc::new(Unlimited))
        .await;
    let pin = Hold::Pin { ends_at: NEVER };
    let pinned = db
        .metadata
        .admit(&pinned.admission(db.acme, "app", pin, 0), Arc::new(Unlimited))
        .await;
    let mortal = db.tag("app", "2", &mortal, 0).await;
    assert_eq!(sweep(&db, NEVER - 1).await.tags, 1);
    let mortal_again = db.tag("app", "2", &image("mortal", &[]), 0).await;
    assert_eq!(mortal.manifest, mortal_again.manifest);

    let other = db.other_organization().await;
    let endless = async || db.metadata.endless(&[other, db.acme]).await.unwrap();
    assert_eq!(endless().await, [db.acme]);
    assert_eq!(db.metadata.limit_endless(db.acme, 777).await.unwrap(), 2);
    assert_eq!(endless().await, []);

    for (admitted, ends_at) in [
        (tagged.unwrap(), 777),
        (pinned.unwrap(), 777),
        (mortal_again, TTL),
    ] {
        let holders = db.holders(admitted.manifest).await;
        assert_eq!(holders.len(), 1);
        assert_eq!((holders[0].ends_at, holders[0].pulled_at), (ends_at, 0));
    }
    assert_eq!(db.metadata.limit_endless(db.acme, 888).await.unwrap(), 0);
}

/// G5: what a removed organization has counts as dead since then, endless or not, with a Window of an
/// hour at least; until then it comes back with everything.
pub(super) async fn removed_organization_keeps_everything_for_an_hour(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "dead", &app, 0).await;
    let endless = Hold::Tag {
        name: "endless",
        ends_at: NEVER,
        checked_at: 0,
    };
    let admission = app.admission(db.acme, "app", endless, 0);
    db.metadata.admit(&admission, Arc::new(Unlimited)).await.unwrap();
    let removed_at = TTL + 10;
    let remove = async || {
        db.metadata
            .sync_organizations(&[], &[], removed_at)
            .await
            .unwrap()
    };
    remove().await;
    let over = removed_at + REMOVED_WINDOW_MS;

    assert_eq!(sweep(&db, over + SLACK - 1).await, Swept::default());
    assert_eq!(db.metadata.sweepable(over - 1).await.unwrap(), []);
    let back = db
        .metadata
        .sync_organizations(&[identity("acme")], &[], over)
        .await;
    assert_eq!(back.unwrap(), [db.acme]);
    assert_eq!(db.state("app", "dead").await.manifest.digest, app.digest);
    assert_eq!(db.state("app", "endless").await.ends_at, NEVER);

    remove().await;
    assert_eq!(db.metadata.sweepable(over).await.unwrap(), [db.acme]);
    let swept = sweep(&db, over + SLACK).await;
    assert_eq!((swept.tags, swept.released), (2, 1));
    assert_eq!(db.usage(db.acme).await, 0);
    db.assert_consistent().await;
}

/// G5: the row of a removed organization goes last, and its number is never given again.
pub(super) async fn departed_organization_is_dropped_when_nothing_is_left(db: Fixture) {
    let other = db.other_organization().await;
    let app = image("app", &[("layer", 10)]);
    db.tag_as(other, "app", "1", &app, 0).await;
    db.fill("t1", &super::fixture::digest("layer"), 10, Some(other))
        .await;
    let only_acme = [identity("acme")];
    db.metadata.sync_organizations(&only_acme, &[], 1).await.unwrap();
    let over = 1 + REMOVED_WINDOW_MS;
    let drop_at = async |before| db.metadata.drop_departed_organizations(before).await.unwrap();

    assert_eq!(drop_at(over).await, 0, "it has content");
    let swept = db.metadata.sweep(other, SLACK, over + SLACK).await.unwrap();
    assert_eq!(swept.released, 1);
    db.metadata.collect(over + SLACK, over + SLACK).await.unwrap();
    assert_eq!(drop_at(over - 1).await, 0, "it could still come back");
    assert_eq!(drop_at(over).await, 1);
    assert_eq!(drop_at(over).await, 0);
    let anew = db.other_organization().await;
    assert!(anew > other);
    db.assert_consistent().await;
}
