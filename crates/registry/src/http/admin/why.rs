//! `GET /why?image=…[&as=…]`: the answer as the document of `docs/tools.md`.

use http::StatusCode;
use quayside_config::organizations::Visibility;
use quayside_metadata::{Absence, Holder, NEVER, Standing as Age};
use quayside_oci::{Digest, Kind};
use serde_json::{Value, json};

use super::Admin;
use super::commands::{failed, gave_up, is_away, shown};
use crate::auth::Who;
use crate::auth::access::Decision;
use crate::clock::Millis;
use crate::http::Response;
use crate::http::error::Problem;
use crate::http::manifests::cache_name;
use crate::pull::PullError;
use crate::why::{
    Access, Answer, Cached, Ending, Explanation, Image, Networks, Next, OrganizationStanding, Outcome, Place,
    Question, Room, Standing, Step, Upstream, Witness,
};

impl Admin {
    pub(super) async fn why(&self, image: Option<String>, login: Option<String>) -> Response {
        let front = &self.front;
        let Some(image) = image else {
            return failed(StatusCode::BAD_REQUEST, "the image is missing");
        };
        let image = match Image::parse(&image, &front.service) {
            Ok(image) => image,
            Err(error) => {
                return failed(
                    StatusCode::BAD_REQUEST,
                    &format!("{:#}", anyhow::Error::new(error)),
                );
            }
        };
        let Some(who) = Who::parse(login.as_deref().unwrap_or_default()) else {
            let message = "no login looks like that: a robot is <organization>+<name>";
            return failed(StatusCode::BAD_REQUEST, message);
        };
        let networks = if front.trusted_networks.is_empty() {
            Networks::None
        } else {
            Networks::Some
        };
        let witness = Witness {
            engine: &self.engine,
            snapshot: &self.snapshot,
            passwords: &front.authenticator.passwords,
            networks,
        };
        match witness.explain(Question { image, who }).await {
            Ok(explanation) => shown(&document(&explanation)),
            Err(error) => {
                let away = matches!(&error, PullError::Metadata(source) if is_away(source));
                gave_up(away, error)
            }
        }
    }
}

fn document(explanation: &Explanation) -> Value {
    let place = explanation.place.as_ref();
    let remote = place.map(|place| &place.organization.remote);
    json!({
        "image": explanation.image.to_string(),
        "organization": organization(explanation),
        "repository": place.map(|place| place.repository.as_str()),
        "upstream": remote.zip(place).map(|(remote, place)| json!({
            "host": remote.authority(),
            "repository": place.upstream_repository,
            "rules": if remote.is_docker_hub() { vec!["N1", "N2"] } else { vec!["N1"] },
        })),
        "access": access(&explanation.access),
        "cached": explanation.cached.as_ref().map(cached),
        "next": {
            "get": next(&explanation.get, explanation),
            "head": next(&explanation.head, explanation),
        },
        "at": time(explanation.now),
    })
}

fn organization(explanation: &Explanation) -> Value {
    let standing = match explanation.standing {
        OrganizationStanding::Served => "served",
        OrganizationStanding::NotServed => "notServed",
        OrganizationStanding::Unknown => "unknown",
    };
    let mut organization = json!({
        "name": explanation.image.name.organization.as_str(),
        "standing": standing,
    });
    if let Some(place) = &explanation.place {
        let spec = &place.organization;
        organization["visibility"] = match spec.visibility {
            Visibility::Private => "Private",
            Visibility::Internal => "Internal",
            Visibility::Public => "Public",
        }
        .into();
        organization["expirationSeconds"] = spec.ttl.map_or(0, |ttl| ttl.as_secs()).into();
        organization["timeMachineSeconds"] = spec.window.as_secs().into();
        organization["revalidateSeconds"] = spec.revalidate.as_secs().into();
        organization["quotaBytes"] = place.quota_bytes.into();
        organization["usageBytes"] = place.usage_bytes.into();
    }
    organization
}

fn access(access: &Access) -> Value {
    let decision = match access.answer {
        Answer::Decided(decision) => decision_name(decision),
        Answer::NoSuchLogin => "noSuchLogin",
    };
    let user = (access.who != Who::Anonymous).then(|| access.who.login());
    json!({
        "user": user,
        "decision": decision,
        "status": access_status(access),
        "rule": access.rule,
        "reason": access.reason,
        "elsewhere": access.elsewhere.map(|decision| json!({
            "decision": decision_name(decision),
            "status": decision_status(decision),
        })),
    })
}

fn decision_name(decision: Decision) -> &'static str {
    match decision {
        Decision::Member => "member",
        Decision::Public => "public",
        Decision::Challenge => "challenge",
        Decision::InsufficientScope => "insufficientScope",
        Decision::Denied => "denied",
    }
}

fn decision_status(decision: Decision) -> u16 {
    match decision {
        Decision::Member | Decision::Public => 200,
        Decision::Challenge | Decision::InsufficientScope => 401,
        Decision::Denied => 403,
    }
}

fn access_status(access: &Access) -> u16 {
    match access.answer {
        Answer::Decided(decision) => decision_status(decision),
        Answer::NoSuchLogin => 401,
    }
}

fn cached(cached: &Cached) -> Value {
    let inspection = &cached.inspection;
    let standing = match cached.standing {
        Standing::Live => "live",
        Standing::Dead => "dead",
        Standing::Released => "released",
    };
    let missing = inspection
        .parts
        .iter()
        .flat_map(|part| &part.missing)
        .map(|blob| {
            let reason = match blob.absence {
                Absence::NotStored => "notStored",
                Absence::Unproven => "unproven",
            };
            json!({ "digest": blob.digest.as_str(), "bytes": blob.size, "reason": reason })
        });
    let children = cached.children.iter().map(|child| {
        json!({
            "digest": child.digest.as_str(),
            "platform": child.platform,
            "stored": child.stored,
            "missingBlobs": child.missing,
        })
    });
    let tag = cached.tag.as_ref().map(|tag| {
        json!({
            "endsAt": time(tag.ends_at),
            "lastUsedAt": time(tag.pulled_at),
            "lastCheckedAt": time(tag.checked_at),
            "unconfirmed": tag.failed_at > tag.checked_at,
        })
    });
    json!({
        "digest": cached.manifest.digest.as_str(),
        "mediaType": cached.manifest.media_type,
        "kind": match cached.manifest.kind { Kind::Image => "image", Kind::Index => "index" },
        "artifactType": cached.artifact_type,
        "standing": standing,
        "tag": tag,
        "holders": inspection.holders.iter().map(holder).collect::<Vec<_>>(),
        "heldThrough": inspection.held_through.iter().map(Digest::as_str).collect::<Vec<_>>(),
        "aloneBytes": inspection.alone_bytes,
        "sharedBytes": inspection.shared_bytes,
        "complete": cached.is_complete(),
        "missing": missing.collect::<Vec<_>>(),
        "children": children.collect::<Vec<_>>(),
    })
}

fn holder(holder: &Holder) -> Value {
    let is_pin = holder.name.is_empty();
    json!({
        "tag": (!is_pin).then_some(&holder.name),
        "current": holder.current,
        "endsAt": time(holder.ends_at),
        "lastUsedAt": time(holder.pulled_at),
        "lastCheckedAt": if is_pin { Value::Null } else { time(holder.checked_at) },
        "unconfirmed": !is_pin && holder.failed_at > holder.checked_at,
    })
}

fn next(next: &Next, explanation: &Explanation) -> Value {
    let step = match next.step {
        Step::Serve => "serve",
        Step::Revalidate => "revalidate",
        Step::Fetch => "fetch",
        Step::TakeBack => "takeBack",
        Step::NotFound => "notFound",
        Step::Refuse => "refuse",
        Step::Deny => "deny",
    };
    let outcomes = next.outcomes.iter().map(|end| outcome(end, explanation));
    json!({
        "step": step,
        "rule": next.rule,
        "reason": next.reason,
        "outcomes": outcomes.collect::<Vec<_>>(),
    })
}

fn outcome(outcome: &Outcome, explanation: &Explanation) -> Value {
    let upstream = match outcome.upstream {
        Upstream::NotAsked => "notAsked",
        Upstream::Same => "same",
        Upstream::Changed => "changed",
        Upstream::Delivers => "delivers",
        Upstream::TooMuch => "tooMuch",
        Upstream::Missing => "missing",
        Upstream::Refused => "refused",
        Upstream::RateLimited => "rateLimited",
        Upstream::Unreachable => "unreachable",
        Upstream::Timeout => "timeout",
        Upstream::Unusable => "unusable",
    };
    let (status, cache) = match &outcome.ending {
        Ending::Served(status) => (200, Some(cache_name(*status))),
        Ending::Failed(error) => (Problem::from(error.clone()).status().as_u16(), None),
        Ending::NoRoom => (403, None),
        Ending::Denied => (access_status(&explanation.access), None),
        Ending::LogIn => (401, None),
    };
    json!({
        "upstream": upstream,
        "status": status,
        "cache": cache,
        "rule": outcome.rule,
        "renews": outcome.renews,
        "room": room(outcome, explanation.place.as_ref()),
    })
}

/// What it means for the quota; nothing if there is none, or nothing is added.
fn room(outcome: &Outcome, place: Option<&Place>) -> Option<Value> {
    let place = place?;
    let free = place.quota_bytes?.saturating_sub(place.usage_bytes);
    let (needed, prunes) = match (&outcome.room, &outcome.ending) {
        (_, Ending::Failed(PullError::Quota { refusal, .. })) => (Some(refusal.needed_bytes), None),
        (Room::NotNeeded, _) => return None,
        (Room::Unknown, _) => (None, None),
        (Room::Given(admitted), _) => (Some(admitted.needed_bytes), Some(pruned(&admitted.pruned))),
    };
    Some(json!({ "freeBytes": free, "neededBytes": needed, "prunes": prunes }))
}

/// Images that go, in that order.
pub(super) fn pruned(pruned: &[quayside_metadata::Pruned]) -> Vec<Value> {
    let images = pruned.iter().map(|image| {
        let ended_at = match image.standing {
            Age::Dead { ended_at } => time(ended_at),
            Age::Live => Value::Null,
        };
        json!({
            "repository": image.repository,
            "digest": image.digest.as_str(),
            "tags": image.tags,
            "diedAt": ended_at,
            "lastUsedAt": time(image.last_used_at),
            "freedBytes": image.freed_bytes,
        })
    });
    images.collect()
}

/// A moment as RFC 3339 has it; null for one that never comes, or never was.
pub(super) fn time(at: Millis) -> Value {
    if at == NEVER || at <= 0 {
        return Value::Null;
    }
    jiff::Timestamp::from_millisecond(at).map_or(Value::Null, |time| time.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O5: times are RFC 3339, and what never ends has none.
    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_800_000_000_000), "2027-01-15T08:00:00Z");
        assert_eq!(time(1_800_000_000_500), "2027-01-15T08:00:00.5Z");
        assert_eq!((time(NEVER), time(0)), (Value::Null, Value::Null));
    }
}
