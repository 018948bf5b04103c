//! Teams and robots of an organization (A2, A3).

use std::collections::BTreeSet;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::fault::shown;
use crate::kind::{self, Kind, text};
use crate::names::{KUBERNETES_NAME, PLAIN_NAME, ROBOT_NAME, USER_NAME};
use crate::password_hash::ROBOT_HASH;
use crate::section::{Key, Section};
use crate::tree::Node;

/// People and machines with one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// The team's name, unique in the organization.
    pub name: String,
    /// What its members may do.
    pub role: Role,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// What a member may do; every role may pull (A3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `member`
    Member,
    /// `creator`
    Creator,
    /// `admin`
    Admin,
}

/// One member of a team (A2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// A user of config.yaml, by login.
    User(String),
    /// A robot of this organization, by the name behind the `+`.
    Robot(String),
    /// A Kubernetes `ServiceAccount`.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A group that `TokenReview` reports.
    Group(String),
}

/// A login of one organization: `<organization>+<name>` (A2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    /// The name behind the `+`.
    pub name: String,
    /// Any of these passwords is right, each until it lapses.
    pub password_hashes: Vec<PasswordHash>,
}

/// The hash of one password.
#[derive(Clone, Debug)]
pub struct PasswordHash {
    /// `$argon2id$…`, `$2a$…`, `$2b$…`, `$2y$…`, or `$sha256$` and 64 hex digits in lower case.
    pub hash: SecretString,
    /// From when on the password is wrong; `None`: never.
    pub not_after: Option<Timestamp>,
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        let Self { hash, not_after } = self;
        hash.expose_secret() == other.hash.expose_secret() && *not_after == other.not_after
    }
}

impl Eq for PasswordHash {}

const ROLES: [(&str, Role); 3] = [
    ("member", Role::Member),
    ("creator", Role::Creator),
    ("admin", Role::Admin),
];

const ROLE: Kind<Role> = Kind {
    schema: || kind::words(&ROLES),
    read: |node| kind::pick(node, &ROLES),
};

#[derive(Clone, Copy)]
enum MemberKind {
    User,
    Robot,
    ServiceAccount,
    Group,
}

const MEMBER_KINDS: [(&str, MemberKind); 4] = [
    ("User", MemberKind::User),
    ("Robot", MemberKind::Robot),
    ("ServiceAccount", MemberKind::ServiceAccount),
    ("Group", MemberKind::Group),
];

const MEMBER_KIND: Kind<MemberKind> = Kind {
    schema: || kind::words(&MEMBER_KINDS),
    read: |node| kind::pick(node, &MEMBER_KINDS),
};

/// A name that is checked once the kind of the member is known.
const MEMBER_NAME: Kind<Node> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| text(node).map(|text| Node::Text(text.to_owned())),
};

const INSTANT: Kind<Timestamp> = Kind {
    schema: || json!({ "type": "string", "format": "date-time" }),
    read: |node| {
        let text = text(node)?;
        text.parse()
            .map_err(|_| format!("must be a time like 2026-12-01T10:00:00Z, not {}", shown(text)))
    },
};

/// Reads `teams`. `organization` is the name of the entry, as far as it is known.
pub(super) fn read_teams(entry: &mut Section<'_>, organization: Option<&str>) -> Vec<Team> {
    let mut names = BTreeSet::new();
    entry.sections(Key("teams", "Who may pull."), |team| {
        let name = team.required(
            Key("name", "The team's name, unique in the organization."),
            &PLAIN_NAME,
        );
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            team.fault("name", "is the name of an earlier team");
        }
        let role = team.required(
            Key("role", "What its members may do; every role may pull."),
            &ROLE,
        );
        let members = team.sections(Key("members", "Who is in the team."), |member| {
            read_member(member, organization)
        });
        Some(Team {
            name: name?,
            role: role?,
            members,
        })
    })
}

fn read_member(member: &mut Section<'_>, organization: Option<&str>) -> Option<Member> {
    let kind = member.required(Key("kind", "What the member is."), &MEMBER_KIND);
    let name = member.required(
        Key(
            "name",
            "The login, the robot's name, the ServiceAccount's name or the group.",
        ),
        &MEMBER_NAME,
    );
    let namespace = member.optional(
        Key(
            "namespace",
            "The namespace of a ServiceAccount; nothing else has one.",
        ),
        &KUBERNETES_NAME,
    );
    let (kind, name) = (kind?, name?);
    if namespace.is_some() && !matches!(kind, MemberKind::ServiceAccount) {
        member.fault("namespace", "is for members of the kind ServiceAccount");
    }
    let checked = match kind {
        MemberKind::User => (USER_NAME.read)(&name),
        MemberKind::Robot => read_robot_member(&name, organization),
        MemberKind::ServiceAccount => (KUBERNETES_NAME.read)(&name),
        MemberKind::Group => (PLAIN_NAME.read)(&name),
    };
    let name = checked.map_err(|message| member.fault("name", message)).ok()?;
    Some(match kind {
        MemberKind::User => Member::User(name),
        MemberKind::Robot => Member::Robot(name),
        MemberKind::Group => Member::Group(name),
        MemberKind::ServiceAccount => {
            let Some(namespace) = namespace else {
                member.fault("namespace", "is required for a ServiceAccount");
                return None;
            };
            Member::ServiceAccount { namespace, name }
        }
    })
}

/// A robot may be named with its organization, as it logs in, but belongs to that one only (A2).
fn read_robot_member(name: &Node, organization: Option<&str>) -> Result<String, String> {
    let text = text(name)?;
    match text.split_once('+') {
        Some((owner, robot)) if organization.is_none_or(|organization| organization == owner) => {
            crate::names::robot_name(robot)
        }
        Some(_) => Err("is a robot of another organization, which cannot be a member of this one".to_owned()),
        None => crate::names::robot_name(text),
    }
}

/// Reads `robots`.
pub(super) fn read_robots(entry: &mut Section<'_>) -> Vec<Robot> {
    let mut names = BTreeSet::new();
    entry.sections(Key("robots", "Logins of this organization."), |robot| {
        let name = robot.required(Key("name", "The login is <organization>+<name>."), &ROBOT_NAME);
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            robot.fault("name", "is the name of an earlier robot");
        }
        let password_hashes = robot.sections(
            Key("passwordHashes", "Any of these passwords is right."),
            |item| {
                let hash = item.required(
                    Key("hash", "argon2id, bcrypt, or $sha256$ and 64 hex digits."),
                    &ROBOT_HASH,
                );
                let not_after =
                    item.optional(Key("notAfter", "From when on the password is wrong."), &INSTANT);
                Some(PasswordHash {
                    hash: hash?,
                    not_after,
                })
            },
        );
        Some(Robot {
            name: name?,
            password_hashes,
        })
    })
}
