//! Where the bytes of a fill come from: "from byte n on" of an upstream, of another replica, or of storage.

use bytes::Bytes;
use quayside_blobs::{Frames, ReadError};
use quayside_metadata::HeldFill;

use super::error::PullError;
use super::peer::{PeerBody, PeerError};
use super::resume;

/// The bytes of a blob in order, each once, to the end. Not verified.
pub(crate) enum Source {
    /// Goes on by itself where its connection breaks (B3).
    Upstream(Box<resume::Source>),
    /// Another replica, which receives them itself.
    Peer(HeldFill, Box<PeerBody>),
    Storage(Frames),
}

/// Why a source has no more bytes, although some are missing.
pub(crate) enum Break {
    /// Upstream is the last word.
    Upstream(PullError),
    Peer(HeldFill, PeerError),
    Storage(ReadError),
}

impl Source {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Break> {
        match self {
            Self::Upstream(source) => source.next().await.map_err(Break::Upstream),
            Self::Peer(held, body) => {
                let next = body.next().await;
                next.map_err(|error| Break::Peer(held.clone(), error))
            }
            Self::Storage(frames) => frames.next().await.transpose().map_err(Break::Storage),
        }
    }
}
