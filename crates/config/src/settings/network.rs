//! How clients reach this registry, and how it reaches upstreams.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use crate::fault::shown;
use crate::hostname;
use crate::kind::{self, Kind, PATH, POSITIVE_SECONDS, text};
use crate::section::{Key, Section};

/// The scheme of the URLs that clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The scheme as it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Certificate and key of the listener (C6), PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and the chain behind it.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// How upstreams are contacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// What A7 would refuse and is allowed all the same.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The longest time to establish a connection.
    pub connect_timeout: Duration,
    /// The longest time without a byte.
    pub read_timeout: Duration,
}

/// One entry of `upstream.allowedHosts` (A7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// This name exactly; lower case, no final dot.
    Name(String),
    /// Every address in this network, and so every name that resolves into it.
    Net(IpNet),
}

const SCHEMES: [(&str, Scheme); 2] = [("https", Scheme::Https), ("http", Scheme::Http)];

pub(super) const SCHEME: Kind<Scheme> = Kind {
    schema: || kind::words(&SCHEMES),
    read: |node| kind::pick(node, &SCHEMES),
};

/// `host[:port]`, kept as it is written: tokens are compared with it letter by letter.
pub(super) const SERVER_HOSTNAME: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| {
        let text = text(node)?;
        hostname::authority(text).map(|_| text.to_owned())
    },
};

const ALLOWED_HOST: Kind<AllowedHost> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| {
        let text = text(node)?;
        if let Some(net) = kind::network(text) {
            return Ok(AllowedHost::Net(net));
        }
        if text.contains('*') {
            return Err("must be one name, address or network; there are no patterns".to_owned());
        }
        let name = hostname::name(text).map_err(|_| {
            format!(
                "must be a name, an address or a network, without a port, not {}",
                shown(text)
            )
        })?;
        Ok(kind::network(&name).map_or(AllowedHost::Name(name), AllowedHost::Net))
    },
};

pub(super) fn read_tls(section: &mut Section<'_>) -> Option<Tls> {
    let certificate_file = section.required(
        Key("certificateFile", "The certificate with its chain, PEM."),
        &PATH,
    );
    let key_file = section.required(Key("keyFile", "The private key, PEM."), &PATH);
    Some(Tls {
        certificate_file: certificate_file?,
        key_file: key_file?,
    })
}

pub(super) fn read_upstream(section: &mut Section<'_>) -> Option<UpstreamSettings> {
    let allowed_hosts = section.values(
        Key(
            "allowedHosts",
            "Names, addresses and networks that may be contacted although they are private.",
        ),
        &ALLOWED_HOST,
    );
    let connect_timeout = section.defaulted(
        Key(
            "connectTimeoutSeconds",
            "The longest time to establish a connection.",
        ),
        &POSITIVE_SECONDS,
        5,
    );
    let read_timeout = section.defaulted(
        Key(
            "readTimeoutSeconds",
            "The longest time without a byte from an upstream.",
        ),
        &POSITIVE_SECONDS,
        30,
    );
    Some(UpstreamSettings {
        allowed_hosts,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
    })
}
