//! What the next pull would do, told by the functions that decide when there is one (SPEC §2). Pure.

use std::sync::Arc;

use quayside_metadata::Admitted;
use quayside_upstream::UpstreamError;

use crate::clock::Millis;
use crate::pull::error::{Subject, answer_of};
use crate::pull::freshness::{Answer, Facts, Opening, Policy, Verdict, conclude, open};
use crate::pull::{CacheStatus, Contact, Method, PullError, Viewer};

/// What a pull does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Answers from what is stored.
    Serve,
    /// Asks upstream whether the tag still points where it did.
    Revalidate,
    /// Asks upstream for the manifest.
    Fetch,
    /// Holds a released manifest again.
    TakeBack,
    /// Answers that it is not to be had.
    NotFound,
    /// Refuses: the quota has no room.
    Refuse,
    /// Refuses: the caller may not.
    Deny,
}

/// What upstream may say, if it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It is not asked.
    NotAsked,
    /// The tag points at what is cached.
    Same,
    /// The tag points at something else.
    Changed,
    /// It gives the manifest.
    Delivers,
    /// It gives the manifest, or another one than is cached, and what that adds does not fit into the quota.
    TooMuch,
    /// 404.
    Missing,
    /// 401 or 403 for the repository.
    Refused,
    /// 429.
    RateLimited,
    /// No connection, or a 5xx.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// An answer that makes no sense.
    Unusable,
}

/// What an admission would come to (Q3-Q6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing becomes held.
    NotNeeded,
    /// How much is needed is known once the manifest is there.
    Unknown,
    /// It adds so many bytes, and some images may have to go for them.
    Given(Box<Admitted>),
}

/// How a pull ends.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Served(CacheStatus),
    Failed(PullError),
    /// The quota has no room (Q7).
    NoRoom,
    /// The caller may not.
    Denied,
    /// Not cached, for who does not log in (A3).
    LogIn,
}

/// What becomes of a pull if upstream says so.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) upstream: Upstream,
    pub(crate) ending: Ending,
    pub(crate) rule: &'static str,
    /// Whether it moves the end time of the tag (E1).
    pub(crate) renews: bool,
    pub(crate) room: Room,
}

/// What a pull does.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    pub(crate) step: Step,
    pub(crate) rule: &'static str,
    pub(crate) reason: &'static str,
    /// One for each answer of upstream that makes a difference.
    pub(crate) outcomes: Vec<Outcome>,
}

impl Next {
    fn one(step: Step, rule: &'static str, reason: &'static str, ending: Ending) -> Self {
        Self {
            step,
            rule,
            reason,
            outcomes: vec![Outcome {
                upstream: Upstream::NotAsked,
                ending,
                rule,
                renews: false,
                room: Room::NotNeeded,
            }],
        }
    }

    fn renewing(mut self, method: Method) -> Self {
        for outcome in &mut self.outcomes {
            outcome.renews = method == Method::Get && matches!(outcome.ending, Ending::Served(_));
        }
        self
    }

    /// The caller may not: nothing else is looked at (M1).
    pub(crate) fn denied(rule: &'static str) -> Self {
        let reason = "access is decided before anything else is looked at";
        Self::one(Step::Deny, rule, reason, Ending::Denied)
    }
}

/// Under which conditions a pull is made.
pub(crate) struct Circumstances {
    pub(crate) policy: Policy,
    pub(crate) method: Method,
    pub(crate) viewer: Viewer,
    /// Whether who asks does not log in.
    pub(crate) anonymous: bool,
    /// Whether the organization has a quota.
    pub(crate) limited: bool,
    /// Whether the last check of the upstream failed and the next one is not due yet (M3).
    pub(crate) checks_paused: bool,
    /// The upstream's address, for errors.
    pub(crate) address: Arc<str>,
    pub(crate) now: Millis,
}

impl Circumstances {
    /// A pull by tag; `cached` is its current row.
    pub(crate) fn by_tag(&self, cached: Option<&Facts>) -> Next {
        if self.viewer == Viewer::Public {
            let live = cached.is_some_and(|facts| facts.is_live(self.now));
            return self.as_stranger(live);
        }
        match (open(cached, &self.policy, self.now), cached) {
            (Opening::Serve, _) if self.policy.contact == Contact::Never => {
                let reason = "it is live, and upstreams are never contacted";
                Next::one(Step::Serve, "C2", reason, Ending::Served(CacheStatus::Hit)).renewing(self.method)
            }
            (Opening::Serve, _) => {
                let reason = "it is live, and was confirmed within revalidateSeconds";
                Next::one(Step::Serve, "M3", reason, Ending::Served(CacheStatus::Hit)).renewing(self.method)
            }
            (Opening::Check, Some(facts)) => self.check(facts),
            (Opening::Absent, _) => {
                let reason = "it is not live, and upstreams are never contacted";
                Next::one(Step::NotFound, "C2", reason, not_here())
            }
            (Opening::Fetch | Opening::Check, _) => self.fetch("M2", "it is not cached"),
        }
    }

    fn check(&self, facts: &Facts) -> Next {
        let live = facts.is_live(self.now);
        if live && self.checks_paused {
            let reason = "it is live; the last check failed and the next one is not due yet";
            return Next::one(Step::Serve, "M6", reason, Ending::Served(CacheStatus::Stale));
        }
        let (rule, reason) = if live {
            ("M3", "it is live")
        } else {
            ("M5", "it is dead, and still stored")
        };
        let mut outcomes = vec![
            self.concluded(facts, Upstream::Same, Answer::Same, None),
            self.concluded(facts, Upstream::Changed, Answer::Changed, None),
        ];
        outcomes.extend(self.too_much());
        outcomes.extend(failures().map(|(upstream, error)| {
            let answer = answer_of(&error);
            self.concluded(facts, upstream, answer, Some(error))
        }));
        Next {
            step: Step::Revalidate,
            rule,
            reason,
            outcomes,
        }
    }

    /// What follows from an answer, as the pull itself concludes it.
    fn concluded(
        &self,
        facts: &Facts,
        upstream: Upstream,
        answer: Answer,
        error: Option<UpstreamError>,
    ) -> Outcome {
        let verdict = conclude(facts, answer, &self.policy, self.method, self.now);
        let live = facts.is_live(self.now);
        let failed = |error: Option<UpstreamError>| error.map_or_else(not_here, |error| self.failed(error));
        let (ending, rule) = match verdict {
            Verdict::Renew => (Ending::Served(CacheStatus::Revalidated), "M3"),
            Verdict::Revive => (Ending::Served(CacheStatus::Revalidated), "M5"),
            Verdict::Touch | Verdict::Resolve => (Ending::Served(CacheStatus::Revalidated), "M11"),
            Verdict::Fetch => (Ending::Served(CacheStatus::Miss), if live { "M4" } else { "M5" }),
            Verdict::Stale => (Ending::Served(CacheStatus::Stale), "M6"),
            Verdict::Stored => (Ending::Served(CacheStatus::Stale), "M8"),
            Verdict::Refuse => (failed(error), "M7"),
            Verdict::Fail => (failed(error), "M8"),
        };
        Outcome {
            upstream,
            ending,
            rule,
            renews: matches!(verdict, Verdict::Renew | Verdict::Revive | Verdict::Fetch),
            room: if verdict == Verdict::Fetch {
                Room::Unknown
            } else {
                Room::NotNeeded
            },
        }
    }

    /// A pull by digest of a manifest that is held; `live`: something live holds it, as the viewer may see it.
    pub(crate) fn by_held_digest(&self, live: bool) -> Next {
        if self.viewer == Viewer::Public {
            return self.as_stranger(live);
        }
        match (self.policy.contact, live) {
            (Contact::Never, true) => {
                let reason = "it is live, and upstreams are never contacted";
                Next::one(Step::Serve, "C2", reason, Ending::Served(CacheStatus::Hit)).renewing(self.method)
            }
            (Contact::Never, false) => {
                let reason = "nothing live holds it, and upstreams are never contacted";
                Next::one(Step::NotFound, "C2", reason, not_here())
            }
            (Contact::Allowed, _) => {
                let reason = "it is held, and what a digest names never changes";
                Next::one(Step::Serve, "M9", reason, Ending::Served(CacheStatus::Hit)).renewing(self.method)
            }
        }
    }

    /// A pull by digest of a manifest that is not stored, or is released: `rehearsed` is what its admission would
    /// come to, `alone_bytes` what Q4 compares with the quota.
    pub(crate) fn by_unheld_digest(
        &self,
        rehearsed: Option<Result<Admitted, PullError>>,
        alone_bytes: u64,
    ) -> Next {
        if self.viewer == Viewer::Public {
            return self.as_stranger(false);
        }
        if self.policy.contact == Contact::Never {
            let reason = "it is not held, and upstreams are never contacted";
            return Next::one(Step::NotFound, "C2", reason, not_here());
        }
        match rehearsed {
            Some(Ok(admitted)) => take_back(&admitted),
            Some(Err(error)) => {
                let too_large = matches!(
                    &error,
                    PullError::Quota { refusal, .. } if alone_bytes > refusal.quota_bytes
                );
                let (rule, reason) = if too_large {
                    (
                        "Q4",
                        "it is released but still stored, and alone larger than the quota",
                    )
                } else {
                    (
                        "Q5",
                        "it is released but still stored, and nothing that could be pruned makes room for it",
                    )
                };
                Next::one(Step::Refuse, rule, reason, Ending::Failed(error))
            }
            None => self.fetch("M10", "it is not stored"),
        }
    }

    fn fetch(&self, rule: &'static str, reason: &'static str) -> Next {
        let delivered = Outcome {
            upstream: Upstream::Delivers,
            ending: Ending::Served(CacheStatus::Miss),
            rule,
            renews: true,
            room: Room::Unknown,
        };
        let failures = failures().map(|(upstream, error)| Outcome {
            rule: if answer_of(&error) == Answer::Refused {
                "M7"
            } else {
                "M8"
            },
            upstream,
            ending: self.failed(error),
            renews: false,
            room: Room::NotNeeded,
        });
        Next {
            step: Step::Fetch,
            rule,
            reason,
            outcomes: std::iter::once(delivered)
                .chain(self.too_much())
                .chain(failures)
                .collect(),
        }
    }

    /// What upstream gives may have to be refused, which nobody can tell before it is there: also what is stored
    /// of it and released would count again (Q3).
    fn too_much(&self) -> Option<Outcome> {
        self.limited.then_some(Outcome {
            upstream: Upstream::TooMuch,
            ending: Ending::NoRoom,
            rule: "Q5",
            renews: false,
            room: Room::NotNeeded,
        })
    }

    /// A3: who is no member sees what is cached and live, and causes nothing.
    fn as_stranger(&self, live: bool) -> Next {
        if live {
            let reason = "it is cached and live, and the organization is public";
            return Next::one(Step::Serve, "A3", reason, Ending::Served(CacheStatus::Hit));
        }
        let reason = "it is not both cached and live, and only members cause a fetch";
        let ending = if self.anonymous { Ending::LogIn } else { not_here() };
        Next::one(Step::NotFound, "A3", reason, ending)
    }

    fn failed(&self, source: UpstreamError) -> Ending {
        Ending::Failed(PullError::Upstream {
            upstream: Arc::clone(&self.address),
            subject: Subject::Manifest,
            source,
        })
    }
}

fn take_back(admitted: &Admitted) -> Next {
    let reason = "it is released but still stored, and is held again";
    let mut next = Next::one(Step::TakeBack, "M9", reason, Ending::Served(CacheStatus::Hit));
    // A HEAD takes it back too (M9).
    next = next.renewing(Method::Get);
    for outcome in &mut next.outcomes {
        outcome.rule = if admitted.pruned.is_empty() { "M9" } else { "Q5" };
        outcome.room = Room::Given(Box::new(admitted.clone()));
    }
    next
}

fn not_here() -> Ending {
    Ending::Failed(PullError::Unknown(Subject::Manifest))
}

/// Every way in which upstream fails that makes a difference to somebody.
fn failures() -> impl Iterator<Item = (Upstream, UpstreamError)> {
    let host = || "upstream".to_owned();
    [
        (
            Upstream::Missing,
            UpstreamError::NotFound {
                name_unknown: false,
                message: None,
            },
        ),
        (
            Upstream::Refused,
            UpstreamError::Refused {
                status: 403,
                message: None,
            },
        ),
        (
            Upstream::RateLimited,
            UpstreamError::RateLimited {
                host: host(),
                retry_after: None,
            },
        ),
        (
            Upstream::Unreachable,
            UpstreamError::Status {
                host: host(),
                status: 503,
            },
        ),
        (Upstream::Timeout, UpstreamError::Timeout { host: host() }),
        (
            Upstream::Unusable,
            UpstreamError::Invalid {
                host: host(),
                reason: String::new(),
            },
        ),
    ]
    .into_iter()
}

#[cfg(test)]
mod tests;
