//! Whether somebody may pull, and by which rule (A1-A4, A8).

use quayside_config::organizations::{Member, Organization, Role, Visibility};

use crate::auth::access::{Decision, decide};
use crate::auth::{Caller, Proof, Who};
use crate::pull::Viewer;

/// Whether config.yaml names networks whose clients need no credentials in internal organizations (A8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Networks {
    Some,
    None,
}

/// What a request of somebody for an image comes to before anything else is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) who: Who,
    pub(crate) answer: Answer,
    /// The rule that decides.
    pub(crate) rule: &'static str,
    /// For people.
    pub(crate) reason: String,
    /// The answer holds only for clients in the trusted networks; others get this one.
    pub(crate) elsewhere: Option<Decision>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Decided(Decision),
    /// There is no such login, so that logging in fails.
    NoSuchLogin,
}

impl Access {
    /// Through whose eyes the request is answered; nobody's if it is refused.
    pub(crate) fn viewer(&self) -> Option<Viewer> {
        match self.answer {
            Answer::Decided(Decision::Member) => Some(Viewer::Member),
            Answer::Decided(Decision::Public) => Some(Viewer::Public),
            Answer::Decided(_) | Answer::NoSuchLogin => None,
        }
    }
}

/// Decides as the server does for a request with the right password, or without credentials. A client's address is
/// not known: where trusted networks change the answer, it is the one for a client in them.
pub(crate) fn judge(
    organization: Option<&Organization>,
    who: Who,
    login: Login,
    networks: Networks,
    scope: &str,
) -> Access {
    if login == Login::Unknown {
        return Access {
            reason: format!("there is no user or robot {}, so logging in fails", who.login()),
            who,
            answer: Answer::NoSuchLogin,
            rule: "A2",
            elsewhere: None,
        };
    }
    let ask = |trusted| {
        let proof = if who == Who::Anonymous {
            Proof::None
        } else {
            Proof::Password
        };
        let caller = Caller {
            who: who.clone(),
            proof,
            trusted,
        };
        decide(organization, &caller, scope)
    };
    let outside = ask(false);
    let inside = if networks == Networks::Some {
        ask(true)
    } else {
        outside
    };
    let elsewhere = (inside != outside).then_some(outside);
    let (rule, reason) = explain(organization, &who, inside, elsewhere);
    Access {
        who,
        answer: Answer::Decided(inside),
        rule,
        reason,
        elsewhere,
    }
}

/// Whether somebody can log in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Known,
    Unknown,
}

fn explain(
    organization: Option<&Organization>,
    who: &Who,
    decision: Decision,
    elsewhere: Option<Decision>,
) -> (&'static str, String) {
    let name = match who {
        Who::Anonymous => "an anonymous client".to_owned(),
        who => who.login(),
    };
    match (decision, who) {
        (Decision::Member, _) if elsewhere.is_some() => (
            "A8",
            format!(
                "{name} may pull from the trusted networks, first pulls included: the organization is internal"
            ),
        ),
        (Decision::Member, Who::Robot(..)) => (
            "A2",
            format!("{name} may pull, first pulls included: it is a robot of the organization"),
        ),
        (Decision::Member, _) => match organization.and_then(|organization| role(organization, who)) {
            Some((role, team)) => (
                "A3",
                format!("{name} may pull, first pulls included: {role} in the team {team}"),
            ),
            None => ("A3", format!("{name} may pull, first pulls included")),
        },
        (Decision::Public, _) => (
            "A3",
            format!("{name} sees what is cached and live, and causes no fetch: the organization is public"),
        ),
        (Decision::Challenge, _) => ("A4", format!("{name} is asked to log in{}", hint(organization))),
        (Decision::InsufficientScope, _) => ("A1", format!("{name} needs another token")),
        (Decision::Denied, _) => ("A4", format!("{name} has no role in the organization")),
    }
}

fn role(organization: &Organization, who: &Who) -> Option<(&'static str, String)> {
    let Who::User(name) = who else { return None };
    let team = organization.teams.iter().find(|team| {
        let mut members = team.members.iter();
        members.any(|member| matches!(member, Member::User(user) if user == name))
    })?;
    let role = match team.role {
        Role::Member => "member",
        Role::Creator => "creator",
        Role::Admin => "admin",
    };
    Some((role, team.name.clone()))
}

fn hint(organization: Option<&Organization>) -> &'static str {
    match organization {
        Some(organization) if organization.visibility == Visibility::Internal => {
            "; the organization is internal, but config.yaml names no trusted networks"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use quayside_config::organizations::{Entry, parse};

    use super::*;

    fn organization(visibility: &str) -> Organization {
        let file = format!(
            "organizations:\n- name: acme\n  remoteRegistry: quay.io\n  visibility: {visibility}\n  \
             teams: [{{ name: devs, role: creator, members: [{{ kind: User, name: alice }}] }}]\n  \
             robots: [{{ name: ci, passwordHashes: [] }}]\n"
        );
        match parse(file.as_bytes()).unwrap().entries.remove(0) {
            Entry::Good(organization) => *organization,
            Entry::Bad(bad) => panic!("{bad:?}"),
        }
    }

    fn asked(visibility: &str, login: &str, networks: Networks) -> Access {
        let who = Who::parse(login).unwrap();
        judge(
            Some(&organization(visibility)),
            who,
            Login::Known,
            networks,
            "acme/app",
        )
    }

    /// O5, A2, A3, A4, A8: each answer names the rule that gives it.
    #[test]
    fn every_decision_names_its_rule() {
        use Decision::{Challenge, Denied, Member, Public};
        for (visibility, login, networks, decision, rule, elsewhere) in [
            ("Private", "", Networks::Some, Challenge, "A4", None),
            ("Private", "alice", Networks::Some, Member, "A3", None),
            ("Private", "bob", Networks::Some, Denied, "A4", None),
            ("Private", "acme+ci", Networks::Some, Member, "A2", None),
            ("Private", "other+ci", Networks::Some, Denied, "A4", None),
            ("Public", "", Networks::Some, Public, "A3", None),
            ("Public", "alice", Networks::Some, Member, "A3", None),
            ("Internal", "", Networks::None, Challenge, "A4", None),
            ("Internal", "", Networks::Some, Member, "A8", Some(Challenge)),
            ("Internal", "bob", Networks::Some, Member, "A8", Some(Denied)),
            ("Internal", "alice", Networks::Some, Member, "A3", None),
        ] {
            let access = asked(visibility, login, networks);
            let row = format!("{visibility}, {login:?}");
            assert_eq!(access.answer, Answer::Decided(decision), "{row}");
            assert_eq!((access.rule, access.elsewhere), (rule, elsewhere), "{row}");
        }
        assert!(
            asked("Private", "alice", Networks::None)
                .reason
                .contains("creator in the team devs")
        );
    }

    /// A4: an organization that is not served is answered like one without a role in it.
    #[test]
    fn nobody_may_pull_from_what_is_not_served() {
        for (login, decision) in [("", Decision::Challenge), ("alice", Decision::Denied)] {
            let who = Who::parse(login).unwrap();
            let access = judge(None, who, Login::Known, Networks::Some, "acme/app");
            assert_eq!(access.answer, Answer::Decided(decision));
            assert_eq!(access.viewer(), None);
        }
    }

    /// A2: who does not exist cannot even log in to a public organization.
    #[test]
    fn who_does_not_exist_is_told_so() {
        let who = Who::parse("nobody").unwrap();
        let access = judge(
            Some(&organization("Public")),
            who,
            Login::Unknown,
            Networks::Some,
            "acme/app",
        );
        assert_eq!((access.answer, access.rule), (Answer::NoSuchLogin, "A2"));
        assert_eq!(access.viewer(), None);
    }
}
