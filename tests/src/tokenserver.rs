//! A token service in the manner of the distribution registry: RS256, trusted by a certificate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_RSA_SHA256, SigningKey as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The name under which the service signs, and the one of the registry that it signs for.
pub const ISSUER: &str = "lab";

/// A user name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl Account {
    /// An account.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The value of an `Authorization` header.
    pub fn basic(&self) -> String {
        let Self { name, password } = self;
        format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
    }
}

/// The running service. Dropping it closes its port.
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    signer: Arc<Signer>,
    _tasks: JoinSet<()>,
}

/// Signs tokens, knows who may ask for them, remembers how often each scope was asked for.
struct Signer {
    key: KeyPair,
    certificate: Certificate,
    account: Account,
    asked: Mutex<HashMap<String, usize>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("account", &self.account.name)
            .finish_non_exhaustive()
    }
}

impl TokenServer {
    /// Starts a service that grants `account` everything, and everybody else nothing, on a free port.
    ///
    /// # Panics
    /// If no port or no key can be had.
    pub async fn start(account: Account) -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("generate an RSA key");
        let certificate = CertificateParams::new(vec!["token.test".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .expect("sign a certificate");
        let signer = Arc::new(Signer {
            key,
            certificate,
            account,
            asked: Mutex::default(),
        });
        let app = Router::new()
            .route("/token", routing::get(answer))
            .with_state(signer.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a free port");
        let address = listener.local_addr().expect("own address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Ends with the set.
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            signer,
            _tasks: tasks,
        }
    }

    /// Where a challenge sends clients.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The certificate that a registry trusts, PEM.
    pub fn certificate(&self) -> String {
        self.signer.certificate.pem()
    }

    /// The account that gets everything it asks for.
    pub fn account(&self) -> &Account {
        &self.signer.account
    }

    /// A token for pulling from and pushing to `repository`.
    pub fn token(&self, repository: &str) -> String {
        self.signer.token(&[format!("repository:{repository}:pull,push")])
    }

    /// How many tokens were asked for with exactly this scope.
    ///
    /// # Panics
    /// Never, unless a request panicked.
    pub fn asked(&self, scope: &str) -> usize {
        self.signer
            .asked
            .lock()
            .expect("no panic")
            .get(scope)
            .copied()
            .unwrap_or_default()
    }
}

impl Signer {
    /// A token that grants each scope as it was asked.
    fn token(&self, scopes: &[String]) -> String {
        let access: Vec<Value> = scopes.iter().filter_map(|scope| grant(scope)).collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let header =
            json!({ "typ": "JWT", "alg": "RS256", "x5c": [BASE64_STANDARD.encode(self.certificate.der())] });
        let claims = json!({
            "iss": ISSUER, "aud": ISSUER, "sub": self.account.name, "jti": now.to_string(),
            "iat": now - 10, "nbf": now - 10, "exp": now + 300, "access": access,
        });
        let encode = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(signed.as_bytes()).expect("sign a token");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// `repository:a/b:pull,push` as a claim.
fn grant(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
}

async fn answer(
    State(signer): State<Arc<Signer>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let scopes: Vec<String> = reqwest::Url::parse(&format!("http://token/?{query}"))
        .expect("a query that was received")
        .query_pairs()
        .filter(|(key, _)| key == "scope")
        .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for scope in &scopes {
        *signer
            .asked
            .lock()
            .expect("no panic")
            .entry(scope.clone())
            .or_default() += 1;
    }
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match authorization {
        None => Json(json!({ "token": signer.token(&[]), "expires_in": 300 })).into_response(),
        Some(value) if value == signer.account.basic() => {
            Json(json!({ "token": signer.token(&scopes), "expires_in": 300 })).into_response()
        }
        Some(_) => StatusCode::UNAUTHORIZED.into_response(),
    }
}
