//! What is served after a file, given what was served before (C3, G5).

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use quayside_config::Fault;
use quayside_config::organizations::{BadEntry, Entry, File, Merged, Organization, merge, parse};

/// `name/id/upstream/revision`, as an organization.
fn organization(text: &str) -> Organization {
    let [name, id, upstream, revision]: [&str; 4] = text
        .split('/')
        .collect::<Vec<_>>()
        .try_into()
        .expect("four parts");
    let text = format!(
        "organizations: [ {{ name: {name}, id: {id}, remoteRegistry: {upstream}.example, revision: {revision} }} ]"
    );
    match parse(text.as_bytes()).expect("file").entries.remove(0) {
        Entry::Good(organization) => *organization,
        Entry::Bad(bad) => panic!("{bad:?}"),
    }
}

fn shown(organization: &Organization) -> String {
    let (id, upstream) = organization.identity();
    let upstream = upstream.trim_end_matches(".example");
    format!("{}/{id}/{upstream}/{}", organization.name, organization.revision)
}

/// `name/id/upstream/revision` is a good entry; `!name/id/upstream` a bad one, `-` for what cannot be read.
fn entry(text: &str) -> Entry {
    let Some(bad) = text.strip_prefix('!') else {
        return Entry::Good(Box::new(organization(text)));
    };
    let part = |index: usize| {
        bad.split('/')
            .nth(index)
            .filter(|part| *part != "-")
            .map(ToOwned::to_owned)
    };
    Entry::Bad(BadEntry {
        name: part(0),
        id: part(1),
        upstream: part(2).map(|upstream| format!("{upstream}.example")),
        faults: vec![Fault {
            path: "organizations[0].visibility".to_owned(),
            message: "is wrong".to_owned(),
        }],
    })
}

fn file(entries: &[&str]) -> File {
    File {
        entries: entries.iter().map(|text| entry(text)).collect(),
        allow_empty: false,
        warnings: Vec::new(),
    }
}

fn served(entries: &[&str]) -> Vec<Arc<Organization>> {
    entries.iter().map(|text| Arc::new(organization(text))).collect()
}

fn names(merged: &Merged) -> Vec<String> {
    merged.serve.iter().map(|form| shown(form)).collect()
}

struct Case {
    rule: &'static str,
    before: &'static [&'static str],
    file: &'static [&'static str],
    serve: &'static [&'static str],
    /// The places of the refused entries, and whether their last good form is served instead.
    refused: &'static [(usize, bool)],
}

const CASES: &[Case] = &[
    Case {
        rule: "the first file is served in its order",
        before: &[],
        file: &["b/B/up/1", "a/A/up/1"],
        serve: &["b/B/up/1", "a/A/up/1"],
        refused: &[],
    },
    Case {
        rule: "an entry that is absent is not served",
        before: &["a/A/up/1", "b/B/up/1"],
        file: &["b/B/up/1"],
        serve: &["b/B/up/1"],
        refused: &[],
    },
    Case {
        rule: "a changed entry is served in its new form",
        before: &["a/A/up/1"],
        file: &["a/A/up/2"],
        serve: &["a/A/up/2"],
        refused: &[],
    },
    Case {
        rule: "another id or another upstream under a name takes its place",
        before: &["a/A/up/1", "b/B/up/1"],
        file: &["a/X/up/1", "b/B/other/1"],
        serve: &["a/X/up/1", "b/B/other/1"],
        refused: &[],
    },
    Case {
        rule: "an organization may change its name, also with another",
        before: &["a/A/up/1", "b/B/up/1", "c/C/up/1"],
        file: &["b/A/up/2", "a/B/up/2", "d/C/up/2"],
        serve: &["b/A/up/2", "a/B/up/2", "d/C/up/2"],
        refused: &[],
    },
    Case {
        rule: "a bad entry keeps its own last good form",
        before: &["a/A/up/1", "b/B/up/1"],
        file: &["!a/A/up", "b/B/up/2"],
        serve: &["a/A/up/1", "b/B/up/2"],
        refused: &[(0, true)],
    },
    Case {
        rule: "a bad entry without a last good form is not served",
        before: &[],
        file: &["!a/A/up", "b/B/up/2"],
        serve: &["b/B/up/2"],
        refused: &[(0, false)],
    },
    Case {
        rule: "a bad entry is known by its id, by its name where the id cannot be read",
        before: &["a/A/up/1", "b/B/up/1", "c/C/up/1"],
        file: &["!-/A/-", "!b/-/-", "!z/C/up"],
        serve: &["a/A/up/1", "b/B/up/1", "c/C/up/1"],
        refused: &[(0, true), (1, true), (2, true)],
    },
    Case {
        rule: "a bad entry with another identity does not keep what is served under its name",
        before: &["a/A/up/1", "b/B/up/1"],
        file: &["!a/X/-", "!b/B/other"],
        serve: &[],
        refused: &[(0, false), (1, false)],
    },
    Case {
        rule: "of two entries with one name the served identity is taken with its new fields",
        before: &["a/A/up/1"],
        file: &["a/X/up/1", "a/A/up/2"],
        serve: &["a/A/up/2"],
        refused: &[(0, false)],
    },
    Case {
        rule: "of two entries with one name, the bad one with the served identity keeps its form",
        before: &["a/A/up/1"],
        file: &["a/X/up/1", "!a/A/up"],
        serve: &["a/A/up/1"],
        refused: &[(0, false), (1, true)],
    },
    Case {
        rule: "a bad namesake does not keep the served identity from its new fields",
        before: &["a/A/up/1"],
        file: &["!a/X/up", "a/A/up/2", "!a/-/-"],
        serve: &["a/A/up/2"],
        refused: &[(0, false), (2, false)],
    },
    Case {
        rule: "of two entries with one name and no served identity neither is served",
        before: &["a/A/up/1"],
        file: &["a/X/up/1", "a/Y/up/2", "b/B/up/1"],
        serve: &["b/B/up/1"],
        refused: &[(0, false), (1, false)],
    },
    Case {
        rule: "a new entry beside a bad namesake is not served",
        before: &[],
        file: &["a/A/up/1", "!a/X/up"],
        serve: &[],
        refused: &[(0, false), (1, false)],
    },
    Case {
        rule: "the served identity written twice keeps its last good form",
        before: &["a/A/up/1"],
        file: &["a/A/up/2", "a/A/up/3"],
        serve: &["a/A/up/1"],
        refused: &[(0, true), (1, true)],
    },
    Case {
        rule: "a refused namesake that is served under another name goes on there",
        before: &["a/A/up/1", "b/B/up/1"],
        file: &["a/A/up/2", "a/B/up/2"],
        serve: &["a/A/up/2", "b/B/up/1"],
        refused: &[(1, true)],
    },
    Case {
        rule: "of two names for one identity the served one is taken",
        before: &["a/A/up/1"],
        file: &["b/A/up/2", "a/A/up/3"],
        serve: &["a/A/up/3"],
        refused: &[(0, false)],
    },
    Case {
        rule: "of two new names for one identity neither is taken",
        before: &["c/A/up/1"],
        file: &["a/A/up/2", "b/A/up/2", "d/A/other/1"],
        serve: &["c/A/up/1", "d/A/other/1"],
        refused: &[(0, true), (1, true)],
    },
    Case {
        rule: "a bad entry that can be read in part is not taken for one that another entry states to be",
        before: &["a/C/other/1", "c/C/up/1"],
        file: &["a/C/other/1", "!-/C/-"],
        serve: &["a/C/other/1", "c/C/up/1"],
        refused: &[(1, true)],
    },
    Case {
        rule: "a name under which a bad entry goes on is not free",
        before: &["a/A/up/1", "b/B/up/1"],
        file: &["!-/A/up", "a/B/up/2"],
        serve: &["a/A/up/1", "b/B/up/1"],
        refused: &[(0, true), (1, true)],
    },
];

/// C3, G5: the whole of `merge` as a table.
#[test]
fn serves_what_the_rules_say() {
    for Case {
        rule,
        before,
        file: entries,
        serve,
        refused,
    } in CASES
    {
        let merged = merge(&served(before), file(entries));
        assert_eq!(names(&merged), *serve, "{rule}");
        let found: Vec<(usize, bool)> = merged
            .refused
            .iter()
            .map(|refused| (refused.index, refused.kept.is_some()))
            .collect();
        assert_eq!(found, *refused, "{rule}");
        assert!(
            merged.refused.iter().all(|refused| !refused.reason.is_empty()),
            "{rule}"
        );
    }
}

/// C3: a reload that changes nothing hands the same organizations on.
#[test]
fn keeps_what_did_not_change() {
    let before = served(&["a/A/up/1", "b/B/up/1"]);
    let merged = merge(&before, file(&["b/B/up/1", "a/A/up/1"]));
    assert!(Arc::ptr_eq(&merged.serve[0], &before[1]) && Arc::ptr_eq(&merged.serve[1], &before[0]));
}

/// G5: what is in the file is not absent, whether it can be served or not.
#[test]
fn refused_entries_are_present() {
    let merged = merge(
        &[],
        file(&["!a/A/up", "!b/B/-", "!c/-/-", "d/D/up/1", "d/E/up/1"]),
    );
    let covers = |name: &str, id: &str, upstream: &str| {
        merged
            .present
            .iter()
            .any(|present| present.covers(name, id, upstream))
    };
    assert!(
        covers("a", "A", "up.example")
            && !covers("a", "A", "other.example")
            && !covers("a", "X", "up.example")
    );
    assert!(covers("renamed", "B", "any.example"));
    assert!(covers("c", "any", "any.example") && !covers("x", "any", "any.example"));
    assert!(covers("d", "D", "up.example") && covers("d", "E", "up.example"));
}

/// C3: the reason of a refusal names the path and the fault.
#[test]
fn says_why_an_entry_is_refused() {
    let merged = merge(&[], file(&["!a/A/up", "b/B/up/1", "b/C/up/1"]));
    let reasons: Vec<&str> = merged
        .refused
        .iter()
        .map(|refused| refused.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "organizations[0].visibility: is wrong",
            "2 entries have the name b",
            "2 entries have the name b"
        ]
    );
}

fn any_entry() -> impl Strategy<Value = String> {
    let good = ("[abc]", "[ABC]", "(up|other)", 1..4_u8)
        .prop_map(|(name, id, upstream, revision)| format!("{name}/{id}/{upstream}/{revision}"));
    let bad = ("[abc-]", "[ABC-]", "(up|other|-)")
        .prop_map(|(name, id, upstream)| format!("!{name}/{id}/{upstream}"));
    prop_oneof![2 => good, 1 => bad]
}

fn any_file() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(any_entry(), 0..6)
}

fn apply(before: &[Arc<Organization>], entries: &[String]) -> Merged {
    merge(
        before,
        file(&entries.iter().map(String::as_str).collect::<Vec<_>>()),
    )
}

proptest! {
    /// C3, G5: names and identities stay unique, nothing is invented, nothing in the file is absent, and the
    /// same file again changes nothing.
    #[test]
    fn holds_its_promises_for_any_history(history in proptest::collection::vec(any_file(), 1..4)) {
        let mut before: Vec<Arc<Organization>> = Vec::new();
        for entries in &history {
            let merged = apply(&before, entries);
            let unique_names: BTreeSet<_> = merged.serve.iter().map(|form| form.name.as_str()).collect();
            let unique: BTreeSet<_> = merged.serve.iter().map(|form| form.identity()).collect();
            prop_assert_eq!(unique_names.len(), merged.serve.len());
            prop_assert_eq!(unique.len(), merged.serve.len());
            for form in &merged.serve {
                prop_assert!(entries.contains(&shown(form)) || before.iter().any(|old| Arc::ptr_eq(old, form)));
            }
            for (index, text) in entries.iter().enumerate() {
                let refused = merged.refused.iter().any(|refused| refused.index == index);
                prop_assert!(refused || merged.serve.iter().any(|form| shown(form) == *text));
            }
            for old in &before {
                let named = entries.iter().any(|text| match entry(text) {
                    Entry::Good(form) => form.identity() == old.identity(),
                    Entry::Bad(_) => false,
                });
                let (id, upstream) = old.identity();
                prop_assert!(
                    !named
                        || merged.serve.iter().any(|form| form.identity() == old.identity())
                        || merged.present.iter().any(|present| present.covers(old.name.as_str(), id, &upstream))
                );
            }
            prop_assert_eq!(merged.present.len(), merged.refused.len());
            prop_assert_eq!(names(&apply(&merged.serve, entries)), names(&merged));
            before = merged.serve;
        }
    }

    /// C3: an entry's fate does not depend on its place.
    #[test]
    fn the_order_of_entries_does_not_matter(first in any_file(), second in any_file()) {
        let before = apply(&[], &first).serve;
        let reversed: Vec<String> = second.iter().rev().cloned().collect();
        let forwards: BTreeSet<String> = names(&apply(&before, &second)).into_iter().collect();
        let backwards: BTreeSet<String> = names(&apply(&before, &reversed)).into_iter().collect();
        prop_assert_eq!(forwards, backwards);
    }

    /// C3: a good entry whose name and identity nobody else has is served whatever the others are.
    #[test]
    fn good_entries_are_served_beside_any_others(first in any_file(), second in any_file()) {
        let before = apply(&[], &first).serve;
        let entries: Vec<String> = second.into_iter().chain(["z/Z/up/9".to_owned()]).collect();
        prop_assert!(names(&apply(&before, &entries)).contains(&"z/Z/up/9".to_owned()));
    }
}
