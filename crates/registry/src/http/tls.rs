//! C6: the certificate of the public port, and its renewal while the process runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use quayside_config::Tls;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Transfers of large files gain nothing from multiplexing, so no other protocol is offered.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why certificate and key cannot be used. Never says what is in the key's file (A6).
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("find a certificate in {}", path.display())]
    NoCertificate { path: PathBuf },
    #[error("find a private key in {}", path.display())]
    NoKey { path: PathBuf },
    #[error("use the certificate in {} with the key in {}", certificate.display(), key.display())]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
}

/// Why a connection did not become a TLS connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("finish the TLS handshake in time")]
    TooSlow,
    #[error("do the TLS handshake")]
    Failed(#[source] std::io::Error),
}

/// The certificate that is presented, and the files that it comes from.
pub(crate) struct Certificates {
    files: Tls,
    current: ArcSwap<ServerConfig>,
    last: Mutex<Last>,
}

/// What the last look at the files came to.
struct Last {
    fingerprint: Fingerprint,
    complaint: Option<String>,
}

type Fingerprint = Vec<u8>;

/// Both files as they were read together.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads both files; at the start a pair that is no good is fatal.
    pub(crate) fn load(files: &Tls) -> Result<Self, TlsError> {
        let pair = Pair::read(files)?;
        Ok(Self {
            current: ArcSwap::from_pointee(pair.config(files)?),
            last: Mutex::new(Last {
                fingerprint: pair.fingerprint(),
                complaint: None,
            }),
            files: files.clone(),
        })
    }

    /// Does the handshake with what is current now.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
            .await
            .map_err(|_| HandshakeError::TooSlow)?
            .map_err(HandshakeError::Failed)
    }

    /// Looks at the files and takes them if they changed. A pair that is no good changes nothing: while the files
    /// are replaced one after the other they do not fit together.
    pub(crate) fn reload(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match self.take(&mut last.fingerprint) {
            Ok(()) => last.complaint = None,
            Err(error) => {
                let complaint = format!("{:#}", anyhow::Error::from(error));
                if last.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(error = complaint, "the certificate stays as it is");
                    last.complaint = Some(complaint);
                }
            }
        }
    }

    fn take(&self, taken: &mut Fingerprint) -> Result<(), TlsError> {
        let pair = Pair::read(&self.files)?;
        let fingerprint = pair.fingerprint();
        if *taken != fingerprint {
            self.current.store(Arc::new(pair.config(&self.files)?));
            *taken = fingerprint;
            tracing::info!(certificate = %self.files.certificate_file.display(), "certificate renewed");
        }
        Ok(())
    }
}

impl Pair {
    fn read(files: &Tls) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.clone(),
                source,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate_file)?,
            key: read(&files.key_file)?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut both = digest::Context::new(&digest::SHA256);
        both.update(digest::digest(&digest::SHA256, &self.certificate).as_ref());
        both.update(&self.key);
        both.finish().as_ref().to_vec()
    }

    fn config(&self, files: &Tls) -> Result<ServerConfig, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        if chain.is_empty() {
            let path = files.certificate_file.clone();
            return Err(TlsError::NoCertificate { path });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey {
            path: files.key_file.clone(),
        })?;
        let unusable = |source| TlsError::Unusable {
            certificate: files.certificate_file.clone(),
            key: files.key_file.clone(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
