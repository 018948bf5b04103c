//! A client that costs as little as it can, and the same for everybody: one connection, one answer at a time.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod head;

pub(crate) use head::Head;

/// What clients of registries say they take.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, */*";
/// One read of a body takes at most this much.
const BUFFER_BYTES: usize = 256 << 10;
/// An answer's head is never longer.
const HEAD_BYTES: usize = 16 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
}

/// A request, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: Method,
    bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: Method, address: SocketAddr, path: &str) -> Self {
        Self::with(method, address, path, "")
    }

    /// A GET of the bytes from `first` to `last`.
    pub(crate) fn range(address: SocketAddr, path: &str, first: u64, last: u64) -> Self {
        Self::with(
            Method::Get,
            address,
            path,
            &format!("Range: bytes={first}-{last}\r\n"),
        )
    }

    fn with(method: Method, address: SocketAddr, path: &str, more: &str) -> Self {
        let verb = match method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        };
        let text = format!("{verb} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {ACCEPT}\r\n{more}\r\n");
        Self {
            method,
            bytes: text.into_bytes(),
        }
    }
}

/// A connection that is kept alive. What was read and not used stays in the buffer.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
        })
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> anyhow::Result<Head> {
        self.stream
            .write_all(&request.bytes)
            .await
            .context("send a request")?;
        loop {
            let read = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some((head, length)) = head::parse(read)? {
                self.start += length;
                return Ok(match request.method {
                    Method::Get => head,
                    Method::Head => Head { body: 0, ..head },
                });
            }
            ensure!(
                read.len() < HEAD_BYTES,
                "the head of an answer is longer than {HEAD_BYTES} bytes"
            );
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.fill().await?;
        }
    }

    /// Reads the next bytes of a body of which `left` are missing. Never empty while some are.
    pub(crate) async fn part(&mut self, left: u64) -> anyhow::Result<&[u8]> {
        if self.start == self.end && left > 0 {
            (self.start, self.end) = (0, 0);
            self.fill().await?;
        }
        let length = (self.end - self.start).min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = self.start..self.start + length;
        self.start = part.end;
        self.buffer.get(part).context("read inside the buffer")
    }

    /// Sends a request and hands over the body in parts with their offsets.
    pub(crate) async fn fetch(
        &mut self,
        request: &Request,
        mut take: impl FnMut(u64, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Head> {
        let head = self.ask(request).await?;
        let mut offset = 0;
        while offset < head.body {
            let part = self.part(head.body - offset).await?;
            take(offset, part)?;
            offset += part.len() as u64;
        }
        Ok(head)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.stream.read(free).await.context("read an answer")? {
            0 => bail!("the connection was closed before the end of an answer"),
            length => self.end += length,
        }
        Ok(())
    }
}
