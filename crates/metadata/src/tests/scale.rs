//! Work that must not grow with what is stored: the passes of the workers, and planning.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::fixture::{Fixture, TTL, image, index};
use super::quota::planner::{First, Greedy};
use crate::sql::args;
use crate::{AdmitError, Hold, NEVER};

/// When the rows of the dead may go: a Window of 1 s and the slack after the TTL.
const DUE: i64 = TTL + 1000 + SLACK;
const SLACK: i64 = 5000;
const GRACE: i64 = 3000;

/// What it took.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Instructions of a pass of sweeper, collector and deleter.
    pass: u64,
    /// Of an admission for which one image goes, and the rows that were read for its plan.
    prune: u64,
    rows: u64,
    /// The rows that were read for a plan of a thousand images.
    rows_of_thousand: u64,
    /// Instructions of an admission that is refused, because its index holds too much that stays.
    refused: u64,
}

/// Images with live tags, a body and a layer of their own and one that they share, as admissions leave them.
pub(super) async fn store(db: &Fixture, count: i64) {
    const NUMBERS: &str = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1)";
    const DIGEST: &str =
        "'sha256:' || substr('0000000000000000000000000000000000000000000000000000000000000000'
                                              || n, length(CAST(n AS TEXT)) + 1)";
    db.tag("live", "1", &image("live", &[("shared", 1000)]), 0).await;
    let bodies = format!(
        "{NUMBERS} INSERT INTO manifest (repository_id, organization_id, digest, media_type, kind, body)
         SELECT 1, 1, {DIGEST}, 'application/x', 0, $2 FROM n"
    );
    db.run(bodies.leak(), args![count, &Bytes::from_static(b"{}")])
        .await;
    for rest in [
        "INSERT INTO blob (digest) SELECT 'sha256:f' || substr(digest, 9)",
        "INSERT INTO manifest_blob SELECT id, 1, 'sha256:f' || substr(digest, 9), 10, TRUE",
        "INSERT INTO manifest_blob
         SELECT id, 1, (SELECT digest FROM content WHERE size = 1000), 1000, TRUE",
        "INSERT INTO content SELECT 1, digest, 2, 1",
        "INSERT INTO content SELECT 1, 'sha256:f' || substr(digest, 9), 10, 1",
        "INSERT INTO tag (repository_id, organization_id, name, manifest_id, current, ends_at, pulled_at,
                          checked_at)
         SELECT 1, 1, 'v' || id, id, TRUE, 1000000000 + id, 1000 + id, 0",
    ] {
        let of_all = format!("{rest} FROM manifest WHERE media_type = 'application/x' ORDER BY id");
        db.run(of_all.leak(), args![]).await;
    }
    db.run(
        "UPDATE content SET refs = refs + $1 WHERE size = 1000",
        args![count],
    )
    .await;
    db.run(
        "UPDATE organization SET usage_bytes = usage_bytes + 12 * $1",
        args![count],
    )
    .await;
    db.run("UPDATE tag SET ends_at = $1 WHERE name = '1'", args![NEVER])
        .await;
}

/// Ten images die and leave; then one more comes in and has to find room.
async fn measure(db: &Fixture, live: i64) -> Work {
    store(db, live).await;
    let metadata = &db.metadata;
    for number in 0..10 {
        let name = format!("dead {number}");
        db.tag(
            "dead",
            &number.to_string(),
            &image(&name, &[(&name, 10), ("shared", 1000)]),
            0,
        )
        .await;
    }

    let instructions = metadata.engine().count_instructions().await;
    let mut released = 0;
    for organization in metadata.sweepable(DUE).await.unwrap() {
        released += metadata.sweep(organization, SLACK, DUE).await.unwrap().released;
    }
    metadata.drop_departed_organizations(DUE - SLACK).await.unwrap();
    metadata.expire_fills(DUE, DUE + GRACE).await.unwrap();
    let collected = metadata.collect(DUE, DUE + GRACE).await.unwrap();
    metadata.due_garbage(DUE, 1000).await.unwrap();
    let pass = instructions.swap(0, Ordering::Relaxed);
    assert_eq!((released, collected.manifests, collected.blobs), (10, 10, 20));

    let hold = Hold::Tag {
        name: "1",
        ends_at: DUE + TTL,
        checked_at: DUE,
    };
    let made = image("new", &[("new", 5)]);
    let admission = made.admission(db.acme, "new", hold, DUE);
    let admitted = metadata.admit(&admission, Arc::new(First(1))).await.unwrap();
    let prune = instructions.swap(0, Ordering::Relaxed);
    assert_eq!(admitted.pruned[0].tags, ["1"]);
    let plan = metadata.plan_prune(db.acme, Arc::new(First(1000)), DUE).await;
    let rows_of_thousand = plan.unwrap().rows_read;

    let (here, new) = (
        image("here", &[("here", 5000)]),
        image("there", &[("there", 5000)]),
    );
    db.tag("list", "1", &index("list", &[&here, &new]), DUE).await;
    db.pin("list", &here, DUE).await;
    let admission = new.admission(db.acme, "list", Hold::Pin { ends_at: DUE + TTL }, DUE);
    instructions.store(0, Ordering::Relaxed);
    let refused = metadata.admit(&admission, Arc::new(Greedy::new(9999))).await;
    assert!(matches!(refused, Err(AdmitError::Quota(_))), "{refused:?}");
    Work {
        pass,
        prune,
        rows: admitted.rows_read,
        rows_of_thousand,
        refused: instructions.swap(0, Ordering::Relaxed),
    }
}

/// G2, Q5: a pass reads what died, a plan reads as far as it has to, and a refusal reads what is pulled, whether two thousand images are
/// alive beside that or fifty times as many. Every row that is read takes an instruction at least.
pub(super) async fn work_does_not_grow_with_what_is_alive(few: Fixture) {
    let many = Fixture::sqlite().await;
    let (small, large) = (measure(&few, 2000).await, measure(&many, 100_000).await);
    few.assert_consistent().await;
    assert!(large.pass < small.pass + 100, "{small:?} {large:?}");
    assert!(large.prune < small.prune + 100, "{small:?} {large:?}");
    assert!(large.refused < small.refused + 100, "{small:?} {large:?}");
    assert!(large.pass < 20_000 && large.prune < 20_000, "{large:?}");
    assert_eq!(
        (large.rows, large.rows_of_thousand),
        (small.rows, small.rows_of_thousand)
    );
    assert!(large.rows < 150 && large.rows_of_thousand < 8000, "{large:?}");
}
