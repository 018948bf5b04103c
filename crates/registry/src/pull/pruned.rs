//! What is done about images that were pruned: memory forgets them, and the log says what went for what (Q5, O1).

use std::fmt;

use quayside_metadata::{Pruned, Standing};
use quayside_oci::{Digest, RepositoryName, Tag};

use super::Engine;
use crate::clock::Millis;
use crate::human::{Age, Size};
use crate::organizations::Served;

/// For what an image went.
#[derive(Debug)]
pub(crate) enum Cause {
    /// Another one was pulled, and this is what it added.
    Pull { image: String, needed_bytes: u64 },
    /// The organization held so much more than its quota (Q9).
    Quota { quota_bytes: u64, excess_bytes: u64 },
}

impl Cause {
    /// How many bytes were missing, or too many.
    fn bytes(&self) -> u64 {
        match self {
            Self::Pull { needed_bytes, .. } => *needed_bytes,
            Self::Quota { excess_bytes, .. } => *excess_bytes,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { image, needed_bytes } => {
                write!(formatter, "{image}: needed {}", Size(*needed_bytes))
            }
            Self::Quota {
                quota_bytes,
                excess_bytes,
            } => {
                let (quota, excess) = (Size(*quota_bytes), Size(*excess_bytes));
                write!(formatter, "the quota of {quota}, which was exceeded by {excess}")
            }
        }
    }
}

impl Engine {
    /// To be called once they are gone from the database.
    pub(crate) fn forget_pruned(&self, served: &Served, pruned: &[Pruned], cause: &Cause) {
        if pruned.is_empty() {
            return;
        }
        for pruned in pruned {
            self.forget_tags_of(served, pruned);
            served.metrics.pruned.inc();
            log(served, pruned, cause, self.now());
        }
        // What went with them is not listed: the children of an index, the referrers of an image.
        self.warm.forget_manifests();
    }

    /// None of them is served from memory as live.
    fn forget_tags_of(&self, served: &Served, pruned: &Pruned) {
        let Ok(repository) = RepositoryName::parse(&pruned.repository) else {
            return self.warm.forget_tags();
        };
        for tag in pruned.tags.iter().filter_map(|tag| Tag::parse(tag).ok()) {
            self.warm.forget_tag(&(served.id, repository.clone(), tag));
        }
    }
}

fn log(served: &Served, pruned: &Pruned, cause: &Cause, now: Millis) {
    let Pruned {
        repository,
        digest,
        tags,
        last_used_at,
        standing,
        freed_bytes,
    } = pruned;
    tracing::info!(
        organization = %served.spec.name,
        repository,
        tags = tags.join(","),
        %digest,
        last_used_at,
        freed_bytes,
        needed_bytes = cause.bytes(),
        "pruned {}, {}, for {cause}",
        image_name(repository, tags.first().map(String::as_str), digest),
        state(*standing, *last_used_at, now),
    );
}

fn state(standing: Standing, last_used_at: Millis, now: Millis) -> String {
    match standing {
        Standing::Live => format!("last used {} ago", Age::of(last_used_at, now)),
        Standing::Dead { ended_at } => format!("dead for {}", Age::of(ended_at, now)),
    }
}

/// An image as a person names it, by its tag if it has one.
pub(super) fn image_name(repository: &str, tag: Option<&str>, digest: &Digest) -> String {
    match tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository}@{digest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_what_went_and_for_what() {
        let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
        assert_eq!(image_name("a", Some("1"), &digest), "a:1");
        assert_eq!(image_name("a", None, &digest), format!("a@{digest}"));
        assert_eq!(state(Standing::Live, 0, 9 * 86_400_000), "last used 9 d ago");
        let dead = Standing::Dead { ended_at: 60_000 };
        assert_eq!(state(dead, 0, 180_000), "dead for 2 min");
        let pull = Cause::Pull {
            image: "b:2".to_owned(),
            needed_bytes: 41_000_000,
        };
        assert_eq!(pull.to_string(), "b:2: needed 41 MB");
        let quota = Cause::Quota {
            quota_bytes: 150_000_000,
            excess_bytes: 3_000_000,
        };
        assert_eq!(
            quota.to_string(),
            "the quota of 150 MB, which was exceeded by 3 MB"
        );
    }
}
