//! A registry whose program dies on request.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode};
use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::{Blob, Image};
use quayside_tests::program::{Edition, Failpoint, Launch, Program};
use quayside_tests::torture::{Age, Remains};
use serde_json::{Value, json};

/// The process is not there any more.
pub(super) struct Gone;

pub(super) type Result<T = (), E = Gone> = std::result::Result<T, E>;

/// An entry of the organizations file: nothing is filled in the background, and what is dead goes at once.
pub(super) fn organization(name: &str, upstream: &FakeUpstream) -> Value {
    json!({
        "name": name,
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "timeMachineSeconds": 0,
        "tls": { "plainHttp": true },
    })
}

/// The program and what it leaves.
pub(super) struct Scene {
    pub(super) program: Program,
    pub(super) remains: Remains,
    pub(super) http: reqwest::Client,
    /// A file was taken away, and the registry has not noticed yet.
    robbed: AtomicBool,
}

impl Scene {
    /// Nothing happens by itself, so that everything happens in the same order every time.
    pub(super) async fn new(organizations: &[Value], http: reqwest::Client) -> Self {
        let settings = json!({
            "FEATURE_QUOTA_MANAGEMENT": true,
            "gc": { "intervalSeconds": 86400, "graceSeconds": 1 },
        });
        let program = Program::prepare(Edition::Failpoints, organizations, settings).await;
        Self {
            remains: Remains::of(&program),
            program,
            http,
            robbed: AtomicBool::new(false),
        }
    }

    /// Starts the program.
    pub(super) async fn launch(&mut self, failpoint: Failpoint<'_>) -> Result {
        match self.program.launch(failpoint).await {
            Launch::Listening => Ok(()),
            Launch::Died => Err(Gone),
        }
    }

    /// Takes the file of a stored blob away, until the registry has noticed: to be called again with nothing then.
    pub(super) fn rob(&self, digest: Option<&str>) {
        let Some(digest) = digest else {
            return self.robbed.store(false, Ordering::Relaxed);
        };
        let (_, hex) = digest.split_once(':').unwrap();
        let files = self.remains.files();
        let file = files.iter().find(|(name, _)| name.contains(hex));
        self.robbed.store(true, Ordering::Relaxed);
        std::fs::remove_file(file.expect("it is stored").1).unwrap();
    }

    /// Whether the process really has ended: no answer is otherwise a fault of its own.
    pub(super) async fn confirm_death(&mut self) {
        let Self { program, .. } = self;
        eventually("the process is dead", || {
            let dead = !program.runs();
            std::future::ready(dead)
        })
        .await;
    }

    /// All dies, is released, collected and deleted.
    pub(super) async fn expire(&self) -> Result {
        for age in [Age::Tags, Age::Released, Age::Garbage] {
            self.remains.age(age).await;
            self.collect().await?;
        }
        Ok(())
    }

    pub(super) async fn collect(&self) -> Result {
        let answer = self.program.command(&self.http, Method::POST, "/gc").await;
        answer.map(drop).ok_or(Gone)
    }

    /// What is counted wrong.
    pub(super) async fn recount(&self) -> Value {
        let answer = self.program.command(&self.http, Method::GET, "/recount").await;
        answer.expect("the program runs")["found"].clone()
    }

    /// Looks at what is left. A row without its bytes is to be expected only where they were taken away.
    pub(super) async fn audit(&self) {
        if !self.robbed.swap(false, Ordering::Relaxed) {
            self.remains.audit().await;
        }
    }

    /// An image and all its blobs.
    pub(super) async fn image(&self, repository: &str, reference: &str, image: &Image) -> Result {
        let body = self.get(&format!("{repository}/manifests/{reference}")).await?;
        assert!(
            body == *image.body(),
            "another manifest: {repository}:{reference}"
        );
        for blob in image.blobs() {
            let bytes = self.get(&format!("{repository}/blobs/{}", blob.digest)).await?;
            assert!(bytes == blob.bytes, "other bytes: {}", blob.digest);
        }
        Ok(())
    }

    /// A blob that comes in its own time.
    pub(super) fn blob(
        &self,
        repository: &str,
        blob: &Blob,
    ) -> impl Future<Output = Result<Bytes>> + Send + use<> {
        let address = self.program.address();
        let url = format!("http://{address}/v2/{repository}/blobs/{}", blob.digest);
        let request = self.http.get(url);
        async {
            let response = request.send().await.map_err(|_| Gone)?;
            assert_eq!(response.status(), 200);
            response.bytes().await.map_err(|_| Gone)
        }
    }

    /// Waits until a blob is stored.
    pub(super) async fn stored(&self, blob: &Blob) -> Result {
        eventually("the blob is stored", || async {
            self.remains.has(&blob.digest).await || !self.answers().await
        })
        .await;
        if self.answers().await { Ok(()) } else { Err(Gone) }
    }

    /// Waits until no byte is on its way to storage any more.
    pub(super) async fn quiet(&self) -> Result {
        let spool = self.program.blobs().join("spool");
        let filling = "SELECT count(*) FROM fill";
        eventually("all fills have ended", || async {
            let idle = std::fs::read_dir(&spool).is_ok_and(|mut entries| entries.next().is_none());
            (idle && self.remains.number(filling).await == 0) || !self.answers().await
        })
        .await;
        if self.answers().await { Ok(()) } else { Err(Gone) }
    }

    async fn answers(&self) -> bool {
        tokio::net::TcpStream::connect(self.program.address())
            .await
            .is_ok()
    }

    /// Content, whatever happens.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes> {
        let (status, body) = self.ask(path).await?;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    /// A manifest that does not fit (Q4, Q7).
    pub(super) async fn refused(&self, path: &str) -> Result {
        let (status, body) = self.ask(path).await?;
        let text = String::from_utf8_lossy(&body);
        assert!(
            status == 403 && text.contains("Quota has been exceeded"),
            "{path}: {status} {text}"
        );
        Ok(())
    }

    /// HEAD of a dead tag, until it is one to the process, too (M11).
    pub(super) async fn head_until_resolved(&self, path: &str) -> Result {
        let url = format!("http://{}/v2/{path}", self.program.address());
        let answers = AtomicBool::new(true);
        eventually("a HEAD finds the tag dead and unchanged", || async {
            let head = self.http.head(&url).send().await;
            answers.store(head.is_ok(), Ordering::Relaxed);
            let resolved = "SELECT count(*) FROM tag WHERE resolved_at > 0";
            head.is_err() || self.remains.number(resolved).await > 0
        })
        .await;
        if answers.into_inner() { Ok(()) } else { Err(Gone) }
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Bytes)> {
        let url = format!("http://{}/v2/{path}", self.program.address());
        let response = self.http.get(url).send().await.map_err(|_| Gone)?;
        let status = response.status();
        let body = response.bytes().await.map_err(|_| Gone)?;
        Ok((status, body))
    }
}

/// The points that a run has passed, each once, in their order.
pub(super) fn points_in(file: &Path) -> Vec<String> {
    let mut points = Vec::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        if !points.iter().any(|point| point == line) {
            points.push(line.to_owned());
        }
    }
    points
}
