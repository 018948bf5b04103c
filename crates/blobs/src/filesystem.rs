//! Blobs as files below a directory.

mod place;

use std::{path::Path, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use tokio::task::spawn_blocking;

use self::place::Place;
use crate::{
    Arriving, Backend, DeleteError, Found, OpenError, Opened, SpoolFile, StorageFault, StorageId, StorageKey,
    StoreError, Upload,
};

/// A directory of blobs. Every access runs on the blocking pool.
#[derive(Debug)]
pub(crate) struct Filesystem {
    place: Arc<Place>,
}

impl Filesystem {
    /// Takes possession of `root` and empties `spool`.
    pub(crate) fn open(root: &Path, spool: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            place: Arc::new(Place::open(root, spool)?),
        })
    }

    fn run<T, E>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, E> + Send + 'static,
        lost: impl FnOnce(StorageFault) -> E + Send + 'static,
    ) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        run(&self.place, work, lost)
    }
}

/// Runs `work` on the blocking pool; `lost` makes an error of it if the pool is being shut down.
fn run<T, E>(
    place: &Arc<Place>,
    work: impl FnOnce(&Place) -> Result<T, E> + Send + 'static,
    lost: impl FnOnce(StorageFault) -> E + Send + 'static,
) -> BoxFuture<'static, Result<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let place = Arc::clone(place);
    async move {
        let root = place.root().to_owned();
        let done = spawn_blocking(move || work(&place)).await;
        done.unwrap_or_else(|error| Err(lost(StorageFault::new("use", &root, error.into()))))
    }
    .boxed()
}

/// A spool file that is moved to its key when it is complete.
#[derive(Debug)]
struct Move {
    place: Arc<Place>,
    arriving: Arriving,
    key: StorageKey,
}

impl Upload for Move {
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<SpoolFile, StoreError>> {
        let Self { place, arriving, key } = *self;
        let work = move |place: &Place| {
            let file = arriving.spool.file();
            place.commit(&arriving.path, file, &key)?;
            Ok(SpoolFile::Moved)
        };
        run(&place, work, StoreError::Storage)
    }
}

impl Backend for Filesystem {
    fn upload(&self, arriving: Arriving, key: &StorageKey) -> Box<dyn Upload> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        Box::new(Move { place, arriving, key })
    }

    fn uploads_early(&self) -> bool {
        false
    }

    fn open<'a>(&'a self, key: &'a StorageKey, size: u64) -> BoxFuture<'a, Result<Opened, OpenError>> {
        let key = key.clone();
        self.run(
            move |place| {
                let file = place.open_blob(&key, size)?;
                Ok(Opened::File(Arc::new(file)))
            },
            OpenError::Io,
        )
    }

    fn delete<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), DeleteError>> {
        let (keys, all) = (keys.to_vec(), keys.to_vec());
        self.run(
            move |place| place.delete(keys),
            |fault| DeleteError {
                failed: all.into_iter().map(|key| (key, fault.clone())).collect(),
            },
        )
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a Found>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        let after = after.map(|found| found.path().to_owned());
        self.run(
            move |place| place.list(after.as_deref(), limit).map_err(StoreError::Storage),
            StoreError::Storage,
        )
    }

    fn is_there<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<bool, StoreError>> {
        let found = found.clone();
        self.run(
            move |place| place.is_there(&found).map_err(StoreError::Storage),
            StoreError::Storage,
        )
    }

    fn id(&self) -> BoxFuture<'_, Result<Option<StorageId>, StoreError>> {
        self.run(Place::id, StoreError::Storage)
    }

    fn set_id<'a>(&'a self, id: &'a StorageId) -> BoxFuture<'a, Result<(), StoreError>> {
        let id = id.clone();
        self.run(
            move |place| place.set_id(&id).map_err(StoreError::Storage),
            StoreError::Storage,
        )
    }
}
