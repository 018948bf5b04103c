//! The conformance suite of the OCI distribution specification, its pull workflow.

use std::net::SocketAddr;

use crate::images::{Image, Index};
use crate::tools::{self, Outcome};

/// Which of its tests the suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything that only reads. The suite itself ends with a panic after it has printed its verdict.
    Everything,
    /// What reads the content that it is told about, and nothing else; ends with a status.
    ReadOnly,
}

/// How it went.
#[derive(Debug)]
pub struct Verdict {
    /// `Pass`, `FAIL`, or `Unknown` when nothing was tested.
    pub result: String,
    /// How many tests passed.
    pub passed: u32,
    /// How many tests failed or broke.
    pub failed: u32,
    /// What the suite wrote.
    pub outcome: Outcome,
}

/// Runs the suite against a repository `organization/name` that holds `index` under `tag`.
///
/// # Panics
/// If the suite is not installed, or its output is not understood.
pub async fn run(registry: SocketAddr, repository: &str, tag: &str, index: &Index, part: Part) -> Verdict {
    let home = tempfile::tempdir().expect("make a directory for the suite");
    let manifests: Vec<&str> = std::iter::once(index.digest())
        .chain(index.images.iter().map(Image::digest))
        .collect();
    let blobs: Vec<&str> = index
        .images
        .iter()
        .take(1)
        .flat_map(Image::blobs)
        .map(|blob| blob.digest.as_str())
        .collect();
    let mut command = tools::command(&tools::built("conformance"));
    command
        .env("OCI_REGISTRY", registry.to_string())
        .env("OCI_TLS", "disabled")
        .env("OCI_REPO1", repository)
        .env("OCI_USERNAME", "")
        .env("OCI_PASSWORD", "")
        .env("OCI_RO_DATA_TAGS", tag)
        .env("OCI_RO_DATA_MANIFESTS", manifests.join(" "))
        .env("OCI_RO_DATA_BLOBS", blobs.join(" "))
        .env("OCI_RO_DATA_REFERRERS", "")
        .env("OCI_RESULTS_DIR", home.path())
        .current_dir(home.path());
    for write in [
        "PUSH",
        "BLOBS_DELETE",
        "MANIFESTS_DELETE",
        "TAGS_DELETE",
        "BLOBS_MOUNT_ANONYMOUS",
        "REFERRER",
    ] {
        command.env(format!("OCI_API_{write}"), "false");
    }
    if part == Part::ReadOnly {
        command.env("OCI_FILTER_TEST", "OCI Conformance Test/read-only");
    }
    verdict(tools::run(command).await)
}

fn verdict(outcome: Outcome) -> Verdict {
    let result = value(&outcome.stdout, "OCI Conformance Result").unwrap_or_default();
    let [passed, failed, broken] = ["Pass", "FAIL", "Error"].map(|name| {
        let count = value(&outcome.stdout, &format!("  {name}.")).and_then(|count| count.parse().ok());
        count.unwrap_or_else(|| panic!("no count of {name} in what the suite wrote: {outcome}"))
    });
    let failed: u32 = failed;
    Verdict {
        result,
        passed,
        failed: failed + broken,
        outcome,
    }
}

/// What follows the colon of the line that begins with `start`.
fn value(text: &str, start: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(':').next().map(|value| value.trim().to_owned())
}
