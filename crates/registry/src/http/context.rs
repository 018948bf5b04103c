//! One request, taken apart: who asks, and whether they may (M1).

use std::net::SocketAddr;
use std::sync::Arc;

use http::header;
use http::{HeaderMap, StatusCode};
use quayside_oci::{ErrorCode, FullName};

use super::Front;
use super::error::Problem;
use crate::auth::access::{Decision, decide};
use crate::auth::{AuthError, Caller, Who};
use crate::organizations::Served;
use crate::pull::{self, Viewer};

/// One request, taken apart.
pub(crate) struct Context<'a> {
    pub(crate) front: &'a Arc<Front>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) method: pull::Method,
    pub(crate) peer: SocketAddr,
}

/// A request that may see an organization's content.
pub(crate) struct Authorized {
    pub(crate) served: Arc<Served>,
    pub(crate) viewer: Viewer,
    pub(crate) caller: Caller,
}

impl Context<'_> {
    /// Who asks. `scope` is what a token for the request has to list.
    pub(crate) async fn caller(&self, scope: Option<&str>) -> Result<Caller, Problem> {
        let caller = self.front.caller(self.headers, self.peer.ip()).await;
        caller.map_err(|error| self.unauthenticated(&error, scope))
    }

    /// M1: decides before anything else happens.
    pub(crate) async fn authorize(&self, name: &FullName) -> Result<Authorized, Problem> {
        let caller = self.front.caller(self.headers, self.peer.ip()).await;
        let caller = caller.map_err(|error| self.unauthenticated(&error, Some(&pull_scope(name))))?;
        let served = self.front.snapshot.load().get(&name.organization).cloned();
        let decision = decide(
            served.as_deref().map(|served| &*served.spec),
            &caller,
            &name.to_string(),
        );
        let viewer = match decision {
            Decision::Member => Viewer::Member,
            Decision::Public => Viewer::Public,
            Decision::Challenge => return Err(self.challenge(Some(&pull_scope(name)))),
            Decision::InsufficientScope => return Err(self.insufficient_scope(&pull_scope(name))),
            Decision::Denied => return Err(denied(&caller.who, name)),
        };
        // Only an organization that is served grants anything.
        let served = served.ok_or_else(|| denied(&caller.who, name))?;
        Ok(Authorized {
            served,
            viewer,
            caller,
        })
    }

    fn unauthenticated(&self, error: &AuthError, scope: Option<&str>) -> Problem {
        if let Some(problem) = Problem::unheard(error) {
            return problem;
        }
        let error_attribute = matches!(error, AuthError::BadToken).then_some("invalid_token");
        self.unauthorized(error.to_string(), scope, error_attribute)
    }

    /// A4: 401 for who did not log in.
    pub(crate) fn challenge(&self, scope: Option<&str>) -> Problem {
        self.unauthorized("authentication required".to_owned(), scope, None)
    }

    /// A1: the token does not say that it is for this, so the client gets another one.
    pub(crate) fn insufficient_scope(&self, scope: &str) -> Problem {
        let message = "the token was not issued for this";
        self.unauthorized(message.to_owned(), Some(scope), Some("insufficient_scope"))
    }

    fn unauthorized(&self, message: String, scope: Option<&str>, error: Option<&str>) -> Problem {
        let Front { realm, service, .. } = &**self.front;
        let scope = scope
            .map(|scope| format!(",scope=\"{scope}\""))
            .unwrap_or_default();
        let error = error
            .map(|error| format!(",error=\"{error}\""))
            .unwrap_or_default();
        let challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}{error}");
        Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
            .header(header::WWW_AUTHENTICATE, challenge)
    }
}

/// The scope that a token for a pull lists.
pub(crate) fn pull_scope(name: &FullName) -> String {
    format!("repository:{name}:pull")
}

fn denied(who: &Who, name: &FullName) -> Problem {
    let message = match who {
        Who::Anonymous => "anonymous users may not pull from this organization".to_owned(),
        who => format!(
            "{} has no role in organization {}",
            who.login(),
            name.organization
        ),
    };
    Problem::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
}
