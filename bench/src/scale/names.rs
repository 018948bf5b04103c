//! What is measured at each size.

use crate::report::Unit;

/// On whose time something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Of somebody who waits for an answer: must not grow.
    Request,
    /// The same, of the slowest of a hundred: told, and not judged, because the machine decides it.
    Tail,
    /// Of a worker: must not grow with what lives.
    Worker,
    /// Of the start, and what the process holds: may grow a little.
    Process,
    /// Of a tool that reads everything: grows.
    Tool,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) path: Path,
}

const fn metric(name: &'static str, title: &'static str, unit: Unit, path: Path) -> Metric {
    Metric {
        name,
        title,
        unit,
        path,
    }
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $title:literal, $unit:ident, $path:ident;)*) => {
        $(pub(crate) const $constant: Metric = metric($name, $title, Unit::$unit, Path::$path);)*
        /// All of them, in the order of the table.
        pub(crate) const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    TAG_FIRST = "scale.tag.first", "pull by tag, not in memory", Milliseconds, Request;
    TAG_FIRST_P99 = "scale.tag.first.p99", "… 99 of 100", Milliseconds, Tail;
    TAG_WARM = "scale.tag.warm", "pull by tag, in memory", Milliseconds, Request;
    TAG_WARM_P99 = "scale.tag.warm.p99", "… 99 of 100", Milliseconds, Tail;
    DIGEST_FIRST = "scale.digest.first", "pull by digest, not in memory", Milliseconds, Request;
    DIGEST_FIRST_P99 = "scale.digest.first.p99", "… 99 of 100", Milliseconds, Tail;
    DIGEST_WARM = "scale.digest.warm", "pull by digest, in memory", Milliseconds, Request;
    DIGEST_WARM_P99 = "scale.digest.warm.p99", "… 99 of 100", Milliseconds, Tail;
    BLOB_FIRST = "scale.blob.first", "small blob, not in memory", Milliseconds, Request;
    BLOB_FIRST_P99 = "scale.blob.first.p99", "… 99 of 100", Milliseconds, Tail;
    ADMISSION = "scale.admission", "pull of a new image", Milliseconds, Request;
    PLAN_SMALL = "scale.plan.small", "the same over quota, one image goes for it", Milliseconds, Request;
    PLAN_LARGE = "scale.plan.large", "the same over quota, dozens go for it", Milliseconds, Request;
    ROWS_SMALL = "scale.plan.small.rows", "rows read to plan for one image", Count, Request;
    ROWS_LARGE = "scale.plan.large.rows", "rows read to plan for dozens", Count, Request;
    TAGS_FIRST = "scale.tags.first", "first page of 100 tags", Milliseconds, Request;
    TAGS_MIDDLE = "scale.tags.middle", "page in the middle", Milliseconds, Request;
    CATALOG_FIRST = "scale.catalog.first", "first page of 100 repositories", Milliseconds, Request;
    CATALOG_MIDDLE = "scale.catalog.middle", "page of repositories of 40 organizations", Milliseconds, Request;
    GC_RELEASE = "scale.gc.release", "pass that releases 10 dead tags", Milliseconds, Worker;
    GC_COLLECT = "scale.gc.collect", "pass that collects them", Milliseconds, Worker;
    GC_DELETE = "scale.gc.delete", "pass that deletes what they left", Milliseconds, Worker;
    GC_IDLE = "scale.gc.idle", "pass that finds nothing", Milliseconds, Worker;
    START = "scale.start", "start until the first answer", Milliseconds, Process;
    IDLE = "scale.rss.idle", "memory after the start", Mebibytes, Process;
    BUSY = "scale.rss.busy", "memory after all pulls", Mebibytes, Process;
    DATABASE = "scale.database", "database file", Mebibytes, Tool;
    DRY_RUN = "scale.tool.gc_dry_run", "`gc --dry-run`", Milliseconds, Tool;
    RECOUNT = "scale.tool.recount", "`recount`", Milliseconds, Tool;
}
