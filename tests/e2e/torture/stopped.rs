//! O1, B2: SIGTERM in the middle of fifty transfers.

use std::net::SocketAddr;

use http::Method;
use quayside_tests::eventually::{eventually, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::images::{Blob, Image};
use quayside_tests::program::Program;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Of images that nobody has pulled before, halfway upstream. Fewer than are filled at a time from one host.
const COLD: usize = 30;
/// Of one stored blob, with clients that do not read on.
const WARM: usize = 20;
const SMALL: usize = 300_000;
/// More than fits into the buffers of the kernel between a server and a client that does not read.
const LARGE: usize = 8 << 20;

/// A client that reads its body when it is told to.
struct Transfer {
    stream: TcpStream,
    status: usize,
    expected: usize,
    body: Vec<u8>,
}

impl Transfer {
    /// Asks for a blob from this byte on, and reads no more than the head of the answer and what comes with it.
    async fn begin(registry: SocketAddr, blob: &Blob, from: usize) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let mut stream = socket.connect(registry).await.unwrap();
        let digest = &blob.digest;
        let request = format!(
            "GET /v2/acme/app/blobs/{digest} HTTP/1.1\r\nhost: registry\r\nrange: bytes={from}-\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "no answer");
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let value = |name: &str| {
            let word = head.split(name).nth(1)?.split_whitespace().next()?;
            word.parse::<usize>().ok()
        };
        Self {
            stream,
            status: value("http/1.1 ").unwrap(),
            expected: value("content-length: ").unwrap(),
            body: read.split_off(end),
        }
    }

    /// Reads to the end, whichever it is.
    async fn finish(mut self) -> Self {
        // A connection that breaks is an end, too.
        let _ = self.stream.read_to_end(&mut self.body).await;
        self
    }

    fn is_whole(&self) -> bool {
        self.body.len() == self.expected
    }

    fn assert_whole(&self, blob: &Blob) {
        let (digest, received, expected) = (&blob.digest, self.body.len(), self.expected);
        assert!(self.is_whole(), "{received} bytes of {expected} of {digest}");
        assert!(self.body == blob.bytes, "other bytes of {digest}");
    }
}

/// Fifty transfers, each in its middle.
struct Scene {
    upstream: FakeUpstream,
    program: Program,
    images: Vec<Image>,
    large: Image,
    gate: Gate,
    cold: Vec<Transfer>,
    warm: Vec<Transfer>,
}

impl Scene {
    async fn halfway(shutdown_seconds: u64) -> Self {
        let upstream = FakeUpstream::start().await;
        let large = Image::random(1000, &[LARGE]);
        upstream.push("app", "large", &large);
        let images: Vec<_> = (0..COLD as u64)
            .map(|seed| Image::random(seed, &[SMALL]))
            .collect();
        for (number, image) in images.iter().enumerate() {
            upstream.push("app", &number.to_string(), image);
        }
        let acme = json!({
            "name": "acme",
            "remoteRegistry": upstream.authority(),
            "visibility": "Internal",
            "backgroundFill": false,
            "tls": { "plainHttp": true },
        });
        let settings = json!({ "shutdownSeconds": shutdown_seconds });
        let program = Program::start_with(&[acme], settings).await;
        let mut scene = Self {
            upstream,
            program,
            images,
            large,
            gate: Gate::closed(),
            cold: Vec::new(),
            warm: Vec::new(),
        };
        scene.begin().await;
        scene
    }

    async fn begin(&mut self) {
        let registry = self.program.address();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let http = http.build().unwrap();
        let manifest = async |tag: &str| {
            let url = format!("http://{registry}/v2/acme/app/manifests/{tag}");
            assert_eq!(http.get(url).send().await.unwrap().status(), 200);
        };
        manifest("large").await;
        let whole = Transfer::begin(registry, &self.large.layers[0], 0).await;
        assert!(whole.finish().await.body == self.large.layers[0].bytes);
        for _ in 0..WARM {
            let transfer = Transfer::begin(registry, &self.large.layers[0], 0).await;
            self.warm.push(transfer);
        }
        self.upstream
            .script(On::blob(), Fault::HoldAfter(SMALL / 2, self.gate.clone()));
        for (number, image) in self.images.iter().enumerate() {
            manifest(&number.to_string()).await;
            self.cold
                .push(Transfer::begin(registry, &image.layers[0], 0).await);
        }
        self.gate.reached_by(COLD).await;
    }

    /// Waits until nobody new is let in.
    async fn refused(&self) {
        eventually("new connections are refused", || async {
            TcpStream::connect(self.program.address()).await.is_err()
        })
        .await;
    }

    /// How often upstream was asked for the bytes of a blob.
    fn asked(&self, blob: &Blob) -> usize {
        self.upstream.count(&Method::GET, &blob.digest)
    }

    /// Every transfer with its blob.
    async fn finished(&mut self) -> Vec<(Transfer, Blob)> {
        let blobs = self.images.iter().map(|image| image.layers[0].clone());
        let large = self.large.layers[0].clone();
        let all: Vec<_> = self
            .cold
            .drain(..)
            .zip(blobs)
            .chain(self.warm.drain(..).map(|transfer| (transfer, large.clone())))
            .collect();
        assert_eq!(all.len(), COLD + WARM);
        let ended = all
            .into_iter()
            .map(|(transfer, blob)| async { (soon("a transfer ends", transfer.finish()).await, blob) });
        futures::future::join_all(ended).await
    }
}

/// O1, B2: SIGTERM in the middle of fifty transfers, cold and warm: nobody new is let in, all finish, the program ends
/// with status 0, and what was filled is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_fifty_transfers_finish() {
    let mut scene = Scene::halfway(300).await;
    scene.program.terminate();
    scene.refused().await;
    scene.gate.open();
    for (transfer, blob) in scene.finished().await {
        transfer.assert_whole(&blob);
    }
    assert_eq!(scene.program.ended().await, Some(0));
    scene.upstream.stopped().await;
    scene.program.resume().await;
    for image in &scene.images {
        let again = Transfer::begin(scene.program.address(), &image.layers[0], 0).await;
        assert!(again.finish().await.body == image.layers[0].bytes);
        assert_eq!(scene.asked(&image.layers[0]), 1);
    }
}

/// O1, B2: what is not finished after `shutdownSeconds` is cut, which no client takes for the whole; each resumes by
/// Range at the next start, has every byte in the end, and upstream is not asked again for what was stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_transfers_cut_at_the_limit_resume_by_range() {
    let mut scene = Scene::halfway(1).await;
    scene.program.terminate();
    assert_eq!(scene.program.ended().await, Some(0));
    let cut = scene.finished().await;
    scene.gate.open();
    scene.program.resume().await;
    for (transfer, blob) in cut {
        let (received, expected) = (transfer.body.len(), transfer.expected);
        assert!(
            received < expected,
            "{} of {expected} bytes was to be cut",
            blob.digest
        );
        assert!(
            blob.bytes.starts_with(&transfer.body),
            "other bytes: {}",
            blob.digest
        );
        let rest = Transfer::begin(scene.program.address(), &blob, received).await;
        let rest = soon("the rest comes", rest.finish()).await;
        assert_eq!((rest.status, rest.is_whole()), (206, true), "{}", blob.digest);
        assert!(
            [transfer.body, rest.body].concat() == blob.bytes,
            "{}",
            blob.digest
        );
    }
    assert_eq!(scene.asked(&scene.large.layers[0]), 1);
    for image in &scene.images {
        assert_eq!(scene.asked(&image.layers[0]), 2);
    }
}
