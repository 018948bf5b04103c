//! A prune without a request goes in steps, and its plan waits for nobody (Q9).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::fixture::Fixture;
use super::quota::planner::{First, Greedy, Told};
use super::quota::{NOW, dump, is_held, names, sized, weight};
use super::scale;
use crate::sql::{Statement, args};
use crate::{MetadataError, Renewal};

/// Q8, Q9: a long prune is committed 256 images at a time, and others write between two steps.
pub(super) async fn others_write_between_the_steps_of_a_prune(db: Fixture) {
    scale::store(&db, 599).await;
    let other = db.other_organization().await;
    let used = db.usage(db.acme).await;
    let planner = Arc::new(First(600));
    let mut plan = db.metadata.start_prune(db.acme, planner, NOW).await.unwrap();
    let (mut steps, mut left) = (Vec::new(), vec![used]);
    while let Some(step) = db.metadata.prune(&mut plan).await.unwrap() {
        let name = format!("other {}", steps.len());
        db.tag_as(other, "app", &name, &sized(&name, 1000), NOW).await;
        steps.push(step.pruned.len());
        left.push(step.usage_bytes);
        assert_eq!(db.usage(db.acme).await, step.usage_bytes);
        db.assert_consistent().await;
    }
    assert_eq!(steps, [256, 256, 88]);
    assert!(left.is_sorted_by(|before, after| before > after), "{left:?}");
    assert_eq!(left.last(), Some(&0));
}

/// Q5, Q9, M15: what is pulled, asked for by HEAD or tagged once more after the plan was made does not go.
pub(super) async fn what_is_used_after_the_plan_is_spared(db: Fixture) {
    let images = ["a", "b", "c", "d"].map(|name| sized(name, 1000));
    let mut admitted = Vec::new();
    for (image, name) in images.iter().zip(["a", "b", "c", "d"]) {
        admitted.push(db.tag(name, "1", image, 1000).await);
    }
    let told = Told(admitted.iter().map(|admitted| admitted.manifest).collect());
    let mut plan = db
        .metadata
        .start_prune(db.acme, Arc::new(told), NOW)
        .await
        .unwrap();
    db.pull_digest(&admitted[0], NOW).await;
    db.renew(Renewal::Used {
        repository: admitted[1].repository,
        manifest: admitted[1].manifest,
        name: Some("1".to_owned()),
        at: NOW,
    })
    .await;
    // At the same moment as the last use that was known.
    db.tag("c", "2", &images[2], 1000).await;
    let step = db.metadata.prune(&mut plan).await.unwrap().unwrap();
    assert_eq!(names(&step.pruned), ["d:1"]);
    assert!(db.metadata.prune(&mut plan).await.unwrap().is_none());
    for (image, (name, held)) in images
        .iter()
        .zip([("a", true), ("b", true), ("c", true), ("d", false)])
    {
        assert_eq!(is_held(&db, name, image).await, held, "{name}");
    }
    db.assert_consistent().await;
}

/// Q5, Q9: what made room after the plan was made need not be made twice.
pub(super) async fn no_more_goes_than_is_too_much_by_now(db: Fixture) {
    let images = ["a", "b", "c", "d"].map(|name| sized(name, 1000));
    let mut admitted = Vec::new();
    for (image, (name, at)) in images
        .iter()
        .zip([("a", 1000), ("b", 2000), ("c", 3000), ("d", 4000)])
    {
        admitted.push(db.tag(name, "1", image, at).await);
    }
    let quota = weight(&images[3], 1000);
    let start = || {
        let planner = Arc::new(Greedy::new(quota));
        db.metadata.start_prune(db.acme, planner, NOW)
    };
    let (mut plan, mut late) = (start().await.unwrap(), start().await.unwrap());
    // Of a, b and c, one goes in another way.
    db.drop_holder(admitted[3].repository, "1", admitted[3].manifest, NOW)
        .await;
    let step = db.metadata.prune(&mut plan).await.unwrap().unwrap();
    assert_eq!(names(&step.pruned), ["a:1", "b:1"]);
    assert_eq!(step.usage_bytes, quota);
    let before = dump(&db).await;
    assert!(db.metadata.prune(&mut late).await.unwrap().is_none());
    assert!(db.metadata.prune(&mut late).await.unwrap().is_none());
    assert_eq!(dump(&db).await, before);
    db.assert_consistent().await;
}

/// Q9, O5: a plan is made while somebody else writes, of what was committed, and writes nothing.
pub(super) async fn a_plan_does_not_wait_for_the_writer(db: Fixture) {
    const TOUCH: Statement = Statement::new("touch", "UPDATE organization SET usage_bytes = 1");
    db.tag("app", "1", &sized("app", 1000), 1000).await;
    let used = db.usage(db.acme).await;
    let before = dump(&db).await;
    let (begun, begins) = oneshot::channel();
    let (ended, ends) = oneshot::channel();
    let channels = std::sync::Mutex::new(Some((begun, ends)));
    let engine = Arc::clone(db.metadata.engine());
    let writer = tokio::spawn(async move {
        let work = engine.write(channels, |tx, channels| {
            Box::pin(async move {
                let (begun, ends) = channels.lock().unwrap().take().unwrap();
                tx.execute(TOUCH, args![]).await?;
                begun.send(()).unwrap();
                ends.await.unwrap();
                Err::<(), _>(MetadataError::OrganizationGone { action: TOUCH.action })
            })
        });
        work.await.unwrap_err();
    });
    begins.await.unwrap();
    let planner = || Arc::new(Greedy::new(used - 1));
    let plan = db.metadata.plan_prune(db.acme, planner(), NOW).await.unwrap();
    assert_eq!(
        (names(&plan.pruned), plan.usage_bytes),
        (vec!["app:1".to_owned()], 0)
    );
    db.metadata.start_prune(db.acme, planner(), NOW).await.unwrap();
    assert!(!writer.is_finished());
    assert_eq!(dump(&db).await, before);
    ended.send(()).unwrap();
    writer.await.unwrap();
    assert_eq!(dump(&db).await, before);
}
