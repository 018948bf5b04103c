//! A1: the token service, `GET` and `POST /v2/auth`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use quayside_oci::{ErrorCode, FullName};
use secrecy::SecretString;
use serde_json::json;

use super::answer::json;
use super::error::Problem;
use super::{Front, Response};
use crate::auth::access::{Decision, decide, visible};
use crate::auth::scope::{self, Scope};
use crate::auth::token::{Grant, LIFETIME_SECONDS};
use crate::auth::{Caller, Proof, Who, decode_basic, is_nobody};

/// A form over this is refused (O4).
const MAX_FORM: usize = 16 << 10;
/// A form that takes longer to arrive is refused, as a head would be (O4).
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn answer(
    front: &Arc<Front>,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Problem> {
    let client = front.client(request.headers(), peer.ip());
    let (who, scopes) = match *request.method() {
        Method::GET => {
            let scopes = scope::of_form(request.uri().query().unwrap_or_default());
            (basic(front, request.headers(), client).await?, scopes)
        }
        Method::POST => password_grant(front, request, client).await?,
        _ => {
            let message = "the token service takes GET and POST";
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message);
            return Err(problem.header(header::ALLOW, "GET, POST"));
        }
    };
    let caller = Caller {
        who,
        proof: Proof::Password,
        trusted: front.is_trusted(client),
    };
    let grants = scopes
        .into_iter()
        .map(|scope| grant(front, &caller, scope))
        .collect();
    let token = front
        .authenticator
        .tokens
        .issue(&caller.who.login(), grants, front.engine.now());
    let token = token.ok_or_else(|| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Unknown,
            "no token could be signed",
        )
    })?;
    // podman throws a token away whose life, counted from `issued_at`, is over: this is the machine's time.
    let issued_at = jiff::Timestamp::now()
        .round(jiff::Unit::Second)
        .unwrap_or_default()
        .to_string();
    let body = json!({
        "token": token, "access_token": token, "expires_in": LIFETIME_SECONDS, "issued_at": issued_at,
    });
    let mut response = json(Bytes::from(body.to_string()));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn basic(front: &Front, headers: &HeaderMap, client: IpAddr) -> Result<Who, Problem> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return Ok(Who::Anonymous);
    };
    let credentials = header.to_str().ok().and_then(|header| header.split_once(' '));
    let credentials = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let credentials = credentials.and_then(|(_, encoded)| decode_basic(encoded.trim()));
    let (login, password) =
        credentials.ok_or_else(|| unauthorized(front, "the credentials cannot be read"))?;
    if is_nobody(&login, &password) {
        return Ok(Who::Anonymous);
    }
    check(front, &login, password, client).await
}

async fn check(front: &Front, login: &str, password: SecretString, client: IpAddr) -> Result<Who, Problem> {
    let checked = front.authenticator.passwords.check(login, password, client).await;
    checked
        .map_err(|error| Problem::unheard(&error).unwrap_or_else(|| unauthorized(front, &error.to_string())))
}

fn unauthorized(front: &Front, message: &str) -> Problem {
    let challenge = format!("Basic realm=\"{}\"", front.service);
    Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
        .header(header::WWW_AUTHENTICATE, challenge)
}

/// The `OAuth2` password grant, as containerd and helm send it.
async fn password_grant(
    front: &Front,
    request: http::Request<Incoming>,
    client: IpAddr,
) -> Result<(Who, Vec<Scope>), Problem> {
    let bad = |message: &str| Problem::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message);
    let (parts, body) = request.into_parts();
    let form = tokio::time::timeout(FORM_TIMEOUT, Limited::new(body, MAX_FORM).collect())
        .await
        .map_err(|_| bad("the form did not arrive in time"))?
        .map_err(|_| bad("the form cannot be read"))?
        .to_bytes();
    let form = std::str::from_utf8(&form).map_err(|_| bad("the form is not UTF-8"))?;
    let field = |name: &str| pairs(form).find(|(key, _)| key == name).map(|(_, value)| value);
    let who = match (
        field("grant_type").as_deref(),
        field("username"),
        field("password"),
    ) {
        (Some("password"), Some(login), Some(password)) if !login.is_empty() => {
            check(front, &login, SecretString::from(password), client).await?
        }
        // Neither half of a login: nobody, or who the header says.
        (Some("password") | None, None, None) => basic(front, &parts.headers, client).await?,
        (Some("password"), _, _) => return Err(unauthorized(front, "a user name and a password are needed")),
        _ => return Err(bad("only the password grant is offered")),
    };
    Ok((who, scope::of_form(form)))
}

fn pairs(form: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(form.as_bytes()).into_owned()
}

/// What of an asked scope the caller gets; a scope is always listed, possibly with nothing.
fn grant(front: &Front, caller: &Caller, scope: Scope) -> Grant {
    let granted = match scope.kind.as_str() {
        "repository" if scope.asks("pull") && may_pull(front, caller, &scope.name) => Some("pull"),
        "registry" if scope.name == "catalog" && scope.asks("*") && may_list(front, caller) => Some("*"),
        _ => None,
    };
    let actions = granted.into_iter().map(str::to_owned).collect();
    Grant {
        kind: scope.kind,
        name: scope.name,
        actions,
    }
}

fn may_pull(front: &Front, caller: &Caller, name: &str) -> bool {
    let Ok(parsed) = FullName::parse(name) else {
        return false;
    };
    let snapshot = front.snapshot.load();
    let organization = snapshot.get(&parsed.organization).map(|served| &*served.spec);
    matches!(
        decide(organization, caller, name),
        Decision::Member | Decision::Public
    )
}

fn may_list(front: &Front, caller: &Caller) -> bool {
    let snapshot = front.snapshot.load();
    let organizations = snapshot.by_name.values().map(|served| (&*served.spec, ()));
    visible(organizations, caller).is_ok()
}
