//! A client that pulls an image as real ones do and compares every byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;

use crate::content::Pool;
use crate::http::{Connection, Head, Method, Request};
use crate::image::{Blob, Image};
use crate::subject::Door;

/// Of the message of an error.
const MESSAGE_BYTES: u64 = 300;

/// Somebody who wants one image.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) pool: Pool,
    pub(crate) door: Door,
    pub(crate) image: Arc<Image>,
}

impl Client {
    /// Pulls all of the image: the manifest, then the blobs, some of them at a time.
    pub(crate) async fn pull(self, at_a_time: usize) -> anyhow::Result<()> {
        let mut first = Some(self.resolve().await?);
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..at_a_time.min(self.image.blobs.len()) {
            let (client, next, connection) = (self.clone(), Arc::clone(&next), first.take());
            workers.spawn(client.pull_blobs(connection, next));
        }
        while let Some(worker) = workers.join_next().await {
            worker.context("run a client")??;
        }
        Ok(())
    }

    /// Connects, asks for the tag by HEAD and fetches the manifest by its digest.
    pub(crate) async fn resolve(&self) -> anyhow::Result<Connection> {
        let mut connection = Connection::open(self.door.address).await?;
        let by_tag = self.door.by_tag(&self.image);
        let head = connection
            .ask(&Request::new(Method::Head, self.door.address, &by_tag))
            .await?;
        let length = self.image.manifest.len() as u64;
        ensure!(
            head.status == 200 && head.length == length,
            "HEAD {by_tag} answers {head:?}"
        );
        self.manifest(&mut connection, &self.door.by_digest(&self.image))
            .await?;
        Ok(connection)
    }

    /// Fetches the manifest from a path.
    pub(crate) async fn manifest(&self, connection: &mut Connection, path: &str) -> anyhow::Result<()> {
        let mut body = Vec::with_capacity(self.image.manifest.len());
        let take = |_, part: &[u8]| {
            body.extend_from_slice(part);
            Ok(())
        };
        connection
            .fetch(&Request::new(Method::Get, self.door.address, path), take)
            .await?;
        ensure!(body == self.image.manifest, "another manifest under {path}");
        Ok(())
    }

    /// Fetches a blob and says when its first byte was there.
    pub(crate) async fn blob(&self, connection: &mut Connection, blob: &Blob) -> anyhow::Result<Instant> {
        let path = self.door.blob(&self.image, &blob.digest);
        let request = Request::new(Method::Get, self.door.address, &path);
        let head = connection.ask(&request).await?;
        let size = blob.content.size;
        must_be(connection, head, size)
            .await
            .with_context(|| format!("GET {path}"))?;
        let mut first_byte = None;
        let mut offset = 0;
        while offset < size {
            offset += self.part(connection, blob, offset, size - offset).await?;
            first_byte.get_or_insert_with(Instant::now);
        }
        first_byte.with_context(|| format!("{path} is empty"))
    }

    /// Fetches the bytes from `first` to `last` and returns the status: 206, or 200 of those that send all.
    pub(crate) async fn range(&self, blob: &Blob, first: u64, last: u64) -> anyhow::Result<u16> {
        let mut connection = Connection::open(self.door.address).await?;
        let path = self.door.blob(&self.image, &blob.digest);
        let head = connection
            .ask(&Request::range(self.door.address, &path, first, last))
            .await?;
        let (mut offset, end) = match head.status {
            206 => (first, last + 1),
            200 => (0, blob.content.size),
            status => anyhow::bail!("a range of {path} answers {status}"),
        };
        ensure!(head.length == end - offset, "a range of {path} answers {head:?}");
        while offset < end {
            offset += self.part(&mut connection, blob, offset, end - offset).await?;
        }
        Ok(head.status)
    }

    /// Asks for a blob and reads the first `bytes` of it at least.
    pub(crate) async fn begin(&self, blob: &Blob, bytes: u64) -> anyhow::Result<Connection> {
        let mut connection = Connection::open(self.door.address).await?;
        let path = self.door.blob(&self.image, &blob.digest);
        let head = connection
            .ask(&Request::new(Method::Get, self.door.address, &path))
            .await?;
        ensure!(head.status == 200, "GET {path} answers {head:?}");
        let mut offset = 0;
        while offset < bytes {
            offset += self
                .part(&mut connection, blob, offset, blob.content.size - offset)
                .await?;
        }
        Ok(connection)
    }

    async fn pull_blobs(self, connection: Option<Connection>, next: Arc<AtomicUsize>) -> anyhow::Result<()> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => Connection::open(self.door.address).await?,
        };
        while let Some(blob) = self.image.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.blob(&mut connection, blob).await?;
        }
        Ok(())
    }

    /// Reads what is there next of a body, and compares it.
    async fn part(
        &self,
        connection: &mut Connection,
        blob: &Blob,
        offset: u64,
        left: u64,
    ) -> anyhow::Result<u64> {
        let part = connection.part(left).await?;
        let right = blob.content.matches(&self.pool, offset, part);
        ensure!(right, "wrong bytes at {offset} of {}", blob.digest);
        Ok(part.len() as u64)
    }
}

/// An error with the beginning of what an unexpected answer says.
async fn must_be(connection: &mut Connection, head: Head, length: u64) -> anyhow::Result<()> {
    if head.status == 200 && head.length == length {
        return Ok(());
    }
    let text = connection.part(head.body.min(MESSAGE_BYTES)).await?;
    bail!(
        "status {} and {} bytes: {}",
        head.status,
        head.length,
        String::from_utf8_lossy(text)
    )
}
