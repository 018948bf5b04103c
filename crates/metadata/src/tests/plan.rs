//! What is asked on the pull path uses its indexes (ENGINE §1.2): none of it may become proportional
//! to what is stored.

use super::fixture::Fixture;
use crate::queries::{admit, count, fill, list, read, release, renew, wanted};
use crate::sql::{Statement, args};

/// G2: every step of a plan that reads a table searches an index. A scan is allowed of what a
/// statement made itself: parameters, and the few rows it found so far.
#[tokio::test]
async fn hot_statements_scan_no_table() {
    let db = Fixture::sqlite().await;
    let statements = [
        read::HOT,
        admit::HOT,
        fill::HOT,
        renew::HOT,
        count::HOT,
        release::HOT,
        wanted::HOT,
        list::HOT,
    ];
    for statement in statements.concat() {
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
