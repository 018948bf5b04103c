//! A closed loop: a number of connections, each asking again as soon as it has its answer.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::http::{Connection, Request};

/// What every answer must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// `Content-Length`, after HEAD too.
    pub(crate) length: u64,
}

/// What is asked, by how many, for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) request: Request,
    pub(crate) expected: Expected,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers that were read to their end.
    pub(crate) answers: u64,
    /// Bytes of bodies, those of answers that were cut off by the end of the loop included.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Of each answer, in ns, sorted.
    latencies: Vec<u64>,
}

impl Tally {
    /// The latency in seconds that this share of the answers, 0 to 1, did not exceed.
    pub(crate) fn latency(&self, share: f64) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let place = (share * last as f64).round() as usize;
        self.latencies
            .get(place)
            .map(|&nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64())
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.bytes += other.bytes;
        self.seconds = self.seconds.max(other.seconds);
        self.latencies.extend(other.latencies);
    }
}

impl Load {
    /// Opens the connections, lets each have one answer, then runs `before`, the loop, and `after`.
    /// The client has a thread for each core, as far as there are connections for them.
    pub(crate) fn run<T>(&self, observe: impl Fn() -> T) -> anyhow::Result<(Tally, T, T)> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(self.connections).max(1);
        let barrier = Arc::new(Barrier::new(threads + 1));
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let share = (self.connections + thread) / threads;
                let (load, barrier) = (self.clone(), Arc::clone(&barrier));
                std::thread::spawn(move || load.on_this_thread(share, &barrier))
            })
            .collect();
        barrier.wait();
        let before = observe();
        barrier.wait();
        let tallies: Vec<_> = workers.into_iter().map(std::thread::JoinHandle::join).collect();
        let after = observe();
        let mut all = Tally::default();
        for tally in tallies {
            all.add(tally.map_err(|_| anyhow::anyhow!("a thread of the client panicked"))??);
        }
        all.latencies.sort_unstable();
        Ok((all, before, after))
    }

    fn on_this_thread(self, share: usize, barrier: &Barrier) -> anyhow::Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let connections = runtime.as_ref().map_or_else(
            |error| Err(anyhow::anyhow!("start a runtime: {error}")),
            |runtime| runtime.block_on(self.connect(share)),
        );
        // Also after an error: the other side waits for all threads.
        barrier.wait();
        barrier.wait();
        let (runtime, connections) = (runtime.context("start a runtime")?, connections?);
        runtime.block_on(self.repeat(connections))
    }

    async fn connect(&self, share: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(share);
        for _ in 0..share {
            let mut connection = Connection::open(self.address).await?;
            self.once(&mut connection, &mut Tally::default()).await?;
            connections.push(connection);
        }
        Ok(connections)
    }

    async fn repeat(self, connections: Vec<Connection>) -> anyhow::Result<Tally> {
        let start = Instant::now();
        let deadline = tokio::time::Instant::from_std(start + self.duration);
        let load = Arc::new(self);
        let mut loops = JoinSet::new();
        for mut connection in connections {
            let load = Arc::clone(&load);
            loops.spawn(async move {
                let mut tally = Tally::default();
                let endless = async {
                    loop {
                        load.once(&mut connection, &mut tally).await?;
                    }
                };
                match timeout_at(deadline, endless).await {
                    Ok(Err::<(), anyhow::Error>(error)) => Err(error),
                    Ok(Ok(())) | Err(_) => Ok(tally),
                }
            });
        }
        let mut all = Tally::default();
        while let Some(tally) = loops.join_next().await {
            all.add(tally.context("run a loop")??);
        }
        all.seconds = start.elapsed().as_secs_f64();
        Ok(all)
    }

    async fn once(&self, connection: &mut Connection, tally: &mut Tally) -> anyhow::Result<()> {
        let asked = Instant::now();
        let head = connection.ask(&self.request).await?;
        let Expected { status, length } = self.expected;
        ensure!(
            head.status == status && head.length == length,
            "status {} and {} bytes instead of {status} and {length}",
            head.status,
            head.length
        );
        let mut left = head.body;
        while left > 0 {
            let read = connection.part(left).await?.len() as u64;
            left -= read;
            tally.bytes += read;
        }
        tally.answers += 1;
        tally
            .latencies
            .push(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }
}
