//! Pulls and checks of what is held.

use super::fixture::{Fixture, Made, TTL, image, index};
use crate::{Admitted, NEVER, RESOLVED_FOR_MS, Renewal};

fn get(admitted: &Admitted, name: &str, at: i64, ends_at: i64) -> Renewal {
    Renewal::Tag {
        repository: admitted.repository,
        name: name.to_owned(),
        manifest: admitted.manifest,
        at,
        ends_at,
    }
}

fn failed(admitted: &Admitted, name: &str, at: i64) -> Renewal {
    Renewal::Failed {
        repository: admitted.repository,
        name: name.to_owned(),
        at,
    }
}

fn checked(admitted: &Admitted, name: &str, at: i64) -> Renewal {
    Renewal::Checked {
        repository: admitted.repository,
        name: name.to_owned(),
        manifest: admitted.manifest,
        at,
    }
}

/// M3, M15, E1: the end time is that of the latest pull, so a lowered TTL bites at the next one, and
/// so does one that was lifted.
pub(super) async fn renews_tag_and_lets_lowered_ttl_bite(db: Fixture) {
    let app = image("app", &[]);
    let admitted = db.tag("app", "1", &app, 0).await;

    for (at, ends_at) in [(10, 10 + TTL), (20, NEVER), (30, 130)] {
        db.renew(get(&admitted, "1", at, ends_at)).await;
        let state = db.state("app", "1").await;
        assert_eq!(
            (state.pulled_at, state.checked_at, state.ends_at),
            (at, 0, ends_at),
            "a pull is no check"
        );
    }
}

/// M9, G3: a pull by digest that was answered while its manifest was being swept holds it again.
pub(super) async fn pull_beside_the_sweeper_takes_the_manifest_back(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let admitted = db.pin("app", &app, 0).await;
    db.drop_holder(admitted.repository, "", admitted.manifest, 500)
        .await;
    let pull = Renewal::Digest {
        repository: admitted.repository,
        manifest: admitted.manifest,
        at: 499,
        ends_at: 499 + TTL,
        quota_bytes: None,
    };

    db.renew(pull).await;

    let stored = db.metadata.manifest(db.acme, "app", &app.digest).await.unwrap();
    assert!(!stored.unwrap().released);
    let by = crate::HeldBy::TagOrPin;
    let live = db
        .metadata
        .live_manifest(db.acme, "app", &app.digest, 500, by)
        .await;
    assert!(live.unwrap().is_some());
    db.assert_consistent().await;
}

/// E3, M3, M9: times that were written while the clock was a day ahead do not stand in the way of what happens after
/// it was set back.
pub(super) async fn times_of_a_clock_that_was_ahead_count_as_past(db: Fixture) {
    const DAY: i64 = 86_400_000;
    let app = image("app", &[]);
    let admitted = db.tag("app", "1", &app, 0).await;
    let repository = admitted.repository;
    let failed = |at| Renewal::Failed {
        repository,
        name: "1".to_owned(),
        at,
    };
    let checked = |at| Renewal::Checked {
        repository,
        name: "1".to_owned(),
        manifest: admitted.manifest,
        at,
    };
    db.renew(get(&admitted, "1", DAY, DAY + TTL)).await;
    db.renew(failed(DAY)).await;

    db.renew(checked(10)).await;
    let digest = Renewal::Digest {
        repository,
        manifest: admitted.manifest,
        at: 20,
        ends_at: 20 + TTL,
        quota_bytes: None,
    };
    db.renew(digest).await;
    let state = db.state("app", "1").await;
    assert_eq!((state.checked_at, state.failed_at), (10, 0));
    assert_eq!((state.pulled_at, state.ends_at), (20, 20 + TTL));

    db.renew(checked(DAY)).await;
    db.renew(failed(30)).await;
    let state = db.state("app", "1").await;
    assert!(state.failed_at > state.checked_at, "unconfirmed: {state:?}");
}

/// M15: pulls of another replica may be written late; they count, and never shorten a life.
pub(super) async fn late_batch_never_shortens_a_life(db: Fixture) {
    let app = image("app", &[]);
    let admitted = db.tag("app", "1", &app, 0).await;
    db.renew(get(&admitted, "1", 500, 500 + TTL)).await;

    db.renew(get(&admitted, "1", 400, 400 + TTL)).await;
    let state = db.state("app", "1").await;
    assert_eq!((state.pulled_at, state.ends_at), (500, 500 + TTL));

    // A use that was written first does not swallow the pull before it.
    let used = Renewal::Used {
        repository: admitted.repository,
        manifest: admitted.manifest,
        name: Some("1".to_owned()),
        at: 900,
    };
    db.metadata
        .renew(&[used, get(&admitted, "1", 800, 800 + TTL)])
        .await
        .unwrap();
    let state = db.state("app", "1").await;
    assert_eq!((state.pulled_at, state.ends_at), (900, 800 + TTL));
}

/// M3, M5: a tag that died while upstream was confirming it lives on.
pub(super) async fn revives_tag_that_died_during_its_check(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 0).await;

    db.renew(get(&admitted, "1", TTL + 5, 2 * TTL + 5)).await;

    assert_eq!(db.state("app", "1").await.ends_at, 2 * TTL + 5);
}

/// M9: no pull ever revives a tag that was replaced, by tag or by digest, resolved or not.
pub(super) async fn does_not_revive_replaced_tag(db: Fixture) {
    let (a, b) = (image("a", &[]), image("b", &[]));
    let first = db.tag("app", "1", &a, 0).await;
    db.metadata
        .mark_resolved(first.repository, "1", first.manifest, TTL)
        .await
        .unwrap();
    db.tag("app", "1", &b, TTL).await;

    db.renew(get(&first, "1", TTL + 1, 3 * TTL)).await;
    db.pull_digest(&first, TTL + 1).await;

    let holders = db.holders(first.manifest).await;
    let tag = holders.iter().find(|row| row.name == "1").unwrap();
    assert_eq!((tag.current, tag.ends_at), (false, TTL));
    assert_eq!(db.state("app", "1").await.manifest.digest, b.digest);
}

/// M11: a HEAD of a live tag confirms it and moves no end time.
pub(super) async fn head_confirms_without_renewing(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 0).await;
    db.renew(failed(&admitted, "1", 10)).await;
    assert_eq!(db.state("app", "1").await.failed_at, 10);

    db.renew(checked(&admitted, "1", 20)).await;

    let state = db.state("app", "1").await;
    assert_eq!(
        (state.ends_at, state.checked_at, state.failed_at, state.pulled_at),
        (TTL, 20, 0, 0)
    );
}

/// M9: a pull by digest renews every live tag and live pin on the manifest and on held indexes around
/// it, and leaves other tags alone.
pub(super) async fn digest_pull_renews_every_holder(db: Fixture) {
    let child = image("child", &[]);
    let (list, lists) = (index("list", &[&child]), image("unrelated", &[]));
    let pulled = db.pin("app", &child, 0).await;
    db.tag("app", "child", &child, 0).await;
    db.tag("app", "also", &child, 0).await;
    db.tag("app", "list", &list, 0).await;
    db.tag("app", "unrelated", &lists, 0).await;
    let dead = db.tag("app", "dead", &list, -TTL).await;

    db.pull_digest(&pulled, 100).await;

    for (name, ends_at) in [
        ("child", 100 + TTL),
        ("also", 100 + TTL),
        ("list", 100 + TTL),
        ("unrelated", TTL),
        ("dead", 0),
    ] {
        assert_eq!(db.state("app", name).await.ends_at, ends_at, "{name}");
    }
    let pin = &db.holders(pulled.manifest).await[0];
    assert_eq!((pin.name.as_str(), pin.ends_at), ("", 100 + TTL));
    assert_eq!(db.holders(dead.manifest).await.len(), 2);
    db.assert_consistent().await;
}

/// M9: through another index too, four deep.
pub(super) async fn digest_pull_renews_through_four_indexes_and_no_more(db: Fixture) {
    let child = image("child", &[]);
    let mut nested: Vec<Made> = vec![child.clone()];
    for depth in 1..=5 {
        let around = index(&format!("depth {depth}"), &[&nested[depth - 1]]);
        nested.push(around);
    }
    let mut pulled = None;
    for (depth, made) in nested.iter().enumerate() {
        let admitted = db.tag("app", &format!("d{depth}"), made, 0).await;
        pulled.get_or_insert(admitted);
    }

    db.pull_digest(&pulled.unwrap(), 50).await;

    for depth in 0..=5 {
        let ends_at = if depth <= 4 { 50 + TTL } else { TTL };
        let state = db.state("app", &format!("d{depth}")).await;
        assert_eq!(state.ends_at, ends_at, "depth {depth}");
    }
}

/// M11: a GET of the digest revives a resolved tag for 600 s after the mark, also through an index,
/// and neither one that was never marked nor by a GET from before the mark.
pub(super) async fn digest_pull_revives_resolved_tag_for_ten_minutes(db: Fixture) {
    let child = image("child", &[]);
    let list = index("list", &[&child]);
    let pulled = db.pin("app", &child, 0).await;
    let tagged = db.tag("app", "list", &list, 0).await;
    let other = db.tag("app", "other", &list, 0).await;
    let marked = 5 * TTL;
    db.metadata
        .mark_resolved(tagged.repository, "list", tagged.manifest, marked)
        .await
        .unwrap();
    let state = db.state("app", "list").await;
    assert_eq!(
        (state.resolved_at, state.checked_at, state.ends_at),
        (marked, marked, TTL)
    );

    let too_late = marked + RESOLVED_FOR_MS + 1;
    for outside in [marked - 1, too_late] {
        db.pull_digest(&pulled, outside).await;
        assert_eq!(db.state("app", "list").await.ends_at, TTL, "pulled at {outside}");
    }

    db.pull_digest(&pulled, too_late - 1).await;
    assert_eq!(db.state("app", "list").await.ends_at, too_late - 1 + TTL);
    assert_eq!(db.state("app", "other").await.ends_at, TTL);
    assert_eq!(other.manifest, tagged.manifest);
}

/// M3, M6, M9: with upstream down, pulls by digest do not keep a tag alive for ever; the next
/// confirmation ends that.
pub(super) async fn digest_pull_skips_unconfirmed_tag(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 0).await;
    db.renew(failed(&admitted, "1", 10)).await;

    db.pull_digest(&admitted, 20).await;
    assert_eq!(db.state("app", "1").await.ends_at, TTL);
    assert_eq!(
        db.holders(admitted.manifest).await.len(),
        1,
        "a live tag holds it, confirmed or not"
    );

    db.renew(checked(&admitted, "1", 30)).await;
    db.pull_digest(&admitted, 40).await;
    assert_eq!(db.state("app", "1").await.ends_at, 40 + TTL);

    // A failure older than the confirmation comes too late.
    db.renew(failed(&admitted, "1", 25)).await;
    assert_eq!(db.state("app", "1").await.failed_at, 0);
}

/// M9: a manifest that nothing live holds after the pull gets a pin.
pub(super) async fn digest_pull_pins_what_nothing_live_holds(db: Fixture) {
    let (app, child) = (image("app", &[]), image("child", &[]));
    let list = index("list", &[&child]);
    let admitted = db.tag("app", "1", &app, 0).await;
    db.tag("app", "list", &list, 0).await;
    let inside = db.pin("app", &child, 0).await;
    let now = 2 * TTL;

    db.pull_digest(&admitted, now).await;
    db.pull_digest(&inside, now).await;

    let holders = db.holders(admitted.manifest).await;
    assert_eq!((holders[0].name.as_str(), holders[0].ends_at), ("", now + TTL));
    assert_eq!(holders[1].ends_at, TTL, "the tag stays dead");
    assert_eq!(
        db.holders(inside.manifest).await,
        [],
        "a dead index still holds it"
    );
    db.assert_consistent().await;
}

/// M9: a dead pin lives again.
pub(super) async fn dead_pin_lives_again(db: Fixture) {
    let admitted = db.pin("app", &image("app", &[]), 0).await;
    let now = 3 * TTL;

    db.pull_digest(&admitted, now).await;

    let holders = db.holders(admitted.manifest).await;
    assert_eq!(
        (holders.len(), holders[0].ends_at, holders[0].pulled_at),
        (1, now + TTL, now)
    );
}

/// M3, M15: a batch is in order, so of two answers in one millisecond the later one holds.
pub(super) async fn failure_and_confirmation_in_one_moment_follow_their_order(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 5).await;
    let unconfirmed = |state: crate::TagState| state.failed_at > state.checked_at;

    db.renew(failed(&admitted, "1", 5)).await;
    assert!(unconfirmed(db.state("app", "1").await));

    let both = [checked(&admitted, "1", 5), failed(&admitted, "1", 5)];
    db.metadata.renew(&both).await.unwrap();
    assert!(unconfirmed(db.state("app", "1").await));

    db.renew(checked(&admitted, "1", 5)).await;
    assert!(!unconfirmed(db.state("app", "1").await));
}

/// M11, A3, Q5: a use counts for the order of pruning, by tag or for everything live around a digest,
/// and moves no end time.
pub(super) async fn use_counts_without_renewing(db: Fixture) {
    let child = image("child", &[]);
    let list = index("list", &[&child]);
    db.tag("app", "list", &list, 0).await;
    let inside = db.pin("app", &child, 0).await;
    let used = |name: Option<&str>, at| Renewal::Used {
        repository: inside.repository,
        manifest: inside.manifest,
        name: name.map(str::to_owned),
        at,
    };

    db.renew(used(None, 50)).await;
    let state = db.state("app", "list").await;
    assert_eq!((state.pulled_at, state.ends_at), (50, TTL));

    let tagged = db.tag("app", "child", &child, 60).await;
    assert_eq!(tagged.manifest, inside.manifest);
    db.renew(used(Some("child"), 70)).await;
    assert_eq!(db.state("app", "child").await.pulled_at, 70);
    assert_eq!(db.state("app", "list").await.pulled_at, 50);
}
