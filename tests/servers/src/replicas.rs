//! A whole installation on one machine: a database, a bucket, real registry processes, and a balancer before them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::balancer::{Backend, Balancer};
use crate::ports;
use crate::postgres::{Door, Postgres};
use crate::s3_door::S3Door;
use crate::versitygw::{ACCESS_KEY_ID, Disk, REGION, SECRET_ACCESS_KEY, Versions, Versitygw};
use crate::wire::Wire;

mod replica;

pub use replica::{Echo, Replica};

/// The bucket.
pub const BUCKET: &str = "quayside";
/// What precedes every key in it.
pub const PREFIX: &str = "cache";
/// The database.
pub const DATABASE: &str = "quayside";

/// What stands between the replicas and what they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// An [`S3Door`] before the bucket, a [`Wire`] to the database, and one to the peer port of every replica.
    Doors,
}

/// What an installation is made of.
#[derive(Debug)]
pub struct Plan {
    /// The registry.
    pub binary: PathBuf,
    /// How many replicas.
    pub count: usize,
    /// The text of the organizations file.
    pub organizations: String,
    /// Keys of config.yaml that are other than usual, on every replica.
    pub settings: Value,
    /// What stands between.
    pub between: Between,
    /// What the bucket lies on.
    pub disk: Disk,
    /// Where the balancer listens; absent: on a free port.
    pub listen: Option<SocketAddr>,
    /// Where everything is kept; absent: nothing is.
    pub data: Option<PathBuf>,
    /// Where the replicas' logs go besides.
    pub echo: Echo,
}

impl Plan {
    /// Two replicas with nothing between, that keep nothing.
    pub fn of(binary: &Path, organizations: &str) -> Self {
        Self {
            binary: binary.to_owned(),
            count: 2,
            organizations: organizations.to_owned(),
            settings: json!({}),
            between: Between::Nothing,
            disk: Disk::Machine,
            listen: None,
            data: None,
            echo: Echo::Nowhere,
        }
    }
}

/// A running installation. Dropping it kills all of it.
#[derive(Debug)]
pub struct Replicas {
    // The order is that in which they end.
    /// Before all replicas.
    pub balancer: Balancer,
    processes: Vec<Replica>,
    /// Before the bucket, with [`Between::Doors`].
    pub bucket_door: Option<S3Door>,
    /// To the database, with [`Between::Doors`].
    pub database_wire: Option<Wire>,
    /// The S3 server.
    pub storage: Versitygw,
    /// The database server.
    pub database: Postgres,
    database_address: SocketAddr,
    home: PathBuf,
    _temporary: Option<TempDir>,
}

impl Replicas {
    /// Starts everything, and returns when every replica serves and the balancer knows it.
    pub fn start(plan: &Plan) -> Self {
        let mut installation = Self::prepare(plan);
        for replica in &mut installation.processes {
            replica.start();
        }
        installation.wait_for_balancer();
        installation
    }

    /// As [`Self::start`], without starting a replica.
    pub fn prepare(plan: &Plan) -> Self {
        let temporary = plan.data.is_none().then(|| {
            let builder = tempfile::Builder::new().prefix("quayside-replicas-").tempdir();
            builder.unwrap()
        });
        let home = match (&plan.data, &temporary) {
            (Some(data), _) => data.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => unreachable!("one of them is there"),
        };
        let database_address = ports::free();
        let (database, storage) = match plan.data {
            Some(_) => (
                Postgres::start_in(&home.join("postgres"), database_address),
                Versitygw::start_in(&home.join("s3")),
            ),
            None => (
                Postgres::start_behind(Door::Address(database_address)),
                Versitygw::start_on(plan.disk),
            ),
        };
        storage.create_bucket(BUCKET, Versions::Off);
        if !home.join("database.made").exists() {
            database.create_database(DATABASE);
            fs::write(home.join("database.made"), "").unwrap();
        }
        let doors = plan.between == Between::Doors;
        let mut installation = Self {
            balancer: Balancer::start(plan.listen.unwrap_or_else(ports::free)),
            processes: Vec::new(),
            bucket_door: doors.then(|| S3Door::in_front_of(storage.address())),
            database_wire: doors.then(|| Wire::to(database_address)),
            storage,
            database,
            database_address,
            home,
            _temporary: temporary,
        };
        installation.write_shared_files(&plan.organizations);
        for number in 0..plan.count {
            installation.add(plan, number);
        }
        installation
    }

    fn write_shared_files(&self, organizations: &str) {
        let address = self
            .database_wire
            .as_ref()
            .map_or(self.database_address, Wire::address);
        let url = self.database.url_at(address, DATABASE);
        for (name, text) in [
            ("database.url", url.as_str()),
            ("access-key-id", ACCESS_KEY_ID),
            ("secret-access-key", SECRET_ACCESS_KEY),
        ] {
            fs::write(self.home.join(name), text).unwrap();
        }
        for name in ["signing.key", "admin.token"] {
            let path = self.home.join(name);
            if !path.exists() {
                fs::write(path, secret()).unwrap();
            }
        }
        self.organize(organizations);
    }

    fn add(&mut self, plan: &Plan, number: usize) {
        let peer = ports::free();
        let wire = self.database_wire.is_some().then(|| Wire::to(peer));
        let advertise = wire.as_ref().map_or(peer, Wire::address);
        let (address, admin) = (ports::free(), ports::free());
        let home = self.home.join(format!("replica-{}", number + 1));
        let bucket = self
            .bucket_door
            .as_ref()
            .map_or_else(|| self.storage.url(), S3Door::url);
        let file = |name: &str| self.home.join(name);
        let mut config = json!({
            "FEATURE_PROXY_CACHE": true,
            "SERVER_HOSTNAME": self.balancer.address().to_string(),
            "PREFERRED_URL_SCHEME": "http",
            "listen": address.to_string(),
            "adminListen": admin.to_string(),
            "organizationsFile": file("organizations.yaml"),
            "database": { "postgres": { "urlFile": file("database.url"), "maxConnections": 8 } },
            "storage": { "s3": {
                "bucket": BUCKET,
                "prefix": PREFIX,
                "region": REGION,
                "endpoint": bucket,
                "accessKeyIdFile": file("access-key-id"),
                "secretAccessKeyFile": file("secret-access-key"),
                "spool": { "path": home.join("spool") },
            } },
            "peer": { "listen": peer.to_string(), "advertise": advertise.to_string() },
            "auth": { "signingKeyFile": file("signing.key") },
            "admin": { "tokenFile": file("admin.token") },
            "trustedNetworks": ["127.0.0.0/8", "::1/128"],
            "upstream": { "allowedHosts": ["127.0.0.0/8", "::1/128", "localhost"] },
        });
        merge(&mut config, &plan.settings);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("config.yaml"), config.to_string()).unwrap();
        self.balancer.add(Backend {
            address,
            probe: admin,
        });
        let addresses = [address, admin, peer];
        self.processes
            .push(Replica::new(&plan.binary, home, addresses, wire, plan.echo));
    }

    /// Returns when the balancer gives connections to every replica that runs.
    pub fn wait_for_balancer(&mut self) {
        let mut running = Vec::new();
        for replica in &mut self.processes {
            if replica.runs() {
                running.push(replica.address());
            }
        }
        crate::process::wait("the balancer knows who is ready", || {
            let ready = self.balancer.ready();
            running.iter().all(|address| ready.contains(address))
        });
    }

    /// One of the replicas, from 0.
    pub fn replica(&self, number: usize) -> &Replica {
        &self.processes[number]
    }

    /// As [`Self::replica`], to start and end it.
    pub fn replica_mut(&mut self, number: usize) -> &mut Replica {
        &mut self.processes[number]
    }

    /// All replicas.
    pub fn all(&self) -> &[Replica] {
        &self.processes
    }

    /// As [`Self::all`], to start and end them.
    pub fn all_mut(&mut self) -> &mut [Replica] {
        &mut self.processes
    }

    /// Writes the organizations file, which every replica reads a little later.
    pub fn organize(&self, organizations: &str) {
        let (fresh, file) = (
            self.home.join("organizations.new"),
            self.home.join("organizations.yaml"),
        );
        fs::write(&fresh, organizations).unwrap();
        fs::rename(fresh, file).unwrap();
    }

    /// The URL of the database, past the wire.
    pub fn database_url(&self) -> String {
        self.database.url(DATABASE)
    }

    /// The bearer token of every admin port.
    pub fn admin_token(&self) -> String {
        fs::read_to_string(self.home.join("admin.token")).unwrap()
    }

    /// The directory of the registry's own objects in the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.storage.bucket(BUCKET).join(PREFIX)
    }
}

/// Puts the keys of `other` over those of `value`, section by section.
fn merge(value: &mut Value, other: &Value) {
    match (value, other) {
        (Value::Object(value), Value::Object(other)) => {
            for (key, other) in other {
                merge(value.entry(key).or_insert(Value::Null), other);
            }
        }
        (value, other) => *value = other.clone(),
    }
}

/// 32 random bytes in hex.
fn secret() -> String {
    use std::fmt::Write as _;
    use std::io::Read as _;
    let mut bytes = [0; 32];
    let mut random = fs::File::open("/dev/urandom").unwrap();
    random.read_exact(&mut bytes).unwrap();
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
