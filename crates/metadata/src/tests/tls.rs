//! TLS to the database, as its URL says.

use std::path::Path;

use quayside_test_servers::postgres::Door;
use quayside_test_servers::{Postgres, ports};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::sql::{Statement, args};
use crate::{Metadata, MetadataError, PostgresSettings};

/// Writes the certificate of an authority, and gives one of a server called `name` with its key.
fn issue(authority: &Path, name: &str) -> (String, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(authority, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new([name.to_owned()]).unwrap();
    (
        server.signed_by(&key, &issuer).unwrap().pem(),
        key.serialize_pem(),
    )
}

/// Whether the connections of such a URL are encrypted.
async fn is_encrypted(url: &str) -> Result<bool, MetadataError> {
    const ENCRYPTED: Statement = Statement::new(
        "look at connection",
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    );
    let settings = PostgresSettings {
        url: url.into(),
        connections: 1,
    };
    let metadata = Metadata::open_postgres(&settings).await?;
    let row = metadata.engine().fetch_optional(ENCRYPTED, args![]).await?;
    row.unwrap().flag(0)
}

/// C1, C4: what the URL asks for is what happens: plain, encrypted, or only to a server that an authority vouches for,
/// by its name too.
#[tokio::test]
async fn url_says_how_much_tls_there_is() {
    let address = ports::free();
    let mut server = Postgres::start_behind(Door::Address(address));
    server.create_database("quayside");
    let port = address.port();
    let url = |host: &str, query: &str| format!("postgres://quayside@{host}:{port}/quayside?sslmode={query}");
    let required = is_encrypted(&url("127.0.0.1", "require")).await;
    assert!(required.is_err(), "there is no TLS yet: {required:?}");

    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    let (certificate, key) = issue(&authority, "localhost");
    server.certify(&certificate, &key);
    server.stop();
    server.go_on();

    assert!(!is_encrypted(&url("127.0.0.1", "disable")).await.unwrap());
    assert!(is_encrypted(&url("127.0.0.1", "prefer")).await.unwrap());
    assert!(is_encrypted(&url("127.0.0.1", "require")).await.unwrap());
    let trusting = |mode: &str| format!("{mode}&sslrootcert={}", authority.display());
    assert!(
        is_encrypted(&url("localhost", &trusting("verify-full")))
            .await
            .unwrap()
    );
    assert!(
        is_encrypted(&url("127.0.0.1", &trusting("verify-ca")))
            .await
            .unwrap()
    );
    let misnamed = is_encrypted(&url("127.0.0.1", &trusting("verify-full"))).await;
    assert!(
        matches!(misnamed, Err(MetadataError::Unavailable { .. })),
        "{misnamed:?}"
    );
    let stranger = is_encrypted(&url("localhost", "verify-full")).await;
    assert!(
        matches!(stranger, Err(MetadataError::Unavailable { .. })),
        "{stranger:?}"
    );
}
