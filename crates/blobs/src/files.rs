//! A small cache of opened blobs.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Opened, StorageKey};

/// How many files are kept open.
const MOST: usize = 256;

/// How long a file is kept open; then it is looked at anew, so that a lost one is noticed.
const LIFETIME: Duration = Duration::from_secs(5);

/// Open blobs by key, so that a popular one is not opened for every request.
#[derive(Debug, Default)]
pub(crate) struct Files {
    entries: Mutex<HashMap<StorageKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    blob: Opened,
    size: u64,
    opened: Instant,
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) < LIFETIME
    }
}

impl Files {
    /// The open file of `key`, if it was opened lately as one of `size` bytes.
    pub(crate) fn get(&self, key: &StorageKey, size: u64, now: Instant) -> Option<Opened> {
        let entries = self.lock();
        let entry = entries.get(key)?;
        (entry.size == size && entry.is_fresh(now) && !entry.blob.is_cut_short()).then(|| entry.blob.clone())
    }

    /// Remembers a file that was opened at `now` and found to be of `size` bytes.
    pub(crate) fn put(&self, key: &StorageKey, blob: Opened, size: u64, now: Instant) {
        let mut entries = self.lock();
        if entries.len() >= MOST {
            entries.retain(|_, entry| entry.is_fresh(now));
        }
        if entries.len() >= MOST {
            let oldest = entries
                .iter()
                .min_by_key(|(_, entry)| entry.opened)
                .map(|(key, _)| key.clone());
            oldest.and_then(|key| entries.remove(&key));
        }
        entries.insert(
            key.clone(),
            Entry {
                blob,
                size,
                opened: now,
            },
        );
    }

    /// Forgets a file, so that the room of a deleted one comes free.
    pub(crate) fn forget(&self, key: &StorageKey) {
        let entry = self.lock().remove(key);
        drop(entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StorageKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quayside_oci::{Algorithm, Digest};

    use super::*;
    use crate::OpenFile;

    fn key(number: usize) -> StorageKey {
        let digest = Digest::of(Algorithm::Sha256, b"a layer");
        StorageKey::new(&digest, &format!("t{number}")).unwrap()
    }

    fn file() -> Arc<OpenFile> {
        Arc::new(OpenFile::new(tempfile::tempfile().unwrap()))
    }

    #[test]
    fn keeps_a_file_for_five_seconds() {
        let (files, now) = (Files::default(), Instant::now());
        files.put(&key(1), Opened::File(file()), 7, now);
        let later = |millis| now + Duration::from_millis(millis);
        assert!(files.get(&key(1), 7, later(4999)).is_some());
        assert!(files.get(&key(1), 7, later(5000)).is_none());
        assert!(files.get(&key(2), 7, now).is_none());
    }

    /// B8: a file of another length is looked at, not taken from memory.
    #[test]
    fn does_not_give_a_file_of_another_length() {
        let (files, now) = (Files::default(), Instant::now());
        files.put(&key(1), Opened::File(file()), 7, now);
        assert!(files.get(&key(1), 8, now).is_none());
    }

    /// B8: a file that was cut while it was open is looked at, not taken from memory.
    #[test]
    fn does_not_give_a_file_that_ended_early() {
        let (files, now, open) = (Files::default(), Instant::now(), file());
        files.put(&key(1), Opened::File(Arc::clone(&open)), 7, now);
        open.ends_early();
        assert!(files.get(&key(1), 7, now).is_none());
    }

    #[test]
    fn lets_go_of_a_deleted_file() {
        let (files, now, open) = (Files::default(), Instant::now(), file());
        files.put(&key(1), Opened::File(Arc::clone(&open)), 7, now);
        files.forget(&key(1));
        assert_eq!(Arc::strong_count(&open), 1);
    }

    #[test]
    fn keeps_a_bounded_number_and_drops_the_oldest() {
        let (files, now) = (Files::default(), Instant::now());
        let open = file();
        for number in 0..300 {
            files.put(
                &key(number),
                Opened::File(Arc::clone(&open)),
                7,
                now + Duration::from_millis(number as u64),
            );
        }
        let end = now + Duration::from_millis(300);
        assert_eq!(files.lock().len(), MOST);
        assert!(files.get(&key(299), 7, end).is_some());
        assert!(files.get(&key(0), 7, end).is_none());
    }
}
