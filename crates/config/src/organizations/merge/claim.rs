//! What an entry claims to be, and what was served for it before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Present;
use crate::organizations::{Entry, Organization};

/// What was served before the file.
pub(super) struct Served<'a> {
    before: &'a [Arc<Organization>],
    by_name: HashMap<&'a str, &'a Arc<Organization>>,
    by_identity: HashMap<(String, String), &'a Arc<Organization>>,
    /// Identities that an entry of the file states in full.
    stated: HashSet<(String, String)>,
}

impl<'a> Served<'a> {
    pub(super) fn new(before: &'a [Arc<Organization>], entries: &[Entry]) -> Self {
        let owned = |(id, upstream): (&str, &str)| (id.to_owned(), upstream.to_owned());
        Self {
            before,
            by_name: before.iter().map(|form| (form.name.as_str(), form)).collect(),
            by_identity: before
                .iter()
                .map(|form| {
                    let (id, upstream) = form.identity();
                    ((id.to_owned(), upstream), form)
                })
                .collect(),
            stated: entries
                .iter()
                .filter_map(|entry| Present::from(entry).identity().map(owned))
                .collect(),
        }
    }

    /// What is served under a name.
    pub(super) fn named(&self, name: &str) -> Option<&'a Arc<Organization>> {
        self.by_name.get(name).copied()
    }

    /// Whether this organization is served under this name.
    pub(super) fn has(&self, form: &Organization) -> bool {
        self.named(form.name.as_str())
            .is_some_and(|served| served.identity() == form.identity())
    }

    /// The form in which an entry was served last.
    ///
    /// An entry whose identity cannot be read in full is taken for one that fits, preferably of its own
    /// name, but never for one that another entry states to be.
    fn last_good(&self, entry: &Present) -> Option<Arc<Organization>> {
        if let Some((id, upstream)) = entry.identity() {
            return self
                .by_identity
                .get(&(id.to_owned(), upstream.to_owned()))
                .copied()
                .cloned();
        }
        let named = entry.name.as_deref().and_then(|name| self.named(name));
        let fits = |form: &&Arc<Organization>| {
            let (id, upstream) = form.identity();
            entry.covers_served(form) && !self.stated.contains(&(id.to_owned(), upstream))
        };
        named.into_iter().chain(self.before).find(fits).cloned()
    }
}

/// One entry and what may be served for it.
pub(super) struct Claim {
    pub(super) entry: Present,
    pub(super) last: Option<Arc<Organization>>,
    pub(super) stage: Stage,
    pub(super) reason: Option<String>,
    fresh: Option<Arc<Organization>>,
}

/// Which form of a claim stands. Claims only ever go down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The one in the file.
    Fresh,
    /// The last good one.
    Last,
    /// None: another claim stands for the same organization.
    Nothing,
}

impl Claim {
    pub(super) fn new(served: &Served<'_>, entry: Entry) -> Self {
        let present = Present::from(&entry);
        let last = served.last_good(&present);
        match entry {
            Entry::Good(form) => {
                let fresh = match &last {
                    Some(last) if **last == *form => Arc::clone(last),
                    _ => Arc::from(form),
                };
                Self {
                    entry: present,
                    last,
                    stage: Stage::Fresh,
                    reason: None,
                    fresh: Some(fresh),
                }
            }
            Entry::Bad(bad) => {
                let faults: Vec<String> = bad.faults.iter().map(ToString::to_string).collect();
                Self {
                    entry: present,
                    last,
                    stage: Stage::Last,
                    reason: Some(faults.join("; ")),
                    fresh: None,
                }
            }
        }
    }

    /// What would be served for it.
    pub(super) fn form(&self) -> Option<&Arc<Organization>> {
        match self.stage {
            Stage::Fresh => self.fresh.as_ref(),
            Stage::Last => self.last.as_ref(),
            Stage::Nothing => None,
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.stage == Stage::Fresh
    }

    /// Takes the form in the file back; the last good one stands, if there is one.
    pub(super) fn refuse(&mut self, reason: String) {
        self.stage = Stage::Last;
        self.reason.get_or_insert(reason);
    }

    /// Whether the whole identity is written in the entry and is that of `served`.
    pub(super) fn is_exactly(&self, served: &Organization) -> bool {
        self.entry.identity().is_some() && self.entry.covers_served(served)
    }
}
