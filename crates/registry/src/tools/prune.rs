//! Asking what would be pruned, and the answer for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::why::{ago, image_of, size};
use super::{RunningServer, ToolError};

impl RunningServer {
    /// What would go to make room for so many bytes: the document of `docs/tools.md`.
    pub async fn plan_prune(&self, organization: &str, bytes: u64) -> Result<Value, ToolError> {
        let bytes = bytes.to_string();
        let query = [("organization", organization), ("bytes", &bytes)];
        self.look("prune", &query).await
    }
}

/// A plan in sentences.
pub fn plan_in_words(plan: &Value) -> String {
    let mut text = String::new();
    let (organization, usage) = (
        plan["organization"].as_str().unwrap_or("?"),
        size(&plan["usageBytes"]),
    );
    let _ = match &plan["quotaBytes"] {
        Value::Null => writeln!(text, "{organization} uses {usage}, and has no quota"),
        quota => writeln!(text, "{organization} uses {usage} of {}", size(quota)),
    };
    let (asked, rule) = (size(&plan["bytes"]), plan["rule"].as_str().unwrap_or("?"));
    let images = plan["prunes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if images.is_empty() {
        let _ = writeln!(
            text,
            "{asked} more: {} ({rule})",
            plan["reason"].as_str().unwrap_or("?")
        );
        return text;
    }
    let _ = writeln!(
        text,
        "{asked} more: {} are missing; these go, in this order ({rule})",
        size(&plan["shortfallBytes"])
    );
    list(&mut text, "  ", images, &plan["at"]);
    let _ = writeln!(text, "that frees {}", size(&plan["freedBytes"]));
    text
}

/// One line for each image that goes.
pub(super) fn list(text: &mut String, indent: &str, images: &[Value], now: &Value) {
    for image in images {
        let why = match &image["diedAt"] {
            Value::Null => format!("last used {} ago", ago(&image["lastUsedAt"], now)),
            died => format!("dead for {}", ago(died, now)),
        };
        let freed = size(&image["freedBytes"]);
        let _ = writeln!(text, "{indent}{}, {why}, frees {freed}", image_of(image));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// O5: what goes, in which order, why, and what each frees.
    #[test]
    fn a_plan_is_told_in_its_order() {
        let image = |tags: &[&str], died: Option<&str>| {
            json!({
                "repository": "app", "digest": "sha256:aa", "tags": tags, "diedAt": died,
                "lastUsedAt": "2027-01-06T08:00:00Z", "freedBytes": 20_000_000,
            })
        };
        let plan = json!({
            "organization": "acme", "bytes": 41_000_000, "quotaBytes": 150_000_000, "usageBytes": 140_000_000,
            "shortfallBytes": 31_000_000, "suffices": true, "freedBytes": 40_000_000, "rule": "Q5",
            "reason": "these images would be pruned",
            "prunes": [image(&["1", "latest"], Some("2027-01-15T06:00:00Z")), image(&[], None)],
            "at": "2027-01-15T08:00:00Z",
        });
        assert_eq!(
            plan_in_words(&plan),
            "acme uses 140 MB of 150 MB\n\
             41 MB more: 31 MB are missing; these go, in this order (Q5)\n  \
             app:1 (also latest), dead for 2 h, frees 20 MB\n  \
             app@sha256:aa, last used 9 d ago, frees 20 MB\n\
             that frees 40 MB\n"
        );
    }

    /// O5, Q1, Q4, Q5: nothing goes where nothing has to, or nothing would help.
    #[test]
    fn a_plan_without_images_says_why() {
        let plan = json!({
            "organization": "acme", "bytes": 7, "quotaBytes": null, "usageBytes": 10, "rule": "Q1",
            "reason": "the organization has no quota", "prunes": [],
        });
        assert_eq!(
            plan_in_words(&plan),
            "acme uses 10 B, and has no quota\n7 B more: the organization has no quota (Q1)\n"
        );
    }
}
