//! Where metadata is kept (C4), and where the processes that share it find each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use crate::hostname;
use crate::kind::{ADDRESS, CONNECTIONS, Kind, PATH, text};
use crate::section::{Key, Section};

/// The engine that keeps metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// One file, for one process.
    Sqlite {
        /// The database file; created when it is missing.
        path: PathBuf,
    },
    /// A `PostgreSQL` database, for any number of processes.
    Postgres {
        /// A file with the connection URL, which holds a password.
        url_file: PathBuf,
        /// The most connections that this process has open at a time.
        max_connections: u32,
    },
}

/// Where other processes of this registry fetch the blobs that this one is receiving (B2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where they are served.
    pub listen: SocketAddr,
    /// `host:port` under which the others reach it; see [`Peer::advertised`].
    pub advertise: Option<String>,
}

impl Peer {
    /// `host:port` under which other processes reach this one, `bound` being what it listens on: what the file says,
    /// else `QUAYSIDE_PEER_ADVERTISE`, else `POD_IP` with the port of `bound`, else `bound` itself unless it is every
    /// address of the machine. `None`: nobody can follow this process. `variable` reads the environment.
    pub fn advertised(
        &self,
        bound: SocketAddr,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, String> {
        let given = |name| variable(name).filter(|value| !value.trim().is_empty());
        if let Some(address) = &self.advertise {
            return Ok(Some(address.clone()));
        }
        if let Some(address) = given("QUAYSIDE_PEER_ADVERTISE") {
            let address = host_and_port(address.trim());
            return address
                .map(Some)
                .map_err(|message| format!("QUAYSIDE_PEER_ADVERTISE: {message}"));
        }
        if let Some(address) = given("POD_IP") {
            let address = address.trim().parse();
            let address = address.map_err(|_| "POD_IP: must be an IP address".to_owned())?;
            return Ok(Some(SocketAddr::new(address, bound.port()).to_string()));
        }
        Ok((!bound.ip().is_unspecified()).then(|| bound.to_string()))
    }
}

const HOST_AND_PORT: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| host_and_port(text(node)?),
};

fn host_and_port(text: &str) -> Result<String, String> {
    match hostname::authority(text)? {
        (host, Some(port)) => Ok(format!("{host}:{port}")),
        (_, None) => Err("must be host:port; the port is missing".to_owned()),
    }
}

pub(super) fn read_database(section: &mut Section<'_>) -> Option<Database> {
    let both = section.has("sqlite") && section.has("postgres");
    let postgres = Key("postgres", "A PostgreSQL database, for any number of processes.");
    let postgres_is_there = section.has(postgres.0);
    let postgres = section.alternative(postgres, read_postgres);
    let sqlite = Key("sqlite", "An SQLite database, for one process.");
    let sqlite_is_there = section.has(sqlite.0);
    let sqlite = section.alternative(sqlite, read_sqlite);
    if both {
        section.fault_of_all("sqlite and postgres exclude each other: metadata is kept in one of them");
        return None;
    }
    match (postgres_is_there, sqlite_is_there) {
        (true, _) => postgres,
        (false, true) => sqlite,
        (false, false) => Some(Database::Sqlite {
            path: DEFAULT_SQLITE.into(),
        }),
    }
}

const DEFAULT_SQLITE: &str = "/var/lib/quayside/quayside.db";

fn read_sqlite(section: &mut Section<'_>) -> Option<Database> {
    let path = section.defaulted(
        Key("path", "The database file; created when it is missing."),
        &PATH,
        DEFAULT_SQLITE,
    );
    Some(Database::Sqlite { path: path? })
}

fn read_postgres(section: &mut Section<'_>) -> Option<Database> {
    let url_file = section.required(
        Key(
            "urlFile",
            "File with the connection URL, postgres://user:password@host:port/database?sslmode=verify-full.",
        ),
        &PATH,
    );
    let max_connections = section.defaulted(
        Key(
            "maxConnections",
            "The most connections that one process has open at a time.",
        ),
        &CONNECTIONS,
        16,
    );
    Some(Database::Postgres {
        url_file: url_file?,
        max_connections: max_connections?,
    })
}

pub(super) fn read_peer(section: &mut Section<'_>) -> Option<Peer> {
    let listen = section.defaulted(
        Key(
            "listen",
            "address:port where other processes of this registry fetch what this one is receiving.",
        ),
        &ADDRESS,
        "0.0.0.0:9091",
    );
    let advertise = section.optional(
        Key(
            "advertise",
            "host:port under which the others reach `listen`. Else QUAYSIDE_PEER_ADVERTISE, else $POD_IP with the \
             port of `listen`.",
        ),
        &HOST_AND_PORT,
    );
    Some(Peer {
        listen: listen?,
        advertise,
    })
}
