//! Whether a tag is served, checked, fetched or refused: SPEC §2 as pure functions of what is cached, what
//! upstream said, the organization's policy and the time.

use quayside_config::organizations::FailurePolicy;

use super::{Contact, Method};
use crate::clock::Millis;

/// What is known of the current row of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) ends_at: Millis,
    /// When upstream last confirmed the tag, by check or fetch.
    pub(crate) checked_at: Millis,
}

impl Facts {
    pub(crate) fn is_live(&self, now: Millis) -> bool {
        self.ends_at > now
    }
}

/// What the organization asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) contact: Contact,
    /// `revalidateSeconds`, in milliseconds.
    pub(crate) revalidate: Millis,
    pub(crate) on_failure: FailurePolicy,
    /// The time machine, in milliseconds.
    pub(crate) window: Millis,
}

/// The step before upstream is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Live, and confirmed recently enough (M3) or not to be confirmed at all (C2).
    Serve,
    /// Ask upstream for the tag's digest.
    Check,
    /// Ask upstream for the manifest.
    Fetch,
    /// Not to be had: upstream must not be contacted (C2).
    Absent,
}

/// What upstream said of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The digest is the cached one.
    Same,
    /// Another digest.
    Changed,
    /// 404.
    Missing,
    /// 401 or 403 for this repository.
    Refused,
    /// Unreachable, timeout, 5xx, 429, or an answer that cannot be used; also a check that was skipped (M3).
    Outage,
    /// An answer that is wrong rather than absent, such as a body that is no manifest.
    Unusable,
}

/// The step after upstream was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Serve and move the end time (M3).
    Renew,
    /// Serve; the end time stays (M11).
    Touch,
    /// Bring the dead row back to life (M5).
    Revive,
    /// Answer, mark the dead row resolved (M11).
    Resolve,
    /// Get the manifest that the tag points at now (M4, M5).
    Fetch,
    /// Serve what is cached, with a warning; the end time stays (M6).
    Stale,
    /// Serve a dead tag that is still in its Window, with a warning (M8, `ServeStored`).
    Stored,
    /// 403, whatever is cached (M7).
    Refuse,
    /// The true reason reaches the client (M8).
    Fail,
}

/// What to do with a request for a tag before upstream is asked.
pub(crate) fn open(cached: Option<&Facts>, policy: &Policy, now: Millis) -> Opening {
    let live = cached.filter(|facts| facts.is_live(now));
    match (policy.contact, live, cached) {
        (Contact::Never, Some(_), _) => Opening::Serve,
        (Contact::Never, None, _) => Opening::Absent,
        (Contact::Allowed, Some(facts), _) if is_recent(facts, policy, now) => Opening::Serve,
        (Contact::Allowed, _, Some(_)) => Opening::Check,
        (Contact::Allowed, _, None) => Opening::Fetch,
    }
}

fn is_recent(facts: &Facts, policy: &Policy, now: Millis) -> bool {
    // A check that lies in the future was made before the clock was set back: it proves nothing.
    policy.revalidate > 0 && (0..policy.revalidate).contains(&now.saturating_sub(facts.checked_at))
}

/// What to do once upstream has answered. `cached` is what the check compared with.
pub(crate) fn conclude(
    cached: &Facts,
    answer: Answer,
    policy: &Policy,
    method: Method,
    now: Millis,
) -> Verdict {
    if cached.is_live(now) {
        return match (answer, method) {
            (Answer::Same, Method::Get) => Verdict::Renew,
            (Answer::Same, Method::Head) => Verdict::Touch,
            (Answer::Changed, _) => Verdict::Fetch,
            (Answer::Refused, _) => Verdict::Refuse,
            (Answer::Missing | Answer::Outage | Answer::Unusable, _) => Verdict::Stale,
        };
    }
    match (answer, method) {
        (Answer::Same, Method::Get) => Verdict::Revive,
        (Answer::Same, Method::Head) => Verdict::Resolve,
        (Answer::Changed, _) => Verdict::Fetch,
        (Answer::Refused, _) => Verdict::Refuse,
        (Answer::Outage, _) if in_window(cached, policy, now) => Verdict::Stored,
        (Answer::Missing | Answer::Outage | Answer::Unusable, _) => Verdict::Fail,
    }
}

fn in_window(cached: &Facts, policy: &Policy, now: Millis) -> bool {
    policy.on_failure == FailurePolicy::ServeStored && cached.ends_at.saturating_add(policy.window) > now
}

#[cfg(test)]
mod tests;
