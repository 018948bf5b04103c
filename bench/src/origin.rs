//! `quayside-bench origin`: the upstream of every cache that is measured, in a process of its own.
//!
//! It serves every image that a repository can be named after, from memory, and counts per repository what
//! it sends. `GET /_/counters/<repository>` says what was counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::net::TcpListener;

mod answer;
mod connection;
mod counters;

pub(crate) use counters::Counts;

use crate::content::Pool;
use crate::image::{Image, Recipe};
use crate::output::say;
use crate::relay::{Relay, Width};
use counters::Counters;

/// Where the origin listens.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where clients connect directly.
    #[arg(long)]
    listen: SocketAddr,
    /// Where they connect through the thin link.
    #[arg(long)]
    wire: SocketAddr,
}

/// Serves until it is killed.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start a runtime")?.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let address = arguments.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let relay = Relay::start(arguments.wire, address, Width::THIN).await?;
    say(&format!(
        "listening on {address}, and behind the thin link on {}",
        relay.address()
    ));
    let origin = Arc::new(Origin {
        pool: Pool::generate(),
        images: Mutex::default(),
    });
    loop {
        // A client that is gone before it is accepted is no reason to end.
        if let Ok((stream, _)) = listener.accept().await {
            let origin = Arc::clone(&origin);
            tokio::spawn(connection::serve(origin, stream));
        }
    }
}

/// What is served.
struct Origin {
    pool: Pool,
    images: Mutex<BTreeMap<String, Arc<Stock>>>,
}

/// An image with what was sent of it.
struct Stock {
    image: Image,
    counters: Counters,
}

impl Origin {
    /// The image of a repository, generated when it is asked for the first time.
    fn stock(&self, repository: &str) -> Option<Arc<Stock>> {
        let recipe = Recipe::parse(repository)?;
        // Generated under the lock: whoever asks for it meanwhile would have to wait anyway.
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let stock = images.entry(repository.to_owned()).or_insert_with(|| {
            let image = Image::generate(&self.pool, recipe);
            Arc::new(Stock {
                image,
                counters: Counters::default(),
            })
        });
        Some(Arc::clone(stock))
    }
}
