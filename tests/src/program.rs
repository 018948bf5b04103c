//! The real `quayside-registry` program, to be killed, and `make run`, as somebody with a fresh machine types it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use quayside_failpoints::{DIE_AT, RECORD_IN};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::ports;
use crate::tools::{self, Daemon, Outcome, START_LIMIT};

/// How long a build may take when nothing of it is there yet, beside other builds.
const BUILD_LIMIT: Duration = Duration::from_mins(20);

/// Which build of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// The one that is shipped.
    Plain,
    /// The one with the failpoints in it.
    Failpoints,
}

/// What a start of the program came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// It serves.
    Listening,
    /// It has ended before.
    Died,
}

/// Which point of the program does something else than to be passed.
#[derive(Clone, Copy, Debug)]
pub enum Failpoint<'a> {
    /// None.
    Nowhere,
    /// The process dies there.
    At(&'a str),
    /// All that are passed are listed in this file.
    Listed(&'a Path),
}

/// A registry in a process of its own, over a directory that stays when it is killed.
#[derive(Debug)]
pub struct Program {
    daemon: Option<Daemon>,
    binary: PathBuf,
    config: PathBuf,
    home: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    level: String,
    user: Option<u32>,
}

impl Program {
    /// Builds the program if it is not built, and starts it with these entries in its organizations file.
    ///
    /// # Panics
    /// If it cannot be built or does not start.
    pub async fn start(organizations: &[Value]) -> Self {
        Self::start_with(organizations, json!({})).await
    }

    /// As [`Self::start`], with these keys of config.yaml.
    ///
    /// # Panics
    /// If it cannot be built or does not start.
    pub async fn start_with(organizations: &[Value], settings: Value) -> Self {
        let mut program = Self::prepare(Edition::Plain, organizations, settings).await;
        program.resume().await;
        program
    }

    /// As [`Self::start_with`], of this edition, and without starting it.
    ///
    /// # Panics
    /// If it cannot be built.
    pub async fn prepare(edition: Edition, organizations: &[Value], settings: Value) -> Self {
        let home = tempfile::tempdir().expect("make a directory for the registry");
        let (address, admin) = (ports::free(), ports::free());
        let [file, config] = ["organizations.yaml", "config.yaml"].map(|name| home.path().join(name));
        let mut document = json!({
            "FEATURE_PROXY_CACHE": true,
            "SERVER_HOSTNAME": address.to_string(),
            "PREFERRED_URL_SCHEME": "http",
            "listen": address.to_string(),
            "adminListen": admin.to_string(),
            "organizationsFile": file,
            "database": { "sqlite": { "path": home.path().join("quayside.db") } },
            "storage": { "filesystem": { "path": home.path().join("blobs"), "minFreeBytes": 0 } },
            "trustedNetworks": ["127.0.0.0/8"],
            "upstream": { "allowedHosts": ["127.0.0.0/8"] },
        });
        for (key, value) in settings.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        std::fs::write(&config, document.to_string()).expect("write the registry's configuration");
        let program = Self {
            daemon: None,
            binary: binary(edition).await,
            config,
            home,
            address,
            admin,
            level: "info".to_owned(),
            user: None,
        };
        program.organize(organizations);
        program
    }

    /// Writes these entries as its organizations file, which it reads at its next start or a little later.
    ///
    /// # Panics
    /// If that cannot be written.
    pub fn organize(&self, organizations: &[Value]) {
        let document = json!({ "organizations": organizations }).to_string();
        let fresh = self.home.path().join("organizations.new");
        std::fs::write(&fresh, document)
            .and_then(|()| std::fs::rename(&fresh, self.home.path().join("organizations.yaml")))
            .expect("write the organizations file");
    }

    /// Where the OCI API is served; stays the same over a restart.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the admin port of the running program, as the tools do; nothing if the program goes away meanwhile.
    ///
    /// # Panics
    /// With what it says, if it does not do it.
    pub async fn command(&self, client: &reqwest::Client, method: Method, path: &str) -> Option<Value> {
        let token = std::fs::read_to_string(self.home.path().join("admin.token")).ok()?;
        let url = format!("http://{}{path}", self.admin);
        let response = client.request(method, url).bearer_auth(token.trim());
        let response = response.send().await.ok()?;
        let status = response.status();
        let text = response.text().await.ok()?;
        assert_eq!(status, 200, "{path}: {text}");
        Some(serde_json::from_str(&text).expect("the admin port speaks JSON"))
    }

    /// The directory of the stored blobs.
    pub fn blobs(&self) -> PathBuf {
        self.home.path().join("blobs")
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.home.path().join("quayside.db")
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the program runs").pid()
    }

    /// All that it has written since it was started last.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// The file that is executed.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its config.yaml.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Runs a command of the program with this configuration to its end, beside what runs already.
    pub async fn run(&self, words: &[&str]) -> Outcome {
        let mut command = tools::command(&self.binary);
        command.args(words).arg("--config").arg(&self.config);
        tools::run(command).await
    }

    /// Starts it beside a terminal, as somebody types it; it must not run already.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn on_a_terminal(&self) -> Daemon {
        let line = format!(
            "{} serve --config {}",
            self.binary.display(),
            self.config.display()
        );
        let mut command = tools::command(&tools::system("script"));
        command.args(["--quiet", "--flush", "--command", &line, "/dev/null"]);
        let daemon = Daemon::start(command);
        daemon.line("listening").await;
        daemon
    }

    /// How much it logs from its next start on, as in `RUST_LOG`.
    pub fn talk(&mut self, level: &str) {
        level.clone_into(&mut self.level);
    }

    /// Gives all that it has to this user, and runs it as that user from its next start on: permissions hold back
    /// everybody but root.
    ///
    /// # Panics
    /// If that takes more rights than the test has.
    pub fn run_as(&mut self, user: u32) {
        for path in [
            self.home.path(),
            &self.config,
            &self.home.path().join("organizations.yaml"),
        ] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).expect("give away what is ours");
        }
        self.user = Some(user);
    }

    /// Asks it to end, and does not wait for that.
    ///
    /// # Panics
    /// If it does not run.
    pub fn terminate(&self) {
        self.daemon.as_ref().expect("the program runs").terminate();
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Ends it as `kill` does, and returns its exit status.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub async fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.ended().await
    }

    /// Its exit status, once it has ended by itself.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("the program runs");
        daemon.ended().await
    }

    /// Starts it again over the same directory.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn resume(&mut self) {
        let launch = self.launch(Failpoint::Nowhere).await;
        assert_eq!(
            launch,
            Launch::Listening,
            "ended before it served:\n{}",
            self.log()
        );
    }

    /// Starts it, and says whether it came to serve.
    ///
    /// # Panics
    /// If it does neither that nor end.
    pub async fn launch(&mut self, failpoint: Failpoint<'_>) -> Launch {
        let mut command = match self.user {
            None => tools::command(&self.binary),
            Some(user) => tools::command_as(user, &self.binary),
        };
        command.arg("serve").arg("--config").arg(&self.config);
        command.env("RUST_LOG", &self.level);
        match failpoint {
            Failpoint::Nowhere => {}
            Failpoint::At(point) => drop(command.env(DIE_AT, point)),
            Failpoint::Listed(file) => drop(command.env(RECORD_IN, file)),
        }
        let daemon = self.daemon.insert(Daemon::start(command));
        match daemon.line_or_end(START_LIMIT, "\"listening\"").await {
            Some(_) => Launch::Listening,
            None => Launch::Died,
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Daemon::runs)
    }
}

/// `make run` or `make run-replicas`, running.
#[derive(Debug)]
pub struct MakeRun {
    daemon: Daemon,
    address: SocketAddr,
}

impl MakeRun {
    /// Runs `make run` on a free port, over `data`, with this organizations file, and waits until it serves.
    ///
    /// # Panics
    /// If it ends, or is not there in time.
    pub async fn start(data: &Path, organizations: &Path) -> Self {
        Self::target("run", "\"listening\"", data, organizations).await
    }

    /// As [`MakeRun::start`], for `make run-replicas`.
    ///
    /// # Panics
    /// As [`MakeRun::start`].
    pub async fn replicas(data: &Path, organizations: &Path) -> Self {
        Self::target("run-replicas", "Ctrl-C ends everything", data, organizations).await
    }

    async fn target(target: &str, marker: &str, data: &Path, organizations: &Path) -> Self {
        let address = ports::free();
        // Killing make leaves what it started. The end of a namespace of processes is the end of all in it.
        let mut command = tools::command(&tools::system("unshare"));
        command.args(["--pid", "--fork", "--kill-child=KILL"]);
        command.args(["make", "--no-print-directory", target]);
        command.arg(format!("PORT={}", address.port())).arg("PROFILE=dev");
        command.arg(format!("DATA={}", data.display()));
        command.arg(format!("ORGANIZATIONS={}", organizations.display()));
        let daemon = Daemon::start(as_typed_by_hand(command));
        daemon.line_within(BUILD_LIMIT, marker).await;
        Self { daemon, address }
    }

    /// Where the OCI API is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that was printed so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Sends a signal, like `KILL`, to that of its processes whose command line ends with `ending`.
    ///
    /// # Panics
    /// If there is none.
    pub fn signal(&self, name: &str, ending: &str) {
        let mut processes = vec![self.daemon.pid()];
        while let Some(process) = processes.pop() {
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            if line
                .strip_suffix(b"\0")
                .is_some_and(|line| line.ends_with(ending.as_bytes()))
            {
                quayside_test_servers::process::signal(process, name);
                return;
            }
            let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
            let children = children.unwrap_or_default();
            processes.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
        panic!("no process {ending}:\n{}", self.log());
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn ended(mut self) -> Option<i32> {
        self.daemon.ended().await
    }
}

/// The program, built in the profile of this test.
pub(crate) async fn binary(edition: Edition) -> PathBuf {
    static PLAIN: OnceCell<PathBuf> = OnceCell::const_new();
    static FAILPOINTS: OnceCell<PathBuf> = OnceCell::const_new();
    let built = match edition {
        Edition::Plain => &PLAIN,
        Edition::Failpoints => &FAILPOINTS,
    };
    built.get_or_init(|| build(edition)).await.clone()
}

async fn build(edition: Edition) -> PathBuf {
    // <target>/<directory of the profile>/deps/<this test>
    let test = std::env::current_exe().expect("a test knows its own path");
    let directory = test.ancestors().nth(2).expect("a test lies two directories deep");
    let target = directory
        .parent()
        .expect("a profile lies in the target directory");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = tools::command(&tools::system("cargo"));
    command
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(target);
    let name = match edition {
        Edition::Plain => "quayside-registry",
        Edition::Failpoints => "quayside-registry-failpoints",
    };
    command.args(["--package", "quayside-registry", "--bin", name]);
    if edition == Edition::Failpoints {
        command.args(["--features", "failpoints"]);
    }
    tools::run_within(BUILD_LIMIT, as_typed_by_hand(command))
        .await
        .ok();
    directory.join(name)
}

/// In the repository's root, without what cargo has told this test about itself and make about its jobs.
fn as_typed_by_hand(mut command: std::process::Command) -> std::process::Command {
    let told = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_PRIMARY_",
        "LD_LIBRARY_PATH",
        "MAKE",
        "MFLAGS",
    ];
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| told.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}
