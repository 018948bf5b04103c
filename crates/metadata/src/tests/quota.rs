//! Content that has to find room (SPEC §5).

pub(super) mod planner;
pub(super) mod random;

use std::sync::Arc;

use super::fixture::{CONFIG, Fixture, Made, TTL, image, index, referrer};
use crate::sql::{Statement, args};
use crate::{
    AdmitError, Admitted, Candidate, Hold, NEVER, Planner, PruneError, Pruned, Refusal, Renewal, Standing,
};
use planner::{Deferring, Greedy, Strict};

/// When the quota is asked for: what was pulled at 0 is dead, and its Window is not over.
pub(super) const NOW: i64 = TTL + 500;

/// Every row that an admission may touch.
pub(super) async fn dump(db: &Fixture) -> Vec<String> {
    const ROWS: Statement = Statement::new(
        "dump",
        "SELECT concat_ws(' ', 'o', id, usage_bytes) FROM organization
         UNION ALL SELECT concat_ws(' ', 'r', id, name) FROM repository
         UNION ALL SELECT concat_ws(' ', 'm', id, digest, released_at) FROM manifest
         UNION ALL SELECT concat_ws(' ', 'b', digest, size, storage_key) FROM blob
         UNION ALL SELECT concat_ws(' ', 'mb', manifest_id, digest, size) FROM manifest_blob
         UNION ALL SELECT concat_ws(' ', 'mc', parent_id, digest) FROM manifest_child
         UNION ALL SELECT concat_ws(' ', 't', repository_id, name, manifest_id, current, ends_at, pulled_at,
                                    checked_at, resolved_at, failed_at) FROM tag
         UNION ALL SELECT concat_ws(' ', 'c', organization_id, digest, size, refs) FROM content
         ORDER BY 1",
    );
    let rows = db.metadata.engine().fetch_all(ROWS, args![]).await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap()).collect()
}

/// The order of Q5 without a request, by looking at everything.
async fn order(db: &Fixture, now: i64) -> Vec<Candidate> {
    const ALL: Statement = Statement::new(
        "read all candidates",
        "SELECT manifest_id, MAX(ends_at), MAX(pulled_at) FROM tag WHERE organization_id = $1
         GROUP BY manifest_id",
    );
    let rows = db.metadata.engine().fetch_all(ALL, args![db.acme]).await.unwrap();
    let mut candidates: Vec<Candidate> = rows
        .iter()
        .map(|row| {
            let ended_at = row.int(1).unwrap();
            let dead = ended_at <= now;
            Candidate {
                manifest: row.manifest(0).unwrap(),
                standing: if dead {
                    Standing::Dead { ended_at }
                } else {
                    Standing::Live
                },
                last_used_at: row.int(2).unwrap(),
            }
        })
        .collect();
    candidates.sort_by_key(|candidate| match candidate.standing {
        Standing::Dead { ended_at } => (0, ended_at, candidate.manifest),
        Standing::Live => (1, candidate.last_used_at, candidate.manifest),
    });
    candidates
}

async fn admit(
    db: &Fixture,
    repository: &str,
    name: &str,
    made: &Made,
    planner: impl Planner + 'static,
) -> Result<Admitted, AdmitError> {
    let ends_at = NOW + TTL;
    let hold = match name {
        "" => Hold::Pin { ends_at },
        name => Hold::Tag {
            name,
            ends_at,
            checked_at: NOW,
        },
    };
    let admission = made.admission(db.acme, repository, hold, NOW);
    db.metadata.admit(&admission, Arc::new(planner)).await
}

/// What went, as `repository:tag,tag` or `repository@`.
pub(super) fn names(pruned: &[Pruned]) -> Vec<String> {
    let name = |pruned: &Pruned| match pruned.tags.as_slice() {
        [] => format!("{}@", pruned.repository),
        tags => format!("{}:{}", pruned.repository, tags.join(",")),
    };
    pruned.iter().map(name).collect()
}

pub(super) async fn is_held(db: &Fixture, repository: &str, made: &Made) -> bool {
    let stored = db
        .metadata
        .manifest(db.acme, repository, &made.digest)
        .await
        .unwrap();
    stored.is_some_and(|stored| !stored.released)
}

/// An image with a layer of its own, of about so many bytes in all.
pub(super) fn sized(name: &str, bytes: u64) -> Made {
    image(name, &[(name, bytes)])
}

/// What an image of one layer weighs.
pub(super) fn weight(made: &Made, layer: u64) -> u64 {
    made.size() + CONFIG + layer
}

/// Q5: what has only dead holders goes first, the one that ended first; then what was used longest ago.
pub(super) async fn dead_content_goes_first_then_what_was_used_longest_ago(db: Fixture) {
    let images = ["a", "b", "c", "d", "e"].map(|name| sized(name, 10_000));
    // Dead at NOW: b ended before a, though a was used last.
    db.tag("b", "1", &images[1], 100).await;
    db.tag("a", "1", &images[0], 200).await;
    db.tag("c", "1", &images[2], 3000).await;
    db.tag("d", "1", &images[3], 2000).await;
    let used = db.usage(db.acme).await;
    let mut order = Vec::new();
    for count in 1..=4 {
        let planner = Arc::new(Greedy::new(used - count * 10_000));
        let plan = db.metadata.plan_prune(db.acme, planner, NOW).await;
        order.push(names(&plan.unwrap().pruned));
    }
    let expected = ["b:1", "a:1", "d:1", "c:1"];
    for (count, order) in order.iter().enumerate() {
        assert_eq!(order[..], expected[..=count]);
    }
    let admitted = admit(&db, "e", "1", &images[4], Greedy::new(used)).await.unwrap();
    assert_eq!(names(&admitted.pruned), ["b:1"]);
    assert_eq!(
        admitted.pruned[0].standing,
        Standing::Dead { ended_at: TTL + 100 }
    );
    assert_eq!(admitted.pruned[0].last_used_at, 100);
    assert_eq!(admitted.pruned[0].freed_bytes, weight(&images[1], 10_000));
    assert!(!is_held(&db, "b", &images[1]).await);
    db.assert_consistent().await;
}

/// Q5: a manifest has one place in the order, that of the latest of its tags and its pin; all of them go.
pub(super) async fn all_tags_of_a_manifest_go_at_the_latest_use(db: Fixture) {
    let (shared, other) = (sized("shared", 1000), sized("other", 1000));
    db.tag("app", "old", &shared, 0).await;
    db.tag("other", "1", &other, 3000).await;
    let tagged = db.tag("app", "new", &shared, 2000).await;
    let used = db.usage(db.acme).await;
    let plan = db
        .metadata
        .plan_prune(db.acme, Arc::new(Greedy::new(used - 1)), NOW)
        .await;
    assert_eq!(names(&plan.unwrap().pruned), ["app:new,old"]);
    db.renew(Renewal::Used {
        repository: tagged.repository,
        manifest: tagged.manifest,
        name: Some("old".to_owned()),
        at: 4000,
    })
    .await;
    let plan = db
        .metadata
        .plan_prune(db.acme, Arc::new(Greedy::new(used - 1)), NOW)
        .await;
    assert_eq!(names(&plan.unwrap().pruned), ["other:1"]);
}

/// Q5: a manifest that is dead ended with the last of its tags and its pin.
pub(super) async fn dead_manifest_ended_with_the_last_of_its_tags(db: Fixture) {
    let (shared, other) = (sized("shared", 1000), sized("other", 1000));
    db.tag("app", "old", &shared, 100).await;
    db.tag("other", "1", &other, 200).await;
    db.tag("app", "new", &shared, 300).await;
    let used = db.usage(db.acme).await;
    let more = weight(&other, 1000) + 1;
    for (shortfall, expected) in [(1, vec!["other:1"]), (more, vec!["other:1", "app:new,old"])] {
        let quota = used - shortfall;
        let plan = db
            .metadata
            .plan_prune(db.acme, Arc::new(Greedy::new(quota)), NOW)
            .await;
        assert_eq!(names(&plan.unwrap().pruned), expected);
    }
}

/// Q5, M8: not even everything together is enough: nothing has changed, and there is no new repository.
pub(super) async fn refusal_changes_nothing(db: Fixture) {
    let (kept, large) = (sized("kept", 1000), sized("large", 5000));
    db.tag("app", "1", &kept, 0).await;
    let before = dump(&db).await;
    // Alone it fits (Q4), but its index stays with it, whatever else goes.
    let list = index("list", &[&large]);
    let fits_alone = large.size() + CONFIG + 5000;
    let admitted = admit(&db, "new", "1", &list, Greedy::new(fits_alone))
        .await
        .unwrap();
    assert_eq!(admitted.pruned, []);
    let with_index = dump(&db).await;
    let refused = admit(&db, "new", "", &large, Greedy::new(fits_alone)).await;
    let Err(AdmitError::Quota(refusal)) = refused else {
        panic!("{refused:?}");
    };
    let expected = Refusal {
        quota_bytes: fits_alone,
        used_bytes: weight(&kept, 1000) + list.size(),
        needed_bytes: fits_alone,
    };
    assert_eq!(refusal, expected);
    assert_eq!(dump(&db).await, with_index);
    let refused = admit(&db, "newer", "1", &sized("larger", 6000), Greedy::new(fits_alone)).await;
    assert!(matches!(refused, Err(AdmitError::Quota(_))));
    assert_eq!(dump(&db).await, with_index);
    assert_ne!(before, with_index);
}

/// Q4: what a manifest weighs alone is its body and all blobs that it names, whatever of it is there
/// already; of an index it is the body.
pub(super) async fn planner_is_told_what_is_needed_and_what_it_weighs_alone(db: Fixture) {
    let first = image("first", &[("base", 700)]);
    let second = image("second", &[("base", 700), ("base", 700), ("top", 30)]);
    db.tag("app", "1", &first, 0).await;
    let used = db.usage(db.acme).await;
    let planner = Greedy::new(u64::MAX);
    admit(&db, "app", "2", &second, Arc::clone(&planner))
        .await
        .unwrap();
    let demand = planner.seen().demand.unwrap();
    assert_eq!(demand.needed_bytes, second.size() + CONFIG + 30);
    assert_eq!(demand.alone_bytes, second.size() + CONFIG + 730);
    assert_eq!(demand.usage_bytes, used + demand.needed_bytes);
    let list = index("list", &[&first, &second]);
    admit(&db, "app", "3", &list, Arc::clone(&planner)).await.unwrap();
    let demand = planner.seen().demand.unwrap();
    assert_eq!(
        (demand.needed_bytes, demand.alone_bytes),
        (list.size(), list.size())
    );
}

/// Q3: what adds no bytes is not asked about, however full the organization is.
pub(super) async fn what_adds_nothing_needs_no_room(db: Fixture) {
    let made = sized("app", 1000);
    db.tag("app", "1", &made, 0).await;
    admit(&db, "app", "2", &made, Strict).await.unwrap();
    admit(&db, "app", "", &made, Strict).await.unwrap();
    admit(&db, "copy", "1", &made, Strict).await.unwrap();
    let refused = admit(&db, "app", "3", &sized("new", 1), Strict).await;
    assert!(matches!(refused, Err(AdmitError::Quota(_))));
}

/// M15: a planner that has to plan can ask for time; nothing has changed.
pub(super) async fn deferred_admission_changes_nothing(db: Fixture) {
    db.tag("app", "1", &sized("app", 1000), 0).await;
    let before = dump(&db).await;
    let deferred = admit(&db, "new", "1", &sized("new", 1), Deferring).await;
    assert!(matches!(deferred, Err(AdmitError::NeedsPlan)));
    let deferred = db.prune(db.acme, Arc::new(Deferring), NOW).await;
    assert!(matches!(deferred, Err(PruneError::NeedsPlan)));
    assert_eq!(dump(&db).await, before);
}

/// Q5: what is being pulled does not go for itself, nor do its indexes, their indexes, and its subject,
/// though they are used least.
pub(super) async fn what_holds_the_pulled_manifest_is_spared(db: Fixture) {
    let child = sized("child", 1000);
    let inner = index("inner", &[&child]);
    let heavy = sized("heavy", 5000);
    let outer = index("outer", &[&inner, &heavy]);
    let signature = referrer("signature", &outer, &[("signature", 500)]);
    db.tag("app", "inner", &inner, 1).await;
    db.tag("app", "outer", &outer, 2).await;
    db.pin("app", &heavy, 2).await;
    db.tag("other", "1", &sized("other", 2000), 3).await;
    db.tag("other", "2", &sized("another", 2000), 4).await;
    let used = db.usage(db.acme).await;
    let admitted = admit(&db, "app", "", &child, Greedy::new(used)).await.unwrap();
    assert_eq!(names(&admitted.pruned), ["other:1"]);
    let used = db.usage(db.acme).await;
    let admitted = admit(&db, "app", "", &signature, Greedy::new(used))
        .await
        .unwrap();
    assert_eq!(names(&admitted.pruned), ["other:2"]);
    for made in [&child, &inner, &outer, &heavy, &signature] {
        assert!(is_held(&db, "app", made).await);
    }
    db.assert_consistent().await;
}

/// Q5, Q6: an index goes with its children and their referrers, except a child that has a pin of its own.
pub(super) async fn index_goes_with_its_children(db: Fixture) {
    let (amd, arm) = (sized("amd", 1000), sized("arm", 2000));
    let list = index("list", &[&amd, &arm]);
    let signature = referrer("signature", &amd, &[("signature", 500)]);
    db.pin("app", &arm, 6000).await;
    db.tag("app", "1", &list, 5000).await;
    db.pin("app", &amd, 5000).await;
    db.pin("app", &signature, 5000).await;
    let used = db.usage(db.acme).await;
    let freed = list.size() + weight(&amd, 1000) + weight(&signature, 500);
    let new = sized("new", 100);
    let admitted = admit(&db, "new", "1", &new, Greedy::new(used)).await.unwrap();
    assert_eq!(names(&admitted.pruned), ["app:1"]);
    assert_eq!(admitted.pruned[0].freed_bytes, freed);
    for (made, held) in [(&list, false), (&amd, false), (&signature, false), (&arm, true)] {
        assert_eq!(is_held(&db, "app", made).await, held);
    }
    db.assert_consistent().await;
}

/// Q5: pins, dead pins and what never ends are candidates like any other.
pub(super) async fn pins_and_endless_tags_can_go(db: Fixture) {
    let images = ["dead", "pinned", "endless", "new"].map(|name| sized(name, 1000));
    let endless = Hold::Tag {
        name: "1",
        ends_at: NEVER,
        checked_at: 1000,
    };
    db.pin("dead", &images[0], 0).await;
    let admission = images[2].admission(db.acme, "endless", endless, 1000);
    db.metadata
        .admit(&admission, Arc::new(crate::Unlimited))
        .await
        .unwrap();
    db.pin("pinned", &images[1], 2000).await;
    let admitted = admit(&db, "new", "1", &images[3], Greedy::new(weight(&images[3], 1000))).await;
    assert_eq!(
        names(&admitted.unwrap().pruned),
        ["dead@", "endless:1", "pinned@"]
    );
    db.assert_consistent().await;
}

/// M4, Q5: what a moved tag leaves dies now and can go for what the tag points at; a content that both
/// share is not taken for free.
pub(super) async fn moved_tag_makes_room_for_itself(db: Fixture) {
    let (old, new) = (
        image("old", &[("base", 1000), ("a", 2000)]),
        image("new", &[("base", 1000), ("b", 2000)]),
    );
    db.tag("app", "1", &old, NOW - 2).await;
    db.tag("other", "1", &sized("other", 5000), NOW - 1).await;
    let used = db.usage(db.acme).await;
    let admitted = admit(&db, "app", "1", &new, Greedy::new(used)).await.unwrap();
    assert_eq!(names(&admitted.pruned), ["app:1"]);
    assert_eq!(admitted.pruned[0].standing, Standing::Dead { ended_at: NOW });
    assert_eq!(admitted.pruned[0].freed_bytes, weight(&old, 2000));
    db.assert_consistent().await;
}

/// Q6: a pruned tag is released at once and collected after the grace; pulled again before that it is taken
/// back without its body.
pub(super) async fn pruned_image_comes_back_until_it_is_collected(db: Fixture) {
    let (old, new) = (sized("old", 1000), sized("new", 1000));
    let quota = weight(&new, 1000);
    db.tag("app", "old", &old, NOW - 1).await;
    admit(&db, "app", "new", &new, Greedy::new(quota)).await.unwrap();
    assert!(db.metadata.tag(db.acme, "app", "old").await.unwrap().is_none());
    let hold = Hold::Pin { ends_at: NOW + TTL };
    let refused = db.take_back("app", &old, hold, NOW).await;
    refused.unwrap();
    assert!(is_held(&db, "app", &old).await);
    let pruning = db
        .prune(db.acme, Arc::new(Greedy::new(quota)), NOW + 1)
        .await
        .unwrap();
    assert_eq!(names(&pruning.pruned).len(), 1);
    let collected = db.metadata.collect(NOW + 1, NOW + 2).await.unwrap();
    assert_eq!(collected.manifests, 1);
    db.assert_consistent().await;
}

/// M15, Q8: a pull by digest that is written down after its manifest was pruned takes it back only while it
/// fits.
pub(super) async fn late_renewal_never_overshoots(db: Fixture) {
    let (old, new) = (sized("old", 1000), sized("new", 1000));
    let admitted = db.tag("app", "old", &old, NOW - 1).await;
    let quota = weight(&new, 1000) + weight(&old, 1000) - 1;
    admit(&db, "app", "new", &new, Greedy::new(quota)).await.unwrap();
    let late = |quota_bytes| Renewal::Digest {
        repository: admitted.repository,
        manifest: admitted.manifest,
        at: NOW,
        ends_at: NOW + TTL,
        quota_bytes,
    };
    let before = dump(&db).await;
    db.renew(late(Some(quota))).await;
    assert_eq!(dump(&db).await, before);
    db.renew(late(Some(quota + 1))).await;
    assert!(is_held(&db, "app", &old).await);
    assert_eq!(db.usage(db.acme).await, quota + 1);
    db.assert_consistent().await;
}

/// Q9: without new content an organization is pruned until it fits, and no further.
pub(super) async fn lowered_quota_is_enforced_without_a_request(db: Fixture) {
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        db.tag(
            name,
            "1",
            &sized(name, 1000),
            1000 + i64::try_from(number).unwrap(),
        )
        .await;
    }
    let used = db.usage(db.acme).await;
    let fits = db.prune(db.acme, Arc::new(Greedy::new(used)), NOW).await.unwrap();
    assert_eq!(
        (fits.pruned.len(), fits.usage_bytes, fits.rows_read),
        (0, used, 0)
    );
    let pruning = db
        .prune(db.acme, Arc::new(Greedy::new(used - 1001)), NOW)
        .await
        .unwrap();
    assert_eq!(names(&pruning.pruned), ["a:1"]);
    assert_eq!(pruning.usage_bytes, db.usage(db.acme).await);
    let pruning = db.prune(db.acme, Arc::new(Greedy::new(0)), NOW).await.unwrap();
    assert_eq!((pruning.pruned.len(), pruning.usage_bytes), (2, 0));
    db.assert_consistent().await;
}

/// Q1: another organization's content is neither counted nor touched.
pub(super) async fn other_organizations_make_no_room(db: Fixture) {
    let other = db.other_organization().await;
    let made = sized("app", 1000);
    db.tag_as(other, "app", "1", &made, 0).await;
    let used = db.usage(other).await;
    let admitted = admit(&db, "new", "1", &sized("new", 1000), Greedy::new(used)).await;
    assert_eq!(admitted.unwrap().pruned, []);
    let admitted = admit(&db, "newer", "1", &sized("newer", 1000), Greedy::new(used)).await;
    assert_eq!(names(&admitted.unwrap().pruned), ["new:1"]);
    assert_eq!(db.usage(other).await, used);
    db.assert_consistent().await;
}
