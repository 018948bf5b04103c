//! What several processes share: `PostgreSQL`, a bucket, and the way to each other (C1, C4).

use std::net::SocketAddr;
use std::path::PathBuf;

use quayside_config::{Config, Database, Peer, S3, S3KeyFiles, Spool, Storage, schema};

use super::{faults, paths};

/// Every key that is not in the file of one process.
pub(super) const COMPLETE: &str = r#"
SERVER_HOSTNAME: registry.example.com
database: { postgres: { urlFile: /keys/database.url, maxConnections: 2 } }
storage:
  s3:
    bucket: blobs
    region: eu-central-1
    endpoint: http://s3.internal:9000
    publicEndpoint: https://s3.example.com/
    prefix: team/cache
    pathStyle: false
    redirect: true
    allowVersioned: true
    spool: { path: /data/spool, maxBytes: 1000 }
    accessKeyIdFile: /keys/id
    secretAccessKeyFile: /keys/secret
peer: { listen: 127.0.0.1:0, advertise: "Pod-1.Example:9091" }
"#;

fn config(database: &str, storage: &str) -> String {
    format!("SERVER_HOSTNAME: a.example\ndatabase: {database}\nstorage: {storage}\n")
}

fn s3(storage: &str) -> S3 {
    let yaml = config("{}", &format!("{{ s3: {storage} }}"));
    match Config::parse(&yaml).expect(storage).storage {
        Storage::S3(s3) => s3,
        Storage::Filesystem(directory) => panic!("{directory:?}"),
    }
}

/// C1, C4
#[test]
fn reads_every_key_of_what_is_shared() {
    let config = Config::parse(COMPLETE).expect("complete");
    let database = Database::Postgres {
        url_file: "/keys/database.url".into(),
        max_connections: 2,
    };
    assert_eq!(config.database, database);
    let storage = S3 {
        bucket: "blobs".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some("http://s3.internal:9000".to_owned()),
        public_endpoint: Some("https://s3.example.com".to_owned()),
        prefix: "team/cache".to_owned(),
        path_style: false,
        redirect: true,
        allow_versioned: true,
        spool: Spool {
            path: "/data/spool".into(),
            max_bytes: Some(1000),
        },
        key_files: Some(S3KeyFiles {
            access_key_id: "/keys/id".into(),
            secret_access_key: "/keys/secret".into(),
        }),
    };
    assert_eq!(config.storage, Storage::S3(storage));
    let peer = config.peer.expect("peer");
    assert!(peer.listen.ip().is_loopback());
    assert_eq!(peer.advertise.as_deref(), Some("pod-1.example:9091"));
}

/// C1, C4: a bucket has a default for everything but its name; addressed by path where a server is named, as most
/// servers but AWS expect it.
#[test]
fn has_a_default_for_everything_but_the_bucket() {
    let storage = s3("{ bucket: blobs }");
    let expected = S3 {
        bucket: "blobs".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: None,
        public_endpoint: None,
        prefix: String::new(),
        path_style: false,
        redirect: false,
        allow_versioned: false,
        spool: Spool {
            path: PathBuf::from("/var/lib/quayside/spool"),
            max_bytes: None,
        },
        key_files: None,
    };
    assert_eq!(storage, expected);
    assert!(s3("{ bucket: blobs, endpoint: \"http://127.0.0.1:9000\" }").path_style);
}

/// C1: an engine that is named and not described is not another one.
#[test]
fn an_engine_without_a_value_is_chosen_all_the_same() {
    assert_eq!(
        faults(&config("{ postgres: }", "{ s3: }")),
        [
            "database.postgres.urlFile: is required",
            "storage.s3.bucket: is required"
        ]
    );
    assert!(Config::parse(&config("{ sqlite: }", "{ filesystem: }")).is_ok());
}

/// C1: two of a kind are a fault, whatever else is wrong with them.
#[test]
fn refuses_two_engines_at_once() {
    assert_eq!(
        faults(&config(
            "{ sqlite: {}, postgres: { urlFile: /x } }",
            "{ filesystem: {}, s3: { bucket: b } }"
        )),
        [
            "database: sqlite and postgres exclude each other: metadata is kept in one of them",
            "storage: filesystem and s3 exclude each other: blobs are kept in one of them",
        ]
    );
    let schema = schema();
    for section in ["database", "storage"] {
        assert_eq!(schema["properties"][section]["maxProperties"], 1, "{section}");
    }
}

/// C1: credentials in half are a fault of the half that is missing.
#[test]
fn refuses_half_of_the_credentials() {
    for (given, missing) in [
        ("accessKeyIdFile", "secretAccessKeyFile"),
        ("secretAccessKeyFile", "accessKeyIdFile"),
    ] {
        let yaml = config("{}", &format!("{{ s3: {{ bucket: b, {given}: /x }} }}"));
        assert_eq!(paths(&yaml), [format!("storage.s3.{missing}")]);
    }
}

/// C1
#[test]
fn checks_what_becomes_part_of_a_url() {
    for (key, bad) in [
        ("bucket", "a/b"),
        ("bucket", ""),
        ("region", "eu central"),
        ("endpoint", "s3.example.com"),
        ("endpoint", "ftp://s3.example.com"),
        ("endpoint", "https://s3.example.com/bucket"),
        ("endpoint", "https://s3.example.com?x=1"),
        ("publicEndpoint", "https://"),
        ("prefix", "/a"),
        ("prefix", "a/"),
        ("prefix", "a//b"),
        ("prefix", "../a"),
        ("prefix", "a b"),
    ] {
        let bucket = if key == "bucket" { "" } else { "bucket: b, " };
        let yaml = config("{}", &format!("{{ s3: {{ {bucket}{key}: {bad:?} }} }}"));
        assert_eq!(paths(&yaml), [format!("storage.s3.{key}")], "{bad}");
    }
}

/// A6: a password in a URL is refused without being repeated.
#[test]
fn never_repeats_an_endpoint() {
    for endpoint in [
        "http://user:canary-5f1d@s3.example.com",
        "canary-5f1d:canary-5f1d",
    ] {
        let yaml = config(
            "{}",
            &format!("{{ s3: {{ bucket: b, endpoint: {endpoint:?} }} }}"),
        );
        assert!(!faults(&yaml).concat().contains("canary"));
    }
}

/// C1, B2: the way to the others is there when the database is shared, and only then.
#[test]
fn a_peer_needs_a_shared_database() {
    let postgres = "{ postgres: { urlFile: /x } }";
    let peer = Config::parse(&config(postgres, "{}"))
        .expect(postgres)
        .peer
        .expect("peer");
    assert_eq!(peer.listen.to_string(), "0.0.0.0:9091");
    assert_eq!(peer.advertise, None);
    let alone = format!("{}peer: {{}}\n", config("{}", "{}"));
    assert_eq!(
        faults(&alone),
        ["peer: needs database.postgres: an SQLite database is of one process"]
    );
    let taken = format!("{}peer: {{ listen: 0.0.0.0:8080 }}\n", config(postgres, "{}"));
    assert_eq!(
        faults(&taken),
        ["peer.listen: must differ from listen and adminListen"]
    );
}

/// B2: the address that others are told: the file, the environment, the pod, else what is listened on.
#[test]
fn advertises_what_the_others_can_reach() {
    let told = |advertise: Option<&str>, bound: &str, variables: &[(&str, &str)]| {
        let peer = Peer {
            listen: "0.0.0.0:9091".parse().expect("address"),
            advertise: advertise.map(str::to_owned),
        };
        let bound: SocketAddr = bound.parse().expect("address");
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        peer.advertised(bound, variable)
    };
    let both = [("QUAYSIDE_PEER_ADVERTISE", "b.example:2"), ("POD_IP", "10.0.0.7")];
    let some = |address: &str| Ok(Some(address.to_owned()));
    assert_eq!(
        told(Some("a.example:1"), "0.0.0.0:9091", &both),
        some("a.example:1")
    );
    assert_eq!(told(None, "0.0.0.0:9091", &both), some("b.example:2"));
    assert_eq!(told(None, "0.0.0.0:9091", &both[1..]), some("10.0.0.7:9091"));
    assert_eq!(
        told(None, "[::]:9091", &[("POD_IP", "fd00::7")]),
        some("[fd00::7]:9091")
    );
    assert_eq!(
        told(None, "127.0.0.1:4711", &[("POD_IP", "")]),
        some("127.0.0.1:4711")
    );
    assert_eq!(told(None, "0.0.0.0:9091", &[]), Ok(None));
    for variable in ["QUAYSIDE_PEER_ADVERTISE", "POD_IP"] {
        let error = told(None, "0.0.0.0:9091", &[(variable, "no address")]).expect_err(variable);
        assert!(error.starts_with(variable), "{error}");
    }
}
