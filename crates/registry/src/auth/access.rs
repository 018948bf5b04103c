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
    let permitted = organization.is_some_and(|organization| is_member(organization, caller));
    let listed = match &caller.proof {
        Proof::Token(grants) => grants
            .iter()
            .find(|grant| grant.kind == "repository" && grant.name == scope),
        Proof::None | Proof::Password => None,
    };
    let granted = listed.map(|grant| grant.actions.iter().any(|action| action == "pull"));
    if permitted {
        return match (&caller.proof, granted) {
            (Proof::None | Proof::Password, _) | (Proof::Token(_), Some(true)) => Decision::Member,
            (Proof::Token(_), _) => Decision::InsufficientScope,
        };
    }
    if organization.is_some_and(|organization| organization.visibility == Visibility::Public) {
        return Decision::Public;
    }
    match (&caller.who, &caller.proof, granted) {
        (Who::Anonymous, _, _) | (_, Proof::None, _) => Decision::Challenge,
        (_, Proof::Password, _) | (_, Proof::Token(_), Some(false)) => Decision::Denied,
        (_, Proof::Token(_), _) => Decision::InsufficientScope,
    }
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
