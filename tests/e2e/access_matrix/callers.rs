//! Everybody who may ask, and how they say who they are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use quayside_tests::house::{Call, USERS};
use serde_json::{Value, json};

use super::world::{KEY, ROBOT_PASSWORD, Visibility, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Nobody,
    /// An anonymous token that was asked for this.
    NobodyWithToken,
    /// No credentials, from a trusted network.
    Trusted,
    TrustedWithToken,
    Member,
    MemberWithToken,
    Robot,
    RobotWithToken,
    /// A user without a role.
    Stranger,
    StrangerWithToken,
    StrangerFromTrustedNetwork,
    RobotOfAnother,
    RobotOfAnotherWithToken,
    WrongPassword,
    UnknownUser,
    WrongRobotPassword,
    /// A member's token from here on, in ways in which it is not good.
    Expired,
    ForeignKey,
    ForeignService,
    Unsigned,
    OfRemovedUser,
    /// A member's token for another repository.
    Elsewhere,
    /// A member's token for nothing.
    Scopeless,
    /// A stranger's token for another repository.
    StrangerElsewhere,
}

pub(super) const CALLERS: [Caller; 24] = [
    Caller::Nobody,
    Caller::NobodyWithToken,
    Caller::Trusted,
    Caller::TrustedWithToken,
    Caller::Member,
    Caller::MemberWithToken,
    Caller::Robot,
    Caller::RobotWithToken,
    Caller::Stranger,
    Caller::StrangerWithToken,
    Caller::StrangerFromTrustedNetwork,
    Caller::RobotOfAnother,
    Caller::RobotOfAnotherWithToken,
    Caller::WrongPassword,
    Caller::UnknownUser,
    Caller::WrongRobotPassword,
    Caller::Expired,
    Caller::ForeignKey,
    Caller::ForeignService,
    Caller::Unsigned,
    Caller::OfRemovedUser,
    Caller::Elsewhere,
    Caller::Scopeless,
    Caller::StrangerElsewhere,
];

/// What a caller is to an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    /// Sees what is cached in a public organization.
    Visitor {
        anonymous: bool,
    },
    Nobody,
    /// Known, without a role.
    Stranger,
    /// Has a token that is not for this.
    Narrowed,
    /// Did not say who it is in a way that is believed.
    Invalid {
        error: Option<&'static str>,
    },
}

impl Caller {
    pub(super) fn standing(self, visibility: Visibility) -> Standing {
        let public = visibility == Visibility::Public;
        let internal = visibility == Visibility::Internal;
        match self {
            Self::Trusted | Self::TrustedWithToken | Self::StrangerFromTrustedNetwork if internal => {
                Standing::Member
            }
            Self::Member | Self::MemberWithToken | Self::Robot | Self::RobotWithToken => Standing::Member,
            Self::WrongPassword | Self::UnknownUser | Self::WrongRobotPassword => {
                Standing::Invalid { error: None }
            }
            Self::Expired
            | Self::ForeignKey
            | Self::ForeignService
            | Self::Unsigned
            | Self::OfRemovedUser => Standing::Invalid {
                error: Some("invalid_token"),
            },
            Self::Elsewhere | Self::Scopeless => Standing::Narrowed,
            Self::Nobody | Self::NobodyWithToken | Self::Trusted | Self::TrustedWithToken if public => {
                Standing::Visitor { anonymous: true }
            }
            _ if public => Standing::Visitor { anonymous: false },
            Self::Nobody | Self::NobodyWithToken | Self::Trusted | Self::TrustedWithToken => Standing::Nobody,
            Self::StrangerElsewhere => Standing::Narrowed,
            Self::Stranger
            | Self::StrangerWithToken
            | Self::StrangerFromTrustedNetwork
            | Self::RobotOfAnother
            | Self::RobotOfAnotherWithToken => Standing::Stranger,
        }
    }

    /// Gives a request for content of `repository` what this caller would send with it.
    pub(super) async fn dress(self, world: &World, call: Call, repository: &str) -> Call {
        let organization = repository.split('/').next().unwrap();
        let grant = json!({ "type": "repository", "name": repository, "actions": ["pull"] });
        self.credentials(
            world,
            call,
            organization,
            &format!("repository:{repository}:pull"),
            &grant,
        )
        .await
    }

    /// The same for the catalog.
    pub(super) async fn dress_for_catalog(self, world: &World, call: Call) -> Call {
        let grant = json!({ "type": "registry", "name": "catalog", "actions": ["*"] });
        let organization = Visibility::Private.organization();
        self.credentials(world, call, organization, "registry:catalog:*", &grant)
            .await
    }

    fn address(self, world: &World) -> String {
        match self {
            Self::Trusted | Self::TrustedWithToken | Self::StrangerFromTrustedNetwork => {
                "10.1.2.3".to_owned()
            }
            _ => world.address(),
        }
    }

    async fn credentials(
        self,
        world: &World,
        call: Call,
        organization: &str,
        scope: &str,
        grant: &Value,
    ) -> Call {
        let address = self.address(world);
        let call = call.header("x-forwarded-for", &address);
        let (robot, foreign) = (format!("{organization}+ci"), "other+ci".to_owned());
        let password = |user: &str| {
            let (_, password, _) = USERS.iter().find(|(name, _, _)| *name == user).unwrap();
            (user.to_owned(), *password)
        };
        let elsewhere = "repository:closed/elsewhere:pull";
        let basic = match self {
            Self::Nobody | Self::Trusted => return call,
            Self::Member | Self::MemberWithToken | Self::Elsewhere | Self::Scopeless => password("alice"),
            Self::Stranger
            | Self::StrangerWithToken
            | Self::StrangerFromTrustedNetwork
            | Self::StrangerElsewhere => password("bob"),
            Self::Robot | Self::RobotWithToken => (robot, ROBOT_PASSWORD),
            Self::RobotOfAnother | Self::RobotOfAnotherWithToken => (foreign, ROBOT_PASSWORD),
            Self::WrongPassword => ("alice".to_owned(), "wrong"),
            Self::UnknownUser => ("mallory".to_owned(), "wrong"),
            Self::WrongRobotPassword => (robot, "wrong"),
            Self::NobodyWithToken | Self::TrustedWithToken => (String::new(), ""),
            Self::Expired
            | Self::ForeignKey
            | Self::ForeignService
            | Self::Unsigned
            | Self::OfRemovedUser => return call.bearer(&self.forge(world, grant)),
        };
        let (login, password) = &basic;
        match self {
            Self::NobodyWithToken | Self::TrustedWithToken => {
                call.bearer(&token(world, &address, None, scope).await)
            }
            Self::MemberWithToken
            | Self::RobotWithToken
            | Self::StrangerWithToken
            | Self::RobotOfAnotherWithToken => {
                call.bearer(&token(world, &address, Some((login, password)), scope).await)
            }
            Self::Elsewhere | Self::StrangerElsewhere => {
                call.bearer(&token(world, &address, Some((login, password)), elsewhere).await)
            }
            Self::Scopeless => call.bearer(&token(world, &address, Some((login, password)), "").await),
            _ => call.basic(login, password),
        }
    }

    /// A token that grants everything and is not good.
    fn forge(self, world: &World, grant: &Value) -> String {
        let now = world.house.now() / 1000;
        let (mut exp, mut aud, mut sub, mut key) = (now + 300, "registry.test", "alice", KEY);
        match self {
            Self::Expired => exp = now,
            Self::ForeignService => aud = "elsewhere.test",
            Self::OfRemovedUser => sub = "mallory",
            Self::ForeignKey => key = [0x5b; 32],
            _ => {}
        }
        let claims = json!({
            "iss": "quayside", "aud": aud, "sub": sub, "iat": exp - 300, "exp": exp, "access": [grant],
        });
        if self == Self::Unsigned {
            let part = |document: Value| URL_SAFE_NO_PAD.encode(document.to_string());
            return format!(
                "{}.{}.",
                part(json!({ "alg": "none", "typ": "JWT" })),
                part(claims)
            );
        }
        let key = EncodingKey::from_secret(&key);
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    }
}

/// A token of the token service.
pub(super) async fn token(world: &World, address: &str, login: Option<(&str, &str)>, scope: &str) -> String {
    let path = if scope.is_empty() {
        "/v2/auth?service=registry.test".to_owned()
    } else {
        format!("/v2/auth?service=registry.test&scope={scope}")
    };
    let call = world.call(Method::GET, &path).header("x-forwarded-for", address);
    let call = match login {
        Some((user, password)) => call.basic(user, password),
        None => call,
    };
    let answer = call.send().await;
    assert_eq!(answer.status, 200, "{}", answer.summary());
    answer.json()["token"].as_str().unwrap().to_owned()
}
