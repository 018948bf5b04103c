//! Asking about an image, and the answer for people.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::prune::list;
use super::{RunningServer, ToolError};
use crate::human::{Age, Size};

impl RunningServer {
    /// What is known of an image and what its next pull would do: the document of `docs/tools.md`.
    pub async fn why(&self, image: &str, login: Option<&str>) -> Result<Value, ToolError> {
        let query = [("image", image), ("as", login.unwrap_or_default())];
        self.look("why", &query).await
    }
}

/// An explanation in sentences: a subject at the left, what is said of it at the right.
pub fn explanation_in_words(explanation: &Value) -> String {
    let mut words = Words {
        text: String::new(),
        now: &explanation["at"],
    };
    let _ = writeln!(words.text, "{}", text_of(&explanation["image"]));
    words.organization(&explanation["organization"]);
    words.upstream(&explanation["upstream"]);
    words.access(&explanation["access"]);
    if explanation["organization"]["standing"] == "served" {
        words.cached(&explanation["cached"]);
    }
    let (get, head) = (&explanation["next"]["get"], &explanation["next"]["head"]);
    words.next("next GET", get);
    if !alike(get, head, &["upstream", "status", "cache"]) {
        words.next("next HEAD", head);
    } else if alike(get, head, &["renews"]) {
        words.say("next HEAD", "the same");
    } else {
        words.say(
            "next HEAD",
            "the same, but what has not moved does not live on (M11)",
        );
    }
    words.text
}

/// Whether a HEAD ends as a GET does, as far as these fields say.
fn alike(get: &Value, head: &Value, fields: &[&str]) -> bool {
    let ends = |next: &Value| -> Vec<Value> {
        let outcomes = next["outcomes"].as_array().into_iter().flatten();
        let fields = outcomes.flat_map(|outcome| fields.iter().map(|field| outcome[field].clone()));
        fields.collect()
    };
    ends(get) == ends(head)
}

struct Words<'a> {
    text: String,
    /// The moment of the answer.
    now: &'a Value,
}

impl Words<'_> {
    fn say(&mut self, subject: &str, words: &str) {
        let _ = writeln!(self.text, "{subject:<13} {words}");
    }

    fn organization(&mut self, organization: &Value) {
        let name = text_of(&organization["name"]);
        let standing = match organization["standing"].as_str() {
            Some("served") => {
                let usage = size(&organization["usageBytes"]);
                let usage = match &organization["quotaBytes"] {
                    Value::Null => format!("{usage} used, no quota"),
                    quota => format!("{usage} of {} used", size(quota)),
                };
                format!("served, {}; {usage}", text_of(&organization["visibility"]))
            }
            Some("notServed") => "not served: its entry is bad, the log says why (C3)".to_owned(),
            _ => "unknown: the organizations file does not have it".to_owned(),
        };
        self.say("organization", &format!("{name}: {standing}"));
    }

    fn upstream(&mut self, upstream: &Value) {
        if upstream.is_null() {
            return;
        }
        let rules: Vec<_> = upstream["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text_of)
            .collect();
        let (host, repository) = (text_of(&upstream["host"]), text_of(&upstream["repository"]));
        self.say("upstream", &format!("{host}/{repository} ({})", rules.join(", ")));
    }

    fn access(&mut self, access: &Value) {
        let (reason, rule) = (text_of(&access["reason"]), text_of(&access["rule"]));
        let refused = match access["status"].as_u64() {
            Some(status) if status != 200 => format!(": {status}"),
            _ => String::new(),
        };
        self.say("access", &format!("{reason}{refused} ({rule})"));
        if let Some(status) = access["elsewhere"]["status"].as_u64() {
            self.say("", &format!("from everywhere else: {status} (A4)"));
        }
    }

    fn cached(&mut self, cached: &Value) {
        if cached.is_null() {
            return self.say("cached", "nothing");
        }
        let kind = match &cached["artifactType"] {
            Value::Null => text_of(&cached["kind"]),
            artifact => format!("{} of type {}", text_of(&cached["kind"]), text_of(artifact)),
        };
        let standing = match cached["standing"].as_str() {
            Some("released") => "released: held by nothing, collected soon",
            Some("dead") => "held, but by nothing live",
            _ => "live",
        };
        let (digest, media_type) = (text_of(&cached["digest"]), text_of(&cached["mediaType"]));
        self.say("cached", &digest);
        self.say("", &format!("{media_type}, {kind}, {standing}"));
        for holder in cached["holders"].as_array().into_iter().flatten() {
            let words = self.holder(holder);
            self.say("", &words);
        }
        for digest in cached["heldThrough"].as_array().into_iter().flatten() {
            self.say("", &format!("held through {}", text_of(digest)));
        }
        let (alone, shared) = (size(&cached["aloneBytes"]), size(&cached["sharedBytes"]));
        self.say("", &format!("{alone} alone, {shared} shared with others"));
        self.completeness(cached);
    }

    fn holder(&self, holder: &Value) -> String {
        let name = match &holder["tag"] {
            Value::Null => "digest pin".to_owned(),
            tag => format!("tag {}", text_of(tag)),
        };
        let ends = match (&holder["endsAt"], millis(&holder["endsAt"]), millis(self.now)) {
            (Value::Null, ..) => "lives for ever".to_owned(),
            (end, Some(at), Some(now)) if at > now => {
                format!("live until {} (in {})", text_of(end), ago(self.now, end))
            }
            (end, ..) => format!("dead since {} ({} ago)", text_of(end), ago(end, self.now)),
        };
        let replaced = if holder["current"] == false {
            ", replaced"
        } else {
            ""
        };
        let unconfirmed = if holder["unconfirmed"] == true {
            ", unconfirmed"
        } else {
            ""
        };
        let used = format!(", last used {} ago", ago(&holder["lastUsedAt"], self.now));
        let checked = match &holder["lastCheckedAt"] {
            Value::Null => String::new(),
            at => format!(", last confirmed {} ago", ago(at, self.now)),
        };
        format!("{name}: {ends}{replaced}{unconfirmed}{used}{checked}")
    }

    fn completeness(&mut self, cached: &Value) {
        if cached["complete"] == true {
            self.say("", "complete");
        }
        let missing = cached["missing"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for blob in missing {
            let why = if blob["reason"] == "unproven" {
                "is stored, but the upstream has not delivered it to this organization yet (B9)"
            } else {
                "is missing"
            };
            let (digest, size) = (text_of(&blob["digest"]), size(&blob["bytes"]));
            self.say("", &format!("blob {digest}, {size}, {why}"));
        }
        for child in cached["children"].as_array().into_iter().flatten() {
            let state = match (&child["stored"], child["missingBlobs"].as_u64()) {
                (Value::Bool(true), Some(0)) => "stored".to_owned(),
                (Value::Bool(true), Some(count)) => format!("stored, {count} blobs are missing"),
                _ => "not stored".to_owned(),
            };
            let platform = child["platform"].as_str().map(|name| format!(" {name}"));
            let digest = text_of(&child["digest"]);
            self.say(
                "",
                &format!("child{} {digest}: {state}", platform.unwrap_or_default()),
            );
        }
    }

    fn next(&mut self, subject: &str, next: &Value) {
        let (reason, rule) = (text_of(&next["reason"]), text_of(&next["rule"]));
        let step = match next["step"].as_str() {
            Some("serve" | "takeBack") => "is served from storage",
            Some("revalidate") => "asks upstream whether it has moved",
            Some("fetch") => "asks upstream for the manifest",
            Some("notFound") => "is not to be had",
            Some("refuse") => "is refused",
            _ => "is denied",
        };
        self.say(subject, &format!("{step}: {reason} ({rule})"));
        let outcomes = next["outcomes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut told = 0;
        while let Some(outcome) = outcomes.get(told) {
            // What ends alike is said once.
            let alike = outcomes[told..]
                .iter()
                .take_while(|other| end(other) == end(outcome))
                .count();
            let said: Vec<_> = outcomes[told..told + alike]
                .iter()
                .map(upstream_in_words)
                .collect();
            self.say("", &format!("{}{}", said.join(", "), end(outcome)));
            self.room(&outcome["room"]);
            told += alike;
        }
    }

    fn room(&mut self, room: &Value) {
        if room.is_null() {
            return;
        }
        let free = size(&room["freeBytes"]);
        let prunes = room["prunes"].as_array();
        match (&room["neededBytes"], prunes) {
            (Value::Null, _) => self.say(
                "",
                &format!(
                    "  how much it adds is known once the manifest is there: {free} fit as it is (Q3), more prunes (Q5)"
                ),
            ),
            (needed, None) => self.say("", &format!("  it needs {}, and {free} are free", size(needed))),
            (needed, Some(images)) if images.is_empty() => {
                self.say("", &format!("  it needs {}, and {free} are free: nothing is pruned", size(needed)));
            }
            (needed, Some(images)) => {
                self.say("", &format!("  it needs {}, and {free} are free; these go for it", size(needed)));
                let indent = format!("{:<13}     ", "");
                list(&mut self.text, &indent, images, self.now);
            }
        }
    }
}

fn upstream_in_words(outcome: &Value) -> &'static str {
    match outcome["upstream"].as_str() {
        Some("notAsked") => "upstream is not asked",
        Some("same") => "it has not moved",
        Some("changed") => "it has moved",
        Some("delivers") => "upstream has it",
        Some("tooMuch") => "what upstream has does not fit",
        Some("missing") => "upstream has no such image",
        Some("refused") => "upstream refuses",
        Some("rateLimited") => "upstream limits the rate",
        Some("unreachable") => "upstream is away",
        Some("timeout") => "upstream is too slow",
        _ => "upstream makes no sense",
    }
}

/// How a pull ends, as far as it is the same for more than one answer of upstream.
fn end(outcome: &Value) -> String {
    let cache = outcome["cache"].as_str().map(|cache| format!(" {cache}"));
    let renews = if outcome["renews"] == true {
        ", lives on"
    } else {
        ""
    };
    format!(
        ": {}{}{renews} ({})",
        outcome["status"],
        cache.unwrap_or_default(),
        text_of(&outcome["rule"])
    )
}

/// An image that goes, by its first tag.
pub(super) fn image_of(image: &Value) -> String {
    let repository = text_of(&image["repository"]);
    let mut tags = image["tags"].as_array().into_iter().flatten().map(text_of);
    let Some(first) = tags.next() else {
        return format!("{repository}@{}", text_of(&image["digest"]));
    };
    let others: Vec<_> = tags.collect();
    if others.is_empty() {
        format!("{repository}:{first}")
    } else {
        format!("{repository}:{first} (also {})", others.join(", "))
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

pub(super) fn size(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string())
}

fn millis(time: &Value) -> Option<i64> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// How long lies between two moments.
pub(super) fn ago(then: &Value, now: &Value) -> String {
    match (millis(then), millis(now)) {
        (Some(then), Some(now)) => Age::of(then, now).to_string(),
        _ => "?".to_owned(),
    }
}
