//! A thin link: a TCP relay of limited rate and some length, because not every kernel can shape loopback.
//!
//! What is sent leaves when the link has sent what was given to it before, and arrives a fixed time later.
//! Both directions have the rate of their own, all connections share it, and what is on the way holds
//! nothing up: as much as the link holds may be. A connection costs a round trip, as its handshake would;
//! slow start and loss are not imitated.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What is read at once: a millisecond of a fast link at most, so that connections take turns.
const CHUNK: usize = 64 * 1024;

/// How far ahead of the link a connection may read. Timers are late by a millisecond or two; without a queue the
/// link would stand idle meanwhile.
const AHEAD: Duration = Duration::from_millis(5);

/// How wide and how long a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Width {
    /// Of each direction.
    pub(crate) bytes_per_second: u32,
    /// Half a round trip.
    pub(crate) one_way: Duration,
}

impl Width {
    /// 100 MB/s and 20 ms there and back.
    pub(crate) const THIN: Self = Self {
        bytes_per_second: 100_000_000,
        one_way: Duration::from_millis(10),
    };

    /// How long the link sends this many bytes.
    fn takes(self, length: usize) -> Duration {
        let nanoseconds = length as u64 * 1_000_000_000 / u64::from(self.bytes_per_second);
        Duration::from_nanos(nanoseconds)
    }

    /// How many chunks a connection may have on the way: twice what the link holds, and what waits before it.
    /// (Chunks that are not full fill up as soon as the window does.)
    fn window(self) -> usize {
        let chunk = self.takes(CHUNK).as_nanos().max(1);
        let chunks = 2 * (self.one_way + AHEAD).as_nanos() / chunk;
        usize::try_from(chunks).unwrap_or(usize::MAX).max(16)
    }
}

/// A relay that runs until it is dropped, and its connections with it.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The connections are tasks of a set that the accepting task owns.
        self.accepting.abort();
    }
}

impl Relay {
    /// Listens on `listen`, of which the port may be 0, and relays to `target`.
    pub(crate) async fn start(listen: SocketAddr, target: SocketAddr, width: Width) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen} for a relay"))?;
        let address = listener.local_addr().context("read address of a relay")?;
        let accepting = tokio::spawn(accept(listener, target, width));
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, width: Width) {
    let there = Arc::new(Direction::new(width));
    let back = Arc::new(Direction::new(width));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(connection(client, target, Arc::clone(&there), Arc::clone(&back)));
                }
                // Out of descriptors: those that end give some back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Relays until both directions have ended, or one has failed: then both ends are closed.
async fn connection(client: TcpStream, target: SocketAddr, there: Arc<Direction>, back: Arc<Direction>) {
    let handshake = Instant::now() + 2 * there.width.one_way;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // What is paced here must not be paced again.
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    tokio::time::sleep_until(handshake).await;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // An error says only that one of the ends is gone, and the other learns it by the close.
    let _ = tokio::try_join!(
        there.relay(from_client, to_server),
        back.relay(from_server, to_client)
    );
}

/// One direction of the link, shared by all connections.
#[derive(Debug)]
struct Direction {
    width: Width,
    /// When the last byte that was given to the link will have left.
    free_at: Mutex<Instant>,
}

/// Bytes and the moment at which they arrive.
struct Arrival {
    at: Instant,
    bytes: Bytes,
}

impl Direction {
    fn new(width: Width) -> Self {
        Self {
            width,
            free_at: Mutex::new(Instant::now()),
        }
    }

    async fn relay(&self, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(self.width.window());
        tokio::try_join!(self.send(from, sender), arrive(receiver, to))?;
        Ok(())
    }

    /// Reads as fast as the link takes it.
    async fn send(&self, mut from: OwnedReadHalf, sender: mpsc::Sender<Arrival>) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            let length = from.read_buf(&mut buffer).await?;
            let bytes = buffer.split().freeze();
            let left = self.pass(length);
            let at = left + self.width.one_way;
            // Nobody receives any more: the other end is gone.
            if sender.send(Arrival { at, bytes }).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            // An empty arrival is the end of the stream.
            if length == 0 {
                return Ok(());
            }
            if let Some(start) = left.checked_sub(AHEAD) {
                tokio::time::sleep_until(start).await;
            }
        }
    }

    /// Gives bytes to the link and says when the last of them has left.
    fn pass(&self, length: usize) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        *free_at = (*free_at).max(Instant::now()) + self.width.takes(length);
        *free_at
    }
}

/// Writes what arrives, when it arrives.
async fn arrive(mut receiver: mpsc::Receiver<Arrival>, mut to: OwnedWriteHalf) -> io::Result<()> {
    while let Some(Arrival { at, bytes }) = receiver.recv().await {
        tokio::time::sleep_until(at).await;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&bytes).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
