//! The programs that are measured, and where each is asked for what.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

mod bucket;
mod distribution;
mod nginx;
mod quayside;
mod varnish;

use crate::image::{Image, TAG};
use crate::process::Process;
use crate::report::names::subject;
use crate::site::{Link, Litter, Site};
use distribution::Edition;

/// How long a program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Quayside,
    NginxStatic,
    NginxCache,
    Varnish,
    Distribution2,
    Distribution3,
    Direct,
    QuaysideS3,
    Distribution3S3,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Quayside,
        Self::NginxStatic,
        Self::NginxCache,
        Self::Varnish,
        Self::Distribution2,
        Self::Distribution3,
        Self::Direct,
        Self::QuaysideS3,
        Self::Distribution3S3,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quayside => subject::QUAYSIDE,
            Self::NginxStatic => subject::NGINX_STATIC,
            Self::NginxCache => subject::NGINX_CACHE,
            Self::Varnish => subject::VARNISH,
            Self::Distribution2 => subject::DISTRIBUTION_2,
            Self::Distribution3 => subject::DISTRIBUTION_3,
            Self::Direct => subject::DIRECT,
            Self::QuaysideS3 => subject::QUAYSIDE_S3,
            Self::Distribution3S3 => subject::DISTRIBUTION_3_S3,
        }
    }

    /// Whether it keeps blobs in a bucket.
    pub(crate) fn keeps_in_bucket(self) -> bool {
        matches!(self, Self::QuaysideS3 | Self::Distribution3S3)
    }

    /// Starts it with empty directories and waits until it answers.
    pub(crate) fn start(self, site: &Site) -> anyhow::Result<Subject> {
        let started = match self {
            Self::Quayside => quayside::start(site, Storage::Directory),
            Self::QuaysideS3 => quayside::start(site, Storage::Bucket),
            Self::NginxStatic => nginx::start_static(site),
            Self::NginxCache => nginx::start_cache(site),
            Self::Varnish => varnish::start(site),
            Self::Distribution2 => distribution::start(site, Edition::Two, Storage::Directory),
            Self::Distribution3 => distribution::start(site, Edition::Three, Storage::Directory),
            Self::Distribution3S3 => distribution::start(site, Edition::Three, Storage::Bucket),
            Self::Direct => Ok(direct(site)),
        };
        started.with_context(|| format!("start {}", self.name()))
    }

    /// What the program says of its version; `None` if it is not installed.
    pub(crate) fn version(self) -> Option<String> {
        match self {
            Self::Quayside => quayside::version(),
            Self::QuaysideS3 => bucket::beside(quayside::version()),
            Self::NginxStatic | Self::NginxCache => nginx::version(),
            Self::Varnish => varnish::version(),
            Self::Distribution2 => distribution::version(Edition::Two),
            Self::Distribution3 => distribution::version(Edition::Three),
            Self::Distribution3S3 => bucket::beside(distribution::version(Edition::Three)),
            Self::Direct => Some("the origin of this benchmark".to_owned()),
        }
    }
}

/// Where a subject keeps blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    Directory,
    /// A bucket of an S3 server of its own, which is a process of its own.
    Bucket,
}

/// Whether a pull by tag asks the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// Each pull is answered by a check.
    Checked,
    /// What was there a while ago is taken for right.
    Remembered,
}

/// Where a subject is asked.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) link: Link,
    pub(crate) tags: Tags,
    pub(crate) address: SocketAddr,
    /// What stands before the repository: `/v2/` and, of some, a name.
    pub(crate) prefix: String,
    /// Which of the subject's programs it belongs to.
    process: usize,
}

impl Door {
    pub(crate) fn by_digest(&self, image: &Image) -> String {
        self.manifest(image, &image.digest)
    }

    pub(crate) fn by_tag(&self, image: &Image) -> String {
        self.manifest(image, TAG)
    }

    pub(crate) fn blob(&self, image: &Image, digest: &str) -> String {
        format!("{}{}/blobs/{digest}", self.prefix, image.repository)
    }

    fn manifest(&self, image: &Image, reference: &str) -> String {
        format!("{}{}/manifests/{reference}", self.prefix, image.repository)
    }
}

/// A subject that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    /// What does the work: none for the origin, one for each link of those that know one upstream. Behind them those
    /// that only keep bytes; no door leads to them, and their cost is not the subject's.
    processes: Vec<Process>,
    doors: Vec<Door>,
    /// Where it takes files from, if it cannot fetch them.
    files: Option<PathBuf>,
    /// What goes after its processes.
    pub(crate) litter: Option<Litter>,
}

impl Subject {
    fn new(kind: Kind, processes: Vec<Process>, doors: Vec<Door>) -> Self {
        Self {
            kind,
            processes,
            doors,
            files: None,
            litter: None,
        }
    }

    /// Where to ask; `None` if it cannot do that. Without `tags`, whichever it has.
    pub(crate) fn door(&self, link: Link, tags: Option<Tags>) -> Option<&Door> {
        let fits = |door: &&Door| door.link == link && tags.is_none_or(|tags| door.tags == tags);
        self.doors.iter().find(fits)
    }

    /// Whether it fetches what it does not have.
    pub(crate) fn fetches(&self) -> bool {
        self.files.is_none()
    }

    /// Whether its own cost can be measured: not that of the origin, which serves everybody.
    pub(crate) fn observable(&self) -> bool {
        !self.processes.is_empty()
    }

    /// The program behind a door.
    pub(crate) fn process(&self, door: &Door) -> Option<&Process> {
        self.processes.get(door.process)
    }

    /// Gives it an image that it cannot fetch.
    pub(crate) fn publish(&self, image: &Image, pool: &crate::content::Pool) -> anyhow::Result<()> {
        self.files
            .as_ref()
            .map_or(Ok(()), |files| nginx::publish(files, image, pool))
    }

    /// An error with its last words, if it has ended.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if process.ended() {
                bail!(
                    "{} has ended; it said:\n{}",
                    self.kind.name(),
                    process.last_words()
                );
            }
        }
        Ok(())
    }
}

fn direct(site: &Site) -> Subject {
    let door = |link| Door {
        link,
        tags: Tags::Checked,
        address: site.upstream(link),
        prefix: "/v2/".to_owned(),
        process: 0,
    };
    Subject::new(
        Kind::Direct,
        Vec::new(),
        vec![door(Link::Loopback), door(Link::Wire)],
    )
}

/// Waits until the program answers a request for `/v2/`, whatever the answer is.
pub(crate) fn await_answer(process: &mut Process, address: SocketAddr) -> anyhow::Result<()> {
    let asked = Instant::now();
    while !answers(address) {
        if process.ended() || asked.elapsed() > PATIENCE {
            bail!(
                "nobody answers on {address}; the program said:\n{}",
                process.last_words()
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    process.is_ready();
    Ok(())
}

fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == *b"HTTP/1.1")
    };
    ask().unwrap_or(false)
}

/// A program that `tests/tools/install.sh` has built.
fn installed(name: &str) -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("QUAYSIDE_CACHE").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/quayside"));
    Ok(cache
        .or_else(home)
        .context("find the directory of tools")?
        .join("bin")
        .join(name))
}

/// The first line that a program prints about its version, wherever it prints it.
fn version_of(program: &str, argument: &str) -> Option<String> {
    let output = std::process::Command::new(program).arg(argument).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // Some begin with the way to themselves, which is nobody's business.
    let (first, rest) = text.lines().next()?.trim().split_once(' ')?;
    let name = first.rsplit('/').next().unwrap_or(first);
    Some(format!("{name} {rest}"))
}
