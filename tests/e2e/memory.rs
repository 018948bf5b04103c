//! O4: what the real program holds in memory while clients stall, swarm and pull large things.

use std::fs::DirEntry;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use quayside_test_servers::s3_door::{Operation, Seen};
use quayside_test_servers::{S3Door, Versitygw};
use quayside_tests::eventually::{eventually, holds_within, soon};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::Bucket;
use quayside_tests::images::{Blob, Image, ImageBuilder, OCI_LAYER, random_bytes};
use quayside_tests::program::Program;
use quayside_tests::torture::is_long;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// A gigabyte through a program that is not optimised does not come at once.
const LARGE: Duration = Duration::from_mins(3);
/// What the kernel takes in for a client: a thousand that stall must not use up what it has for all sockets.
const RECEIVED: u32 = 64 << 10;

/// The program with one organization that fills nothing by itself, with these keys of config.yaml.
async fn program(upstream: &FakeUpstream, settings: Value) -> Program {
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "revalidateSeconds": 3600,
        "backgroundFill": false,
        "tls": { "plainHttp": true },
    });
    Program::start_with(&[acme], settings).await
}

/// A bucket for the blobs of a program.
struct Storage {
    server: Versitygw,
    door: S3Door,
    bucket: Bucket,
    home: TempDir,
}

impl Storage {
    fn new() -> Self {
        let server = Versitygw::start();
        let door = S3Door::in_front_of(server.address());
        Self {
            bucket: Bucket::create(&server, "blobs").behind(&door.url()),
            server,
            door,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// How often a blob, or a part of one, was asked for.
    fn reads(&self) -> usize {
        let seen = self.door.seen();
        let of_blob = |seen: &&Seen| seen.operation == Operation::GetObject && seen.path.ends_with("/data");
        seen.iter().filter(of_blob).count()
    }

    /// The keys of config.yaml that name it.
    fn settings(&self) -> Value {
        json!({ "storage": { "s3": self.bucket.describe(self.home.path(), &json!({})) } })
    }
}

/// A figure of `/proc/<pid>/status`, in bytes.
fn memory(program: &Program, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * KIB
}

/// What the program has allocated.
fn anonymous(program: &Program) -> u64 {
    memory(program, "RssAnon:")
}

/// From now on the peak is counted anew.
fn forget_peak(program: &Program) {
    std::fs::write(format!("/proc/{}/clear_refs", program.pid()), "5").unwrap();
}

fn peak(program: &Program) -> u64 {
    memory(program, "VmHWM:")
}

/// Asks for a path below `acme` on a connection of its own, and reads the answer's status and nothing else.
async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVED).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head = format!("GET /v2/acme/{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    soon("the head of an answer", stream.read_exact(&mut status))
        .await
        .unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// Reads an answer to its end and returns the length of what was left of it, head and body.
async fn drain(mut stream: TcpStream) -> u64 {
    let mut nowhere = tokio::io::sink();
    let copied = timeout(LARGE, tokio::io::copy(&mut stream, &mut nowhere)).await;
    copied.expect("the end of an answer").unwrap()
}

/// O4: clients that stop reading in the middle of a blob cost at most 140 KiB each, and nobody else waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_costs_little() {
    let clients = if is_long() { 1_000 } else { 150 };
    let each = cost_of_stalled_clients(clients, json!({}), |_| true).await;
    assert!(each <= 140 * KIB, "{} KiB each", each / KIB);
}

/// B7, O4: a client that stops reading holds a connection to the bucket as well, and no more of the blob than what that
/// connection takes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_costs_little_from_a_bucket() {
    let clients = if is_long() { 500 } else { 100 };
    let storage = Storage::new();
    let reads = |times| storage.reads() as u64 >= times;
    let each = cost_of_stalled_clients(clients, storage.settings(), reads).await;
    assert!(each <= 400 * KIB, "{} KiB each", each / KIB);
}

/// Lets clients stop reading in the middle of a stored blob; gives what each of them costs, in bytes. Another one reads
/// on. `was_read` says whether bytes were asked for so many times where they are stored.
async fn cost_of_stalled_clients(clients: u64, settings: Value, was_read: impl Fn(u64) -> bool) -> u64 {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[24 << 20]);
    upstream.push("alpine", "1", &image);
    let program = program(&upstream, settings).await;
    let path = format!("alpine/blobs/{}", image.layers[0].digest);
    drain(ask(program.address(), "alpine/manifests/1").await).await;
    eventually("the blob is stored", || async {
        drain(ask(program.address(), &path).await).await;
        was_read(1)
    })
    .await;
    let before = anonymous(&program);
    let mut stalled = Vec::new();
    for _ in 0..clients {
        stalled.push(ask(program.address(), &path).await);
    }
    let all_read = || std::future::ready(was_read(clients + 1));
    eventually("storage is read for all of them", all_read).await;
    // Once nothing is written any more, all of them hold what they will hold.
    let mut seen = (0, 0);
    eventually("the sockets are full", || {
        let now = anonymous(&program);
        seen = if seen.0 == now {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
        std::future::ready(seen.1 == 40)
    })
    .await;
    let each = anonymous(&program).saturating_sub(before) / clients;
    assert!(drain(ask(program.address(), &path).await).await > 24 * MIB);
    each
}

/// O4: a manifest of nearly 4 MiB is in memory once, however many clients ask for it and are slow to read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_manifest_is_in_memory_once() {
    let upstream = FakeUpstream::start().await;
    let large = Image::builder().annotation("padding", &"x".repeat((4 << 20) - 4096));
    let large = large.build();
    upstream.push("alpine", "1", &large);
    let program = program(&upstream, json!({})).await;
    let idle = memory(&program, "VmRSS:");
    forget_peak(&program);
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let address = program.address();
        clients.spawn(async move { ask(address, "alpine/manifests/1").await });
    }
    // All have the beginning of the answer before the first reads on.
    let streams = clients.join_all().await;
    for stream in streams {
        assert!(drain(stream).await > large.body().len() as u64);
    }
    let over = peak(&program).saturating_sub(idle);
    assert!(over < 100 * MIB, "{} MiB over idle", over / MIB);
}

/// B2, O4: blobs on their way in are on disk, not in memory: eight clients with eight cold blobs stay under 120 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_blobs_go_through_the_disk() {
    let length = if is_long() { 120 << 20 } else { 20 << 20 };
    let program = pull_cold_blobs(length, json!({}), || {}).await;
    let peak = peak(&program);
    assert!(peak <= 120 * MIB, "{} MiB", peak / MIB);
}

/// B7, O4: and so are those on their way to a bucket, though it takes nothing before clients have everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_blobs_go_through_the_disk_to_a_bucket() {
    let length = if is_long() { 120 << 20 } else { 20 << 20 };
    let storage = Storage::new();
    let program = pull_cold_blobs(length, storage.settings(), || storage.server.stop()).await;
    storage.server.go_on();
    let stored = || std::future::ready(objects(&storage.bucket.directory()) == 8);
    assert!(
        holds_within(LARGE, stored).await,
        "blobs are missing in the bucket"
    );
    let peak = peak(&program);
    assert!(peak <= 120 * MIB, "{} MiB", peak / MIB);
}

/// How many blobs lie below a directory of a bucket.
fn objects(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let count = |entry: DirEntry| match entry.path() {
        path if path.is_dir() => objects(&path),
        path => usize::from(path.ends_with("data")),
    };
    entries.map(count).sum()
}

/// Eight clients pull eight blobs of this length that nobody pulled before, from a program whose peak is counted from
/// then on. `before` is called when all that is known of the blobs is known.
async fn pull_cold_blobs(length: usize, settings: Value, before: impl FnOnce()) -> Program {
    let upstream = FakeUpstream::start().await;
    let bytes = random_bytes(1, length);
    let layer = |number: u8| {
        let mut bytes = bytes.to_vec();
        bytes[0] = number;
        Blob::new(OCI_LAYER, bytes)
    };
    let image = (0..8).map(layer).fold(Image::builder(), ImageBuilder::layer);
    let image = image.build();
    upstream.push("alpine", "1", &image);
    let program = program(&upstream, settings).await;
    drain(ask(program.address(), "alpine/manifests/1").await).await;
    forget_peak(&program);
    before();
    let mut clients = JoinSet::new();
    for layer in &image.layers {
        let (address, path) = (program.address(), format!("alpine/blobs/{}", layer.digest));
        clients.spawn(async move { drain(ask(address, &path).await).await });
    }
    while let Some(read) = clients.join_next().await {
        assert!(read.unwrap() > length as u64);
    }
    program
}
