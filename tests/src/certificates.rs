//! Certificate authorities, and the files that a server reads its certificate from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// Somebody who signs certificates for 127.0.0.1.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// An authority that nobody trusts yet.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate, for those who trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for 127.0.0.1 and its key, PEM.
    pub fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A client that trusts this authority and nobody else, and makes a connection for every request.
    pub fn client(&self) -> reqwest::Client {
        install_provider();
        let trusted = reqwest::Certificate::from_der(&self.certificate).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([trusted])
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    }

    /// The same for bare TLS.
    pub fn client_config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

fn install_provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Someone else in this process may have been first; it is the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// The two files of `tls:` in config.yaml.
#[derive(Debug)]
pub struct Files {
    directory: TempDir,
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

impl Files {
    /// A directory for them; neither is there yet.
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// The certificate's file.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("tls.crt")
    }

    /// The key's file.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("tls.key")
    }

    /// Writes a certificate of `authority` and its key.
    pub fn write(&self, authority: &Authority) {
        let (certificate, key) = authority.issue();
        replace(&self.certificate(), &certificate);
        replace(&self.key(), &key);
    }

    /// Writes a certificate of `authority` without its key, as in the middle of a renewal.
    pub fn write_certificate(&self, authority: &Authority) {
        replace(&self.certificate(), &authority.issue().0);
    }
}

/// Never half a file.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}
