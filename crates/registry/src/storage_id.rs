//! C4: a storage and a database belong together, and a start says so if they do not.

use quayside_blobs::{IdError, StorageId, Store, StoreError};
use quayside_config::Config;
use quayside_metadata::{Metadata, MetadataError};

use crate::open::{self, Patience, Places};

/// The id of the storage that the database belongs to.
const SETTING: &str = "storage-id";
/// The id that was drawn for a storage which may not carry it yet. It is recorded before the storage is given it, so
/// that a start that is cut off in between is finished by the next one and taken for nothing else.
const BEGUN: &str = "storage-id-begun";

/// Why the process may not use this storage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageIdError {
    #[error(
        "the storage {} carries the id {carried}, but the database {} belongs to the storage {known}: one of them is \
         of another installation; if they are meant to go together, accept the storage with `quayside-registry \
         storage adopt`",
        places.storage,
        places.database
    )]
    Foreign {
        places: Places,
        carried: StorageId,
        known: StorageId,
    },
    #[error(
        "the storage {} carries no id, but the database {} belongs to the storage {known}: another disk, \
         directory or bucket lies there, or nothing is mounted; if its content is lost for good, begin anew there with \
         `quayside-registry storage adopt`",
        places.storage,
        places.database
    )]
    Empty { places: Places, known: StorageId },
    #[error(
        "the storage {} carries the id {carried}, which the database {} does not know: it is of another installation, \
         or the database was lost; in the latter case accept the storage with `quayside-registry storage adopt`",
        places.storage,
        places.database
    )]
    Unknown { places: Places, carried: StorageId },
    #[error("read the id of the storage {place}")]
    Storage { place: String, source: StoreError },
    #[error("read the id of the storage in the database")]
    Database(#[source] MetadataError),
    #[error("read the id of the storage in the database")]
    Damaged(#[source] IdError),
}

/// What storage and database say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// What the storage carries.
    carried: Option<StorageId>,
    /// What the database belongs to.
    known: Option<StorageId>,
    /// What was drawn for a storage, not known to have arrived there.
    begun: Option<StorageId>,
}

/// What is to be done before the storage may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Same,
    /// Both are empty.
    Begin,
    /// An earlier start was cut off after it had drawn this id.
    Finish(StorageId),
    Foreign(StorageId, StorageId),
    Empty(StorageId),
    Unknown(StorageId),
}

fn judge(found: Found) -> Verdict {
    match (found.known, found.carried, found.begun) {
        (Some(known), Some(carried), _) if known == carried => Verdict::Same,
        (Some(known), Some(carried), _) => Verdict::Foreign(known, carried),
        (Some(known), None, _) => Verdict::Empty(known),
        (None, None, None) => Verdict::Begin,
        (None, None, Some(begun)) => Verdict::Finish(begun),
        (None, Some(carried), Some(begun)) if carried == begun => Verdict::Finish(begun),
        (None, Some(carried), _) => Verdict::Unknown(carried),
    }
}

/// A storage and a database that are to go together.
pub(crate) struct Pair<'a> {
    pub(crate) store: &'a Store,
    pub(crate) metadata: &'a Metadata,
    pub(crate) places: Places,
}

impl Pair<'_> {
    /// Accepts a storage that the database belongs to, and makes two that are empty belong together.
    pub(crate) async fn check(&self) -> Result<(), StorageIdError> {
        let places = self.places.clone();
        let mut verdict = judge(self.find().await?);
        if matches!(verdict, Verdict::Empty(_)) {
            // Another process that starts as well may have marked the storage after we looked at it, and before we
            // looked at the database.
            verdict = judge(self.find().await?);
        }
        let id = match verdict {
            Verdict::Same => return Ok(()),
            Verdict::Begin => self.begin(&StorageId::random()).await?,
            Verdict::Finish(id) => id,
            Verdict::Foreign(known, carried) => {
                return Err(StorageIdError::Foreign {
                    places,
                    carried,
                    known,
                });
            }
            Verdict::Empty(known) => return Err(StorageIdError::Empty { places, known }),
            Verdict::Unknown(carried) => return Err(StorageIdError::Unknown { places, carried }),
        };
        self.mark(&id).await?;
        // Of two installations that begin on one storage at once, one was first.
        let carried = self.store.id().await.map_err(|source| self.storage(source))?;
        match (carried, id.clone()) {
            (Some(carried), known) if carried == known => {}
            (None, known) => return Err(StorageIdError::Empty { places, known }),
            (Some(carried), known) => {
                return Err(StorageIdError::Foreign {
                    places,
                    carried,
                    known,
                });
            }
        }
        self.record(&id).await?;
        tracing::info!(storage = places.storage, database = places.database, %id, "storage and database belong together from now on");
        Ok(())
    }

    /// Makes the database belong to this storage, whatever it belonged to.
    pub(crate) async fn adopt(&self) -> Result<StorageId, StorageIdError> {
        let found = self.find().await?;
        let id = if let Some(carried) = found.carried {
            carried
        } else {
            let id = found.known.or(found.begun).unwrap_or_else(StorageId::random);
            self.mark(&id).await?;
            id
        };
        self.record(&id).await?;
        Ok(id)
    }

    async fn find(&self) -> Result<Found, StorageIdError> {
        let carried = self.store.id().await;
        Ok(Found {
            carried: carried.map_err(|source| self.storage(source))?,
            known: self.setting(SETTING).await?,
            begun: self.setting(BEGUN).await?,
        })
    }

    async fn setting(&self, name: &str) -> Result<Option<StorageId>, StorageIdError> {
        let value = self.metadata.setting(name).await;
        value
            .map_err(StorageIdError::Database)?
            .map(|value| parse(&value))
            .transpose()
    }

    async fn begin(&self, id: &StorageId) -> Result<StorageId, StorageIdError> {
        let begun = self.metadata.setting_or_insert(BEGUN, id.as_str().as_bytes());
        parse(&begun.await.map_err(StorageIdError::Database)?)
    }

    async fn mark(&self, id: &StorageId) -> Result<(), StorageIdError> {
        let claimed = self.store.claim_id(id).await;
        claimed.map_err(|source| self.storage(source))
    }

    async fn record(&self, id: &StorageId) -> Result<(), StorageIdError> {
        let recorded = self.metadata.replace_setting(SETTING, id.as_str().as_bytes());
        recorded.await.map_err(StorageIdError::Database)
    }

    fn storage(&self, source: StoreError) -> StorageIdError {
        StorageIdError::Storage {
            place: self.places.storage.clone(),
            source,
        }
    }
}

fn parse(value: &[u8]) -> Result<StorageId, StorageIdError> {
    let text = String::from_utf8_lossy(value);
    text.parse().map_err(StorageIdError::Damaged)
}

/// `storage adopt`: makes the database of `config` belong to the storage of `config`, while no server runs, and says
/// what its id is.
pub async fn adopt(config: &Config) -> anyhow::Result<Adopted> {
    let places = Places::of(config)?;
    let metadata = open::database(config, &places, Patience::NONE).await?;
    let store = open::storage(config, &places, Patience::NONE).await?;
    let pair = Pair {
        store: &store,
        metadata: &metadata,
        places,
    };
    let id = pair.adopt().await?.to_string();
    metadata.close().await;
    Ok(Adopted {
        id,
        storage: pair.places.storage,
        database: pair.places.database,
    })
}

/// What belongs together now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The storage's id.
    pub id: String,
    /// Where the storage lies: a directory, or a bucket and its server.
    pub storage: String,
    /// Where the database lies: its file, or its name and its server.
    pub database: String,
}

#[cfg(test)]
mod tests;
