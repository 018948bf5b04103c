//! The connections to a bucket's server.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use aws_sdk_s3::{
    config::http::{HttpRequest, HttpResponse},
    error::ConnectorError,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{CaptureConnection, HttpConnector as Tcp, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_native_certs::load_native_certs;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// How many bytes a connection reads ahead of who reads its answer, and as many lie in the piece that comes next. What
/// the library would use by itself is seven times as much, which thousands of readers that stall would hold.
const AHEAD: usize = 64 << 10;

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections {
    client: Client<HttpsConnector<Tcp>, SdkBody>,
}

impl Connections {
    /// No connections yet. Servers are known by the certificates of the system, or of `SSL_CERT_FILE`.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let mut tcp = Tcp::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let https = HttpsConnector::from((tcp, tls()?));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(AHEAD)
            .build(https);
        Ok(Self { client })
    }
}

/// What trusts the certificates of the system. None at all is no reason to fail: the server may need none.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let found = load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "load certificates");
    }
    roots.add_parsable_certificates(found.certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl HttpConnector for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || described(&connection));
        }
        let answer = self.client.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(failed)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl HttpClient for Connections {
    /// Timeouts are those of whole calls, so one pool does for all settings.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Connections")
    }
}

/// Lets the library throw away a connection on which a server has failed.
fn described(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    let known = connection.connection_metadata();
    let remote = known.as_ref()?;
    let proxied = remote.is_proxied();
    drop(known);
    let connection = connection.clone();
    let metadata = ConnectionMetadata::builder().proxied(proxied).poison_fn(move || {
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    });
    Some(metadata.build())
}

/// Whatever is wrong with a connection may be different on the next one.
fn failed(error: Error) -> ConnectorError {
    if is_timeout(&error) {
        ConnectorError::timeout(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}
