//! The clients that speak to a bucket's server.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::{
    Client,
    config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation},
};

use super::{
    PathStyle, S3Credentials, S3Settings,
    connections::Connections,
    credentials::FromFiles,
    keys::{Keys, Last, Noted},
};

/// How long the beginning of an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// How long a call may take, its second try included: a reader whose bucket hangs is to be served in another way
/// soon (O2).
const CALL: Duration = Duration::from_secs(7);

/// How long a call may take that works on many objects and that nobody waits for.
const LONG_CALL: Duration = Duration::from_mins(1);

/// How often a call is made before it has failed. Whoever reads a body goes on by himself.
const TRIES: u32 = 2;

/// The pause before the second try: at most so long.
const PAUSE: Duration = Duration::from_millis(200);

/// How long before their end credentials are replaced at the earliest; the library takes up to a half off. That may be
/// later than a presigned URL needs, so who signs one looks at their end himself (B7).
const REPLACED_BEFORE: Duration = Duration::from_mins(5);

/// The clients of one bucket.
#[derive(Debug)]
pub(super) struct Clients {
    /// For calls that somebody waits for: they fail soon.
    pub(super) prompt: Client,
    /// For calls whose callers watch over their time themselves.
    pub(super) patient: Client,
    /// Signs URLs for others, under the name that they know the server by.
    pub(super) urls: Client,
    /// What `urls` signs with.
    pub(super) keys: Keys,
}

impl Clients {
    /// Sets the clients up; talks to no bucket.
    pub(super) async fn new(settings: &S3Settings) -> Result<Self, rustls::Error> {
        let (shared, keys) = shared(settings).await;
        let endpoint = settings.endpoint.as_deref();
        let public = settings.public_endpoint.as_deref().or(endpoint);
        let connections = Connections::new()?;
        let config = |endpoint| config(&shared, settings, endpoint).http_client(connections.clone());
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ANSWER)
            .operation_timeout(CALL);
        let prompt = config(endpoint).timeout_config(timeouts.build());
        let patient = config(endpoint).timeout_config(TimeoutConfig::disabled());
        Ok(Self {
            prompt: Client::from_conf(prompt.build()),
            patient: Client::from_conf(patient.build()),
            urls: Client::from_conf(config(public).build()),
            keys,
        })
    }
}

/// Turns a call into one on many objects, that may take its time.
pub(super) fn long() -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().operation_timeout(LONG_CALL).build())
}

/// Turns a call into one that is tried once.
pub(super) fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

async fn shared(settings: &S3Settings) -> (SdkConfig, Keys) {
    let retries = RetryConfig::standard()
        .with_max_attempts(TRIES)
        .with_initial_backoff(PAUSE)
        .with_max_backoff(PAUSE);
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .retry_config(retries)
        // Readers resume what stalls, uploads watch over themselves.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    match &settings.credentials {
        S3Credentials::Chain => {
            let cache = IdentityCache::lazy().buffer_time(REPLACED_BEFORE).build();
            let found = loader.identity_cache(cache).load().await;
            let (provider, last) = (found.credentials_provider(), Last::default());
            let noted = provider.map(|provider| {
                let noted = Noted::new(provider, last.clone());
                SharedCredentialsProvider::new(noted)
            });
            let mut shared = found.into_builder();
            shared.set_credentials_provider(noted);
            (shared.build(), Keys::Chain(last))
        }
        S3Credentials::Files {
            access_key_id,
            secret_access_key,
        } => {
            let files = FromFiles::new(access_key_id, secret_access_key);
            let loader = loader
                .identity_cache(IdentityCache::no_cache())
                .credentials_provider(files.clone());
            (loader.load().await, Keys::Files(files))
        }
    }
}

fn config(shared: &SdkConfig, settings: &S3Settings, endpoint: Option<&str>) -> Builder {
    let mut config = Builder::from(shared)
        .force_path_style(settings.path_style == PathStyle::Path)
        // Older servers refuse what the library does otherwise; integrity rests on our own digests.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    config
}
