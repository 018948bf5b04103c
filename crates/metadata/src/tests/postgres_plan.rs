//! The plans of `PostgreSQL`, for parameters that it does not know (G2, ENGINE §1.2).

use super::fixture::Fixture;
use super::plan::pull_path;
use super::scale;
use crate::MetadataError;
use crate::engine::Transaction;
use crate::sql::{Statement, args};

/// How the planner is told to plan.
const GENERIC: Statement = Statement::new("plan once", "SET LOCAL plan_cache_mode = force_generic_plan");
/// The plan of each statement, line by line.
async fn plans(tx: &mut Transaction) -> Result<Vec<(&'static str, Vec<String>)>, MetadataError> {
    tx.execute(GENERIC, args![]).await?;
    let mut plans = Vec::new();
    for (number, statement) in pull_path().into_iter().enumerate() {
        let parameters = (1..20)
            .take_while(|n| statement.sql.contains(&format!("${n}")))
            .count();
        let values = vec!["NULL"; parameters].join(", ");
        let values = if parameters == 0 {
            values
        } else {
            format!("({values})")
        };
        let prepare = format!("PREPARE plan{number} AS {}", statement.sql).leak();
        tx.execute(Statement::new(statement.action, prepare), args![])
            .await?;
        let explain = format!("EXPLAIN EXECUTE plan{number} {values}").leak();
        let rows = tx
            .fetch_all(Statement::new(statement.action, explain), args![])
            .await?;
        let steps = rows.iter().map(|row| row.text(0).unwrap()).collect();
        plans.push((statement.action, steps));
    }
    Ok(plans)
}

/// The steps of a plan that read a table, or an index from one end to the other. Organizations are few.
fn scans(steps: &[String]) -> Vec<&String> {
    let indent = |step: &str| step.len() - step.trim_start_matches([' ', '-', '>']).len();
    let read_all = |at: usize| {
        let step = &steps[at];
        let details = steps[at + 1..]
            .iter()
            .take_while(|below| indent(below) > indent(step));
        let mut own = details.take_while(|below| !below.trim_start().starts_with("->"));
        let of_index = step.contains("Index Scan") || step.contains("Index Only Scan");
        step.contains("Seq Scan on ") || (of_index && !own.any(|detail| detail.contains("Index Cond:")))
    };
    (0..steps.len())
        .filter(|at| read_all(*at) && !steps[*at].contains(" on organization"))
        .map(|at| &steps[at])
        .collect()
}

/// G2: where there is much, everything on the pull path finds its rows by an index. The planner knows the tables, and
/// nothing of what is asked for.
pub(super) async fn no_table_is_scanned_where_it_is_large(db: Fixture) {
    scale::store(&db, i64::from(super::fixture::cases(20_000, 100_000))).await;
    for statement in [
        "INSERT INTO repository (organization_id, name) SELECT 1, 'r' || n FROM generate_series(2, 200) n",
        "UPDATE manifest SET repository_id = 1 + id % 200,
           released_at = CASE WHEN id % 10 = 0 THEN id END,
           subject = CASE WHEN id % 5 = 0 THEN 'sha256:' || md5(id::text) END",
        "UPDATE manifest_blob SET repository_id = 1 + manifest_id % 200",
        "INSERT INTO manifest_child SELECT id, repository_id, 'sha256:' || md5(id::text) FROM manifest",
        "UPDATE tag SET repository_id = 1 + manifest_id % 200, current = manifest_id % 3 > 0",
        "UPDATE blob SET size = 10, storage_key = 'key/' || digest WHERE digest > 'sha256:f0000'",
        "ANALYZE",
    ] {
        db.run(statement, args![]).await;
    }
    let work = db
        .metadata
        .engine()
        .write((), |tx, ()| Box::pin(async move { plans(tx).await }));
    let plans: Result<_, MetadataError> = work.await;
    let large = ["manifest", "blob", "manifest_blob", "content", "tag"];
    let scans_large = |steps: &Vec<String>| {
        let scanned = scans(steps).into_iter();
        scanned
            .filter_map(|step| step.split_once(" on ")?.1.split(' ').next())
            .any(|table| large.contains(&table))
    };
    let scanning: Vec<_> = plans
        .unwrap()
        .into_iter()
        .filter(|(_, steps)| scans_large(steps))
        .collect();
    assert!(scanning.is_empty(), "{scanning:#?}");
}
