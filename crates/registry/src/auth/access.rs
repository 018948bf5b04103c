//! Who may pull what: pure, and decided before any contact with upstream (M1, A1, A3, A4, A8).

use quayside_config::organizations::{Member, Organization, Visibility};

use super::{Caller, Proof, Who};

/// What a request for an organization's content comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// May pull everything, first pulls included.
    Member,
    /// Sees what is cached and live (A3).
    Public,
    /// 401: log in.
    Challenge,
    /// 401 with `insufficient_scope`: get a token for this.
    InsufficientScope,
    /// 403.
    Denied,
}

/// Decides. `scope` is the repository's full name as the client spelled it, which is what its token lists.
pub(crate) fn decide(organization: Option<&Organization>, caller: &Caller, scope: &str) -> Decision {
    let listed = listed(&caller.proof, "repository", scope, "pull");
    if organization.is_some_and(|organization| is_member(organization, caller)) {
        return match listed {
            Listed::NoToken | Listed::Granted => Decision::Member,
            Listed::Empty | Listed::Absent => Decision::InsufficientScope,
        };
    }
    if organization.is_some_and(is_public) {
        return Decision::Public;
    }
    match (&caller.who, &caller.proof, listed) {
        (_, Proof::None, _) | (Who::Anonymous, _, Listed::NoToken | Listed::Empty) => Decision::Challenge,
        (_, _, Listed::NoToken | Listed::Empty) => Decision::Denied,
        (_, _, Listed::Granted | Listed::Absent) => Decision::InsufficientScope,
    }
}

/// Which organizations the catalog shows to the caller, or how the request is refused (L1). A token has to list
/// [`CATALOG`] for more than what is public.
pub(crate) fn visible<'a, T>(
    organizations: impl Iterator<Item = (&'a Organization, T)>,
    caller: &Caller,
) -> Result<Vec<T>, Decision> {
    let narrowed = match listed(&caller.proof, "registry", "catalog", "*") {
        Listed::NoToken | Listed::Granted => false,
        Listed::Empty | Listed::Absent => true,
    };
    let mut seen = Vec::new();
    for (organization, item) in organizations {
        match is_member(organization, caller) {
            true if narrowed => return Err(Decision::InsufficientScope),
            true => seen.push(item),
            false if is_public(organization) => seen.push(item),
            false => {}
        }
    }
    if seen.is_empty() && caller.who == Who::Anonymous {
        return Err(Decision::Challenge);
    }
    Ok(seen)
}

/// The scope that a token for the catalog lists.
pub(crate) const CATALOG: &str = "registry:catalog:*";

/// What a token says about one scope (A1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// There is no token, so nothing narrows.
    NoToken,
    /// It was not asked for.
    Absent,
    /// It was asked for and nothing was granted.
    Empty,
    Granted,
}

/// A scope may be listed more than once, as clients that ask for push and pull apart do.
fn listed(proof: &Proof, kind: &str, name: &str, action: &str) -> Listed {
    let Proof::Token(grants) = proof else {
        return Listed::NoToken;
    };
    let same = grants
        .iter()
        .filter(|grant| grant.kind == kind && grant.name == name);
    same.fold(Listed::Absent, |listed, grant| {
        if listed == Listed::Granted || grant.actions.iter().any(|granted| granted == action) {
            Listed::Granted
        } else {
            Listed::Empty
        }
    })
}

fn is_public(organization: &Organization) -> bool {
    organization.visibility == Visibility::Public
}

/// Whether the caller may do what a member may: by a role in a team, as the organization's robot, or from a
/// trusted network where the organization is internal.
fn is_member(organization: &Organization, caller: &Caller) -> bool {
    if caller.trusted && organization.visibility == Visibility::Internal {
        return true;
    }
    let members = || organization.teams.iter().flat_map(|team| &team.members);
    match &caller.who {
        Who::Anonymous => false,
        Who::User(name) => members().any(|member| matches!(member, Member::User(user) if user == name)),
        Who::Robot(owner, name) => {
            *owner == organization.name && organization.robots.iter().any(|robot| robot.name == *name)
        }
    }
}

#[cfg(test)]
mod tests;
