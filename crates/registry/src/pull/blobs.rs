//! Answering a request for a blob: from storage, from a running fill, or past a storage that fails (SPEC §3).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use quayside_blobs::{Blob, Frames, OpenError, ReadError, Spool, StorageKey, WITHHELD_TAIL};
use quayside_metadata::{BlobState, RepositoryId, View};
use quayside_oci::Digest;

use super::background::Nudge;
use super::error::{PullError, Subject};
use super::fill::{Fill, Head, Outcome};
use super::following::Following;
use super::manifests::{DigestKey, Request};
use super::passthrough::PassThrough;
use super::resume::Order;
use super::running::Attendance;
use super::stored::{Delivery, Opened, Stored};
use super::warm::{BlobEntry, Epoch};
use super::{CacheStatus, Contact, Engine, Method, Viewer};
use crate::chain::Chain;

/// A blob that can be sent. Nothing of it was read yet.
pub(crate) struct Located {
    pub(crate) size: u64,
    pub(crate) status: CacheStatus,
    place: Place,
}

/// What a look at the database that several requests share came to.
pub(crate) type Looked = Result<(BlobState, Epoch), PullError>;

/// Whether a look at the database may have begun before it was asked for.
#[derive(Clone, Copy)]
enum Look {
    Shared,
    /// What the shared one saw has changed since.
    Own,
}

/// What the cache knows of a blob.
enum Found {
    Stored(Arc<BlobEntry>),
    Missing(BlobState),
}

enum Place {
    /// HEAD: the size is all that is asked for (B4).
    Nowhere,
    File(Blob),
    Object(Stored),
    /// The client is to fetch it from there (B7).
    At(String),
    Filling(Order, Arc<Fill>, Arc<Spool>),
    /// Storage fails: from upstream to this client (O2).
    Passing(Order),
}

/// The bytes of an answer.
pub(crate) enum Bytestream {
    Nothing,
    Frames(Frames),
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

/// Why a body ends before its length; the connection is cut, so the client knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Pull(PullError),
}

impl Located {
    fn new(size: u64, status: CacheStatus, place: Place) -> Self {
        Self { size, status, place }
    }

    /// Where the client is to fetch it itself (B7).
    pub(crate) fn elsewhere(&self) -> Option<&str> {
        match &self.place {
            Place::At(url) => Some(url),
            _ => None,
        }
    }
}

impl Engine {
    /// Finds the blob, starting a fill if it has to come from upstream.
    pub(crate) async fn blob(
        self: &Arc<Self>,
        request: &Request<'_>,
        digest: Digest,
    ) -> Result<Located, PullError> {
        let key = (request.served.id, request.repository.clone(), digest);
        match request.viewer {
            Viewer::Member => self.member_blob(request, key).await,
            Viewer::Public => self.public_blob(request, key).await,
        }
    }

    async fn member_blob(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: DigestKey,
    ) -> Result<Located, PullError> {
        // A fill that ends while we look is seen as stored in the next round; a file that is lost as missing.
        for look in [Look::Shared, Look::Own, Look::Own] {
            let located = match self.find_blob(&key, look).await? {
                Found::Stored(entry) => self.open(request, &key, &entry).await?,
                Found::Missing(state) => self.miss(request, &key, &state).await?,
            };
            if let Some(located) = located {
                return Ok(located);
            }
        }
        Err(PullError::Vanished(super::flights::Vanished))
    }

    async fn find_state(&self, key: &DigestKey, view: View) -> Result<BlobState, PullError> {
        let find = || self.metadata.blob(key.0, key.1.as_str(), &key.2, view);
        let mut state = find().await?;
        if state.is_none() && view != View::Member {
            // A renewal that waits for its batch may keep what names it alive.
            self.renewals.flush(&self.metadata).await;
            state = find().await?;
        }
        state.ok_or(PullError::Unknown(Subject::Blob))
    }

    /// As [`Engine::find_state`], with the epoch in which it began.
    async fn look(&self, key: &DigestKey, view: View) -> Looked {
        let epoch = self.warm.blob_epoch(key);
        Ok((self.find_state(key, view).await?, epoch))
    }

    /// As [`Engine::look`] for a member, with one read for everybody who asks while it runs: a crowd that waits
    /// for one blob must not keep the database from others.
    async fn look_together(self: &Arc<Self>, key: &DigestKey) -> Looked {
        let (engine, wanted) = (Arc::clone(self), key.clone());
        let read = move || async move { engine.look(&wanted, View::Member).await };
        self.blob_flights.join(key.clone(), read).await?
    }

    /// The blob as this organization may see it, from memory while that is fresh.
    async fn find_blob(self: &Arc<Self>, key: &DigestKey, look: Look) -> Result<Found, PullError> {
        let now = self.now();
        if let Some(entry) = self.warm.blob(key, now) {
            return Ok(Found::Stored(entry));
        }
        let (mut state, epoch) = match (self.contact, look) {
            (Contact::Allowed, Look::Shared) => self.look_together(key).await?,
            (Contact::Allowed, Look::Own) => self.look(key, View::Member).await?,
            (Contact::Never, _) => self.look(key, View::Live { now }).await?,
        };
        Ok(match state.stored.take_if(|_| state.proven) {
            None => Found::Missing(state),
            Some(stored) => {
                let entry = BlobEntry::new(&state, parse_key(&stored.key)?, stored.size, now);
                self.warm.keep_blob(key, &entry, epoch);
                Found::Stored(entry)
            }
        })
    }

    /// Not stored, or stored and not to be shown to this organization yet (B9).
    async fn miss(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: &DigestKey,
        state: &BlobState,
    ) -> Result<Option<Located>, PullError> {
        if self.contact == Contact::Never {
            return Err(PullError::Unknown(Subject::Blob));
        }
        let size = self.warm.length(key).unwrap_or(state.declared_size);
        if request.method == Method::Head {
            return Ok(Some(Located::new(size, CacheStatus::Miss, Place::Nowhere)));
        }
        if state.layer {
            self.nudge_for_layer(request, state.repository, &key.2);
        }
        self.fill(request, key, size).await
    }

    /// `None`: the bytes turned out to be lost, and the row knows it now (B8).
    async fn open(
        &self,
        request: &Request<'_>,
        key: &DigestKey,
        entry: &BlobEntry,
    ) -> Result<Option<Located>, PullError> {
        if entry.wants_nudge(self.now()) {
            self.nudge_for_layer(request, entry.repository, &key.2);
        }
        let size = entry.size;
        if request.method == Method::Head {
            return Ok(Some(Located::new(size, CacheStatus::Hit, Place::Nowhere)));
        }
        match self.open_stored(&entry.key, size).await {
            Ok(opened) => {
                let allowed = self.contact == Contact::Allowed;
                let order = || allowed.then(|| order(request, key, size));
                let place = self.place(opened, &entry.key, order);
                Ok(Some(Located::new(size, CacheStatus::Hit, place)))
            }
            Err(OpenError::Missing { .. } | OpenError::WrongLength { .. }) => {
                self.forget_lost(key, entry.key.as_str()).await?;
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(digest = %key.2, error = %Chain(&error), "stored blob cannot be read, passing through");
                if self.contact == Contact::Never {
                    return Err(PullError::Unreadable(Arc::new(error)));
                }
                Ok(Some(Located::new(
                    size,
                    CacheStatus::Miss,
                    Place::Passing(order(request, key, size)),
                )))
            }
        }
    }

    /// `order` is what upstream is asked for if a bucket fails on the way, if it may be asked.
    fn place(&self, opened: Opened, key: &StorageKey, order: impl FnOnce() -> Option<Order>) -> Place {
        match opened {
            Opened::At(url) => Place::At(url),
            Opened::Here(blob) if self.delivery == Delivery::Files => Place::File(blob),
            Opened::Here(blob) => Place::Object(Stored {
                blob,
                key: key.clone(),
                order: order(),
            }),
        }
    }

    async fn forget_lost(&self, key: &DigestKey, storage_key: &str) -> Result<(), PullError> {
        tracing::warn!(digest = %key.2, key = storage_key, "stored blob is lost or of the wrong length, filling again");
        self.warm.forget_blob(key);
        self.metadata
            .forget_bytes(&key.2, storage_key, self.garbage_not_before())
            .await?;
        Ok(())
    }

    /// `None`: somebody stored it in the meantime.
    async fn fill(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: &DigestKey,
        size: u64,
    ) -> Result<Option<Located>, PullError> {
        let mut order = order(request, key, size);
        let (size, place) = loop {
            let fill = self.running.join(self, order.clone(), Attendance::Client);
            match fill.head().await {
                Head::Streaming(spool) => break (order.size, Place::Filling(order, fill, spool)),
                // It had nobody who might go on with it, and has somebody now.
                Head::Ended(Outcome::Elsewhere) => {}
                // What another repository's upstream says of the blob is nothing that this one said (B11).
                Head::Ended(Outcome::Failed(_)) if !fill.is_of(&order) => {}
                Head::Ended(Outcome::Failed(error)) => match self.resized(&order, &error).await? {
                    Some(other) if order.size == size => order = other,
                    _ => return Err(error),
                },
                Head::Ended(Outcome::StorageFault) => break (order.size, Place::Passing(order)),
                Head::Ended(Outcome::Found | Outcome::Done | Outcome::Unstored) => return Ok(None),
            }
        };
        Ok(Some(Located::new(size, CacheStatus::Miss, place)))
    }

    /// B10: where one manifest of the repository declares a wrong size, another may declare the one that upstream
    /// announced.
    pub(super) async fn resized(&self, order: &Order, error: &PullError) -> Result<Option<Order>, PullError> {
        let PullError::Length { announced, .. } = *error else {
            return Ok(None);
        };
        let repository = order.repository.as_str();
        let allowed = self
            .metadata
            .allows_size(order.served.id, repository, &order.digest, announced)
            .await?;
        if !allowed {
            return Ok(None);
        }
        let key = (order.served.id, order.repository.clone(), order.digest.clone());
        self.warm.keep_length(key, announced);
        Ok(Some(Order {
            size: announced,
            ..order.clone()
        }))
    }

    /// B1: through a manifest that a live tag holds, and only what is stored or being filled.
    async fn public_blob(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: DigestKey,
    ) -> Result<Located, PullError> {
        let unknown = || PullError::Unknown(Subject::Blob);
        let view = View::Public { now: self.now() };
        let state = self.find_state(&key, view).await?;
        if let Some(stored) = state.stored.filter(|_| state.proven) {
            if request.method == Method::Head {
                return Ok(Located::new(stored.size, CacheStatus::Hit, Place::Nowhere));
            }
            let storage_key = parse_key(&stored.key)?;
            return match self.open_stored(&storage_key, stored.size).await {
                Ok(opened) => {
                    let place = self.place(opened, &storage_key, || None);
                    Ok(Located::new(stored.size, CacheStatus::Hit, place))
                }
                Err(OpenError::Missing { .. } | OpenError::WrongLength { .. }) => {
                    self.forget_lost(&key, &stored.key).await?;
                    Err(unknown())
                }
                Err(source) => Err(PullError::Unreadable(Arc::new(source))),
            };
        }
        let size = self.warm.length(&key).unwrap_or(state.declared_size);
        let order = order(request, &key, size);
        let ours = self.running.find(&order);
        if ours.is_none() && !self.is_filled_elsewhere(&order).await? {
            return Err(unknown());
        }
        if request.method == Method::Head {
            return Ok(Located::new(order.size, CacheStatus::Miss, Place::Nowhere));
        }
        let follow = || self.running.join(self, order.clone(), Attendance::Onlooker);
        let fill = ours.unwrap_or_else(follow);
        match fill.head().await {
            Head::Streaming(spool) => Ok(Located::new(
                order.size,
                CacheStatus::Miss,
                Place::Filling(order, fill, spool),
            )),
            Head::Ended(_) => Err(unknown()),
        }
    }

    /// Whether another replica fills the blob, so that somebody who may cause no fill can read it.
    async fn is_filled_elsewhere(&self, order: &Order) -> Result<bool, PullError> {
        if !self.metadata.is_shared() {
            return Ok(false);
        }
        let (digest, scope) = (&order.digest, order.served.scope());
        let held = self.metadata.held_fill(digest, scope, self.now()).await?;
        Ok(held.is_some_and(|held| held.size == order.size && !held.address.is_empty()))
    }

    /// Reads a part of a located blob. What can be said before the first byte is said as an error.
    pub(crate) async fn read(
        self: &Arc<Self>,
        located: Located,
        range: Range<u64>,
    ) -> Result<Bytestream, PullError> {
        let size = located.size;
        match located.place {
            Place::Nowhere | Place::At(_) => Ok(Bytestream::Nothing),
            Place::File(blob) => Ok(Bytestream::Frames(blob.reader(range))),
            Place::Object(stored) => Ok(Bytestream::Stream(self.send_stored(stored, range))),
            Place::Passing(order) => self.pass(order, range).await,
            Place::Filling(order, fill, spool) => {
                if size <= WITHHELD_TAIL
                    && let Err(failure) = spool.settled().await
                {
                    // Nothing was sent yet: another repository's upstream need not be the last word.
                    if failure.is_local_storage() || !fill.is_of(&order) {
                        return self.pass(order, range).await;
                    }
                    return Err(match fill.outcome().await {
                        Outcome::Failed(error) => error,
                        _ => order.mismatch(failure.to_string()),
                    });
                }
                let following = Following::new(Arc::clone(self), order, spool, range);
                Ok(Bytestream::Stream(
                    stream::unfold(following, Following::step).boxed(),
                ))
            }
        }
    }

    async fn pass(self: &Arc<Self>, order: Order, range: Range<u64>) -> Result<Bytestream, PullError> {
        let small = order.size <= WITHHELD_TAIL;
        let mut passing = PassThrough::start(&self.passthrough, order, range).await?;
        // What is withheld whole is verified before the head goes out (B3, B5).
        let first = if small { passing.next().await? } else { None };
        let first = stream::iter(first.map(Ok));
        let rest = stream::unfold(Some(passing), |passing| async move {
            let mut passing = passing?;
            match passing.next().await {
                Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(passing))),
                Err(error) => Some((Err(BodyError::Pull(error)), None)),
            }
        });
        Ok(Bytestream::Stream(first.chain(rest).boxed()))
    }

    /// B6: the first GET of a layer is when the rest of a child's blobs becomes wanted.
    fn nudge_for_layer(&self, request: &Request<'_>, repository: RepositoryId, digest: &Digest) {
        let fills = request.viewer == Viewer::Member
            && request.method == Method::Get
            && request.served.spec.background_fill
            && self.contact == Contact::Allowed;
        if fills {
            self.background.send(Nudge::Layer {
                repository,
                digest: digest.clone(),
            });
        }
    }
}

/// The database holds only keys that were keys when they were written.
fn parse_key(text: &str) -> Result<StorageKey, PullError> {
    StorageKey::parse(text).map_err(|source| PullError::Key {
        key: text.into(),
        source: Arc::new(source),
    })
}

fn order(request: &Request<'_>, key: &DigestKey, size: u64) -> Order {
    Order {
        served: Arc::clone(request.served),
        repository: key.1.clone(),
        digest: key.2.clone(),
        size,
    }
}
