//! A registry with a script: it serves what a test puts in, records what is asked, and fails on request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, Once};

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

mod answer;
mod content;
mod login;
mod request;
mod script;
mod serve;

pub use login::{Login, TokenService, UnknownNames};
pub use request::{Kind, Request};
pub use script::{Fault, Gate, On};

use crate::eventually::soon;
use crate::images::{Blob, Image, Index};
use content::Content;
use login::Tokens;
use script::Script;

#[derive(Debug, Default)]
struct State {
    content: Content,
    script: Script,
    login: Login,
    tokens: Tokens,
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    arrivals: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    address: SocketAddr,
    scheme: &'static str,
}

impl Shared {
    fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

/// A running scripted upstream. It stops when it is dropped.
pub struct FakeUpstream {
    shared: Arc<Shared>,
    tls: Option<(TlsAcceptor, String)>,
    // Bound and never listening: keeps the port ours while the upstream is stopped.
    _reserved: TcpSocket,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl FakeUpstream {
    /// Plain HTTP on a free port of 127.0.0.1, open to all.
    pub async fn start() -> Self {
        Self::launch(Login::Open, None).await
    }

    /// Plain HTTP, for those who log in.
    pub async fn with_login(login: Login) -> Self {
        Self::launch(login, None).await
    }

    /// HTTPS with a certificate of its own for 127.0.0.1 and `names`; [`Self::ca_bundle`] is what trusts it.
    pub async fn with_tls(login: Login, names: &[&str]) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Someone else in this process may have been first; it is the same provider.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        });
        let names = ["127.0.0.1"]
            .iter()
            .chain(names)
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>();
        let key = rcgen::generate_simple_self_signed(names).unwrap();
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
            .unwrap();
        Self::launch(login, Some((TlsAcceptor::from(Arc::new(config)), key.cert.pem()))).await
    }

    async fn launch(login: Login, tls: Option<(TlsAcceptor, String)>) -> Self {
        let reserved = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reserved.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                login,
                ..State::default()
            }),
            arrivals: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            address,
            scheme: if tls.is_some() { "https" } else { "http" },
        });
        let upstream = Self {
            shared,
            tls,
            _reserved: reserved,
            accepting: Mutex::new(None),
        };
        upstream.resume();
        // The first accept is ready only when the task runs once.
        tokio::task::yield_now().await;
        upstream
    }

    /// Refuses connections and breaks off those that are open.
    pub fn stop(&self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
        }
    }

    /// As [`Self::stop`], and returns when connections are refused.
    pub async fn stopped(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Accepts again after [`Self::stop`], on the same port.
    pub fn resume(&self) {
        let listener = listen(self.shared.address);
        let tls = self.tls.as_ref().map(|(acceptor, _)| acceptor.clone());
        let accepting = tokio::spawn(serve::accept(listener, tls, self.shared.clone()));
        *self.accepting.lock().unwrap() = Some(accepting);
    }

    /// `127.0.0.1:<port>`, what an organization's `remoteRegistry` begins with.
    pub fn authority(&self) -> String {
        self.shared.address.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// `http://127.0.0.1:<port>` or `https://…`.
    pub fn origin(&self) -> String {
        self.shared.origin()
    }

    /// The certificate to trust, in PEM, of an upstream with TLS.
    pub fn ca_bundle(&self) -> &str {
        self.tls.as_ref().map_or("", |(_, pem)| pem)
    }

    /// Puts an image into a repository under a tag.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) {
        self.push_untagged(repository, image);
        self.tag(repository, tag, image.digest());
    }

    /// Puts an image into a repository, by digest only.
    pub fn push_untagged(&self, repository: &str, image: &Image) {
        self.add_manifest(repository, &image.manifest);
        for blob in image.blobs() {
            self.add_blob(repository, blob);
        }
    }

    /// Puts an index and all that it names, nested indexes too, into a repository under a tag.
    pub fn push_index(&self, repository: &str, tag: &str, index: &Index) {
        self.push_index_untagged(repository, index);
        self.tag(repository, tag, index.digest());
    }

    /// Puts an index and all that it names into a repository, by digest only.
    pub fn push_index_untagged(&self, repository: &str, index: &Index) {
        self.add_manifest(repository, &index.manifest);
        for image in &index.images {
            self.push_untagged(repository, image);
        }
        for nested in &index.nested {
            self.push_index_untagged(repository, nested);
        }
    }

    /// Puts a manifest body under its digest.
    pub fn add_manifest(&self, repository: &str, manifest: &Blob) {
        let mut state = self.shared.state.lock().unwrap();
        let repository = state.content.repository(repository);
        repository
            .manifests
            .insert(manifest.digest.clone(), manifest.clone());
    }

    /// Puts a blob under its digest.
    pub fn add_blob(&self, repository: &str, blob: &Blob) {
        let mut state = self.shared.state.lock().unwrap();
        state
            .content
            .repository(repository)
            .blobs
            .insert(blob.digest.clone(), blob.bytes.clone());
    }

    /// Points a tag at a digest.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        let mut state = self.shared.state.lock().unwrap();
        state
            .content
            .repository(repository)
            .tags
            .insert(tag.to_owned(), digest.to_owned());
    }

    /// Forgets a tag; the manifest stays.
    pub fn untag(&self, repository: &str, tag: &str) {
        self.shared
            .state
            .lock()
            .unwrap()
            .content
            .repository(repository)
            .tags
            .remove(tag);
    }

    /// Forgets a blob.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.shared
            .state
            .lock()
            .unwrap()
            .content
            .repository(repository)
            .blobs
            .remove(digest);
    }

    /// Lists `referrers` under the digest of their subject.
    pub fn add_referrers(&self, repository: &str, subject: &str, referrers: &[&Image]) {
        let entries: Vec<_> = referrers
            .iter()
            .map(|image| image.manifest.descriptor())
            .collect();
        let media_type = crate::images::OCI_INDEX;
        let body = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries }).to_string();
        let mut state = self.shared.state.lock().unwrap();
        state
            .content
            .repository(repository)
            .referrers
            .insert(subject.to_owned(), body.into());
    }

    /// Puts a file outside `/v2/`, for redirects to point at.
    pub fn add_file(&self, path: &str, bytes: Bytes) {
        self.shared
            .state
            .lock()
            .unwrap()
            .content
            .files
            .insert(path.to_owned(), bytes);
    }

    /// Another login from now on. Tokens that were issued stay good.
    pub fn set_login(&self, login: Login) {
        self.shared.state.lock().unwrap().login = login;
    }

    /// No token that was issued so far is good any more.
    pub fn expire_tokens(&self) {
        self.shared.state.lock().unwrap().tokens.expire();
    }

    /// Adds a fault to the script.
    pub fn script(&self, on: On, fault: Fault) {
        self.shared.state.lock().unwrap().script.add(on, fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.state.lock().unwrap().script.clear();
    }

    /// Everything that was asked so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// Forgets what was asked so far.
    pub fn forget_requests(&self) {
        self.shared.state.lock().unwrap().requests.clear();
    }

    /// How often `method` was used on a path that ends with `ending`, like `manifests/1`.
    pub fn count(&self, method: &Method, ending: &str) -> usize {
        self.count_where(|request| request.method == *method && request.path.ends_with(ending))
    }

    /// How many requests of this method and kind there were.
    pub fn count_kind(&self, method: &Method, kind: Kind) -> usize {
        self.count_where(|request| request.method == *method && request.kind == kind)
    }

    /// How many requests fulfil `condition`.
    pub fn count_where(&self, condition: impl Fn(&Request) -> bool) -> usize {
        self.shared
            .state
            .lock()
            .unwrap()
            .requests
            .iter()
            .filter(|request| condition(request))
            .count()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Returns when at least `count` requests fulfil `condition`; panics if they take too long.
    pub async fn wait_for(&self, count: usize, condition: impl Fn(&Request) -> bool) {
        let mut arrivals = self.shared.arrivals.subscribe();
        let enough = async {
            while self.count_where(&condition) < count {
                let _ = arrivals.changed().await;
            }
        };
        soon("enough requests arrive upstream", enough).await;
    }

    /// Returns when at least `count` requests have arrived.
    pub async fn wait_for_requests(&self, count: usize) {
        self.wait_for(count, |_| true).await;
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    socket(address).listen(1024).unwrap()
}
