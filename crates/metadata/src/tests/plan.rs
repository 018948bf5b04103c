//! What is asked on the pull path uses its indexes (ENGINE §1.2): none of it may become proportional
//! to what is stored.

use super::fixture::Fixture;
use crate::queries::{
    admit, begin, candidates, collect, count, fill, garbage, inspect, lease, list, lock, read, referrers,
    release, renew, room, scrub, sweep, usage, wanted,
};
use crate::sql::{Statement, args};

/// What is asked while somebody waits, and by every pass of the workers.
pub(super) fn pull_path() -> Vec<Statement> {
    [
        read::HOT,
        admit::HOT,
        fill::HOT,
        begin::HOT,
        lease::HOT,
        renew::HOT,
        count::HOT,
        release::HOT,
        sweep::HOT,
        collect::HOT,
        garbage::HOT,
        scrub::HOT,
        wanted::HOT,
        list::HOT,
        lock::HOT,
        referrers::HOT,
        inspect::HOT,
        usage::HOT,
        candidates::HOT,
        room::HOT,
    ]
    .concat()
}

/// G2: every step of a plan that reads a table searches an index. A scan is allowed of what a
/// statement made itself: parameters, and the few rows it found so far.
#[tokio::test]
async fn hot_statements_scan_no_table() {
    let db = Fixture::sqlite().await;
    for statement in pull_path() {
        let explained: &'static str = format!("EXPLAIN QUERY PLAN {}", statement.sql).leak();
        let rows = db
            .metadata
            .engine()
            .fetch_all(Statement::new("explain", explained), args![])
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.text(3).unwrap()).collect();
        let tables = [
            "organization",
            "repository",
            "manifest",
            "blob",
            "manifest_blob",
            "manifest_child",
            "tag",
            "content",
            "proof",
            "fill",
            "garbage",
            "lease",
        ];
        // Aliases are the first letters of the tables; the parts of a statement have longer names.
        let aliases = ["o", "r", "m", "p", "s", "b", "mb", "c", "t", "l", "lm"];
        for step in &plan {
            let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            let of_table = scanned.is_some_and(|name| tables.contains(&name) || aliases.contains(&name));
            // An index made on the fly, or one of which only a broad first column is used.
            let joined_backwards = step.contains("AUTOMATIC")
                || step.ends_with("blob_2 (storage_key=?)")
                || step.ends_with("manifest_1 (repository_id=?)")
                || step.ends_with("manifest_child_digest (repository_id=?)")
                || step.ends_with("content_1 (organization_id=?)");
            assert!(!of_table && !joined_backwards, "{}: {plan:#?}", statement.action);
        }
    }
}

/// L1, L2: lists are read in their order from an index, and whether a repository has a live tag is one probe.
#[tokio::test]
async fn lists_are_not_sorted() {
    let db = Fixture::sqlite().await;
    let explain = |sql: &str| -> &'static str { format!("EXPLAIN QUERY PLAN {sql}").leak() };
    for statement in [list::HOT, referrers::HOT].concat() {
        let explained = Statement::new("explain", explain(statement.sql));
        let rows = db.metadata.engine().fetch_all(explained, args![]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.text(3).unwrap()).collect();
        let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorts, "{}: {plan:#?}", statement.action);
        if statement.action == "list repositories" {
            let probes = plan
                .iter()
                .any(|step| step.ends_with("tag_live (repository_id=? AND ends_at>?)"));
            assert!(probes, "{plan:#?}");
        }
    }
}

/// Q5: candidates are read from their place on, in the order of an index that has all that is asked, so
/// that a page costs the same wherever it begins.
#[tokio::test]
async fn candidates_are_read_from_their_place_on() {
    let db = Fixture::sqlite().await;
    let expected = [
        (
            "find candidates that ended",
            "SEARCH tag USING COVERING INDEX tag_end (organization_id=? AND (ends_at,manifest_id)>(?,?) AND ends_at<?)",
        ),
        (
            "find candidates by use",
            "SEARCH tag USING COVERING INDEX tag_used (organization_id=? AND (pulled_at,manifest_id)>(?,?))",
        ),
    ];
    for (action, plan) in expected {
        let statement = candidates::HOT
            .iter()
            .find(|statement| statement.action == action);
        let explained: &'static str = format!("EXPLAIN QUERY PLAN {}", statement.unwrap().sql).leak();
        let statement = Statement::new("explain", explained);
        let rows = db.metadata.engine().fetch_all(statement, args![]).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.text(3).unwrap()).collect();
        assert_eq!(steps, [plan]);
    }
}

/// G2: a pass may look at each organization, but not at what is in it.
#[tokio::test]
async fn passes_scan_organizations_and_nothing_else() {
    let db = Fixture::sqlite().await;
    for statement in sweep::PER_ORGANIZATION {
        let explained: &'static str = format!("EXPLAIN QUERY PLAN {}", statement.sql).leak();
        let statement = Statement::new("explain", explained);
        let rows = db.metadata.engine().fetch_all(statement, args![]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.text(3).unwrap()).collect();
        let scans: Vec<_> = plan.iter().filter(|step| step.starts_with("SCAN")).collect();
        // The last one is what a foreign key without an index costs: a departure is rare.
        let allowed = ["SCAN o", "SCAN organization", "SCAN proof"];
        let all = scans
            .iter()
            .all(|step| allowed.iter().any(|allowed| step.starts_with(allowed)));
        assert!(all, "{plan:#?}");
        let probes = |step: &String| step.contains("tag_end (organization_id=? AND ends_at<?)");
        assert!(
            plan.iter().any(probes) || !explained.contains("FROM tag"),
            "{plan:#?}"
        );
    }
}
