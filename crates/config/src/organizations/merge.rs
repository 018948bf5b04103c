//! What is served after a file, given what was served before it (C3, G5). Pure.

mod claim;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::claim::{Claim, Served, Stage};
use super::{BadEntry, Entry, File, Organization};

/// What follows from a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// What is served from now on, in the order of the file; names and identities are unique. An
    /// organization that did not change is the same `Arc` as before.
    pub serve: Vec<Arc<Organization>>,
    /// Entries that are in the file but not served in the form that they have there: not absent (G5).
    pub present: Vec<Present>,
    /// Why: an item for each of `present`, in the same order.
    pub refused: Vec<Refused>,
}

/// An entry by what can be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The name, when there is one.
    pub name: Option<String>,
    /// The id, when it can be read.
    pub id: Option<String>,
    /// The upstream's identity, when it can be read.
    pub upstream: Option<String>,
}

impl From<&Entry> for Present {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Good(form) => {
                let (id, upstream) = form.identity();
                Self {
                    name: Some(form.name.to_string()),
                    id: Some(id.to_owned()),
                    upstream: Some(upstream),
                }
            }
            Entry::Bad(BadEntry {
                name,
                id,
                upstream,
                faults: _,
            }) => Self {
                name: name.clone(),
                id: id.clone(),
                upstream: upstream.clone(),
            },
        }
    }
}

impl Present {
    /// Whether this may be the organization `id` of `upstream` (an identity) that is known as `name`.
    pub fn covers(&self, name: &str, id: &str, upstream: &str) -> bool {
        let same = match &self.id {
            Some(own) => own == id,
            None => self.name.as_deref() == Some(name),
        };
        same && self.upstream.as_deref().is_none_or(|own| own == upstream)
    }

    /// The whole identity, when it can be read.
    fn identity(&self) -> Option<(&str, &str)> {
        Some((self.id.as_deref()?, self.upstream.as_deref()?))
    }

    fn covers_served(&self, served: &Organization) -> bool {
        let (id, upstream) = served.identity();
        self.covers(served.name.as_str(), id, &upstream)
    }
}

/// An entry that is not served in the form that it has in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its place in the file's list, from 0.
    pub index: usize,
    /// The name, when there is one.
    pub name: Option<String>,
    /// The id, when it can be read.
    pub id: Option<String>,
    /// Why, for a person.
    pub reason: String,
    /// Its last good form, when that is served instead.
    pub kept: Option<Arc<Organization>>,
}

/// Decides what is served after `file`.
///
/// An entry with a fault, or with a name or an identity that another entry has too, goes on in its own last
/// good form, or is not served if it has none. Of several entries with one name, the one that is served
/// under it already is taken with its new fields.
pub fn merge(before: &[Arc<Organization>], file: File) -> Merged {
    let served = Served::new(before, &file.entries);
    let mut claims: Vec<Claim> = file
        .entries
        .into_iter()
        .map(|entry| Claim::new(&served, entry))
        .collect();
    settle_written_names(&served, &mut claims);
    while settle_forms(&served, &mut claims) == Settled::Changed {}
    let serve: Vec<_> = claims.iter().filter_map(|claim| claim.form().cloned()).collect();
    let mut merged = Merged {
        serve,
        ..Merged::default()
    };
    for (index, claim) in claims.into_iter().enumerate() {
        let Some(reason) = claim.reason else { continue };
        let kept = claim
            .last
            .filter(|last| merged.serve.iter().any(|form| Arc::ptr_eq(form, last)));
        let Present { name, id, .. } = claim.entry.clone();
        merged.refused.push(Refused {
            index,
            name,
            id,
            reason,
            kept,
        });
        merged.present.push(claim.entry);
    }
    merged
}

#[derive(PartialEq, Eq)]
enum Settled {
    Unchanged,
    Changed,
}

/// Of the entries with one name, bad ones included, lets at most the one with the served identity stand.
fn settle_written_names(served: &Served<'_>, claims: &mut [Claim]) {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, claim) in claims.iter().enumerate() {
        if let Some(name) = &claim.entry.name {
            by_name.entry(name.clone()).or_default().push(index);
        }
    }
    for (name, indices) in by_name.into_iter().filter(|(_, indices)| indices.len() > 1) {
        let exact: Vec<usize> = match served.named(&name) {
            Some(form) => indices
                .iter()
                .copied()
                .filter(|index| claims[*index].is_exactly(form))
                .collect(),
            None => Vec::new(),
        };
        let winner = if let [one] = exact[..] { Some(one) } else { None };
        for index in indices.iter().copied().filter(|index| Some(*index) != winner) {
            claims[index].refuse(format!("{} entries have the name {name}", indices.len()));
        }
    }
}

/// Finds forms that cannot be served beside each other and takes back those that have to yield.
///
/// Only a fresh form is ever refused here: last good ones were served together before.
fn settle_forms(served: &Served<'_>, claims: &mut [Claim]) -> Settled {
    let mut settled = Settled::Unchanged;
    let mut by_key: BTreeMap<(u8, String, String), Vec<usize>> = BTreeMap::new();
    for (index, claim) in claims.iter().enumerate() {
        if let Some(form) = claim.form() {
            let (id, upstream) = form.identity();
            by_key
                .entry((0, form.name.to_string(), String::new()))
                .or_default()
                .push(index);
            by_key
                .entry((1, id.to_owned(), upstream))
                .or_default()
                .push(index);
        }
    }
    for indices in by_key.into_values().filter(|indices| indices.len() > 1) {
        let standing = |index: &usize| claims[*index].form().is_some_and(|form| served.has(form));
        let (stand, yields): (Vec<usize>, Vec<usize>) = indices.into_iter().partition(standing);
        // One organization claimed twice: the form in the file is newer than the last good one.
        let keeper = stand
            .iter()
            .copied()
            .find(|index| claims[*index].is_fresh())
            .or(stand.first().copied());
        for index in stand.into_iter().filter(|index| Some(*index) != keeper) {
            claims[index].stage = Stage::Nothing;
            settled = Settled::Changed;
        }
        for index in yields {
            if claims[index].is_fresh() {
                claims[index].refuse(
                    "another entry has the same id and upstream, or is served under the name".to_owned(),
                );
                settled = Settled::Changed;
            }
        }
    }
    settled
}
