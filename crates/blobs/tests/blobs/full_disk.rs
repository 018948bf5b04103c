//! No room.

use std::{fs, path::Path, process::Command};

use bytes::Bytes;
use quayside_blobs::{IngestError, ReadError, SpoolFailure, StorageFault, Store, VerifyError};
use tempfile::TempDir;

use crate::scene::{
    KIB, MIB, Scene, append, assert_same, content, digest, drain, files, ingest, stored, until, whole, within,
};

/// A small file system in memory, unmounted when it is dropped.
struct Disk {
    at: TempDir,
}

impl Disk {
    /// `None` where mounting is not allowed.
    fn new(bytes: usize) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let options = format!("size={bytes},mode=700");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &options, "quayside-test"])
            .arg(at.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { at });
        }
        eprintln!("skipped: mounting a tmpfs needs root");
        None
    }

    fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.at.path()).status();
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success());
        }
    }
}

/// O2: a full disk is a fault of local storage; followers keep what had been released, nothing is left behind, and
/// it heals by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fails_as_local_storage_when_the_disk_fills_up_and_heals() {
    let Some(disk) = Disk::new(16 * MIB) else { return };
    let store = Store::open_filesystem(disk.path(), 0).unwrap();
    let bytes = content(8 * MIB, 1);
    let mut filling = ingest(&store, &bytes).await;
    let spool = filling.spool();
    append(&mut filling, &bytes.slice(..2 * MIB), 100 * KIB).await;
    until("the first part is written", || spool.written() == 2 * MIB as u64).await;
    let early = tokio::spawn(drain(spool.follow(0..u64::MAX)));
    fs::write(disk.path().join("other"), vec![1; 13 * MIB]).unwrap();
    let error = fill_up(&mut filling, &bytes).await;
    let IngestError::Storage(fault) = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(fault, StorageFault::NoSpace { .. }), "{fault:?}");
    assert!(matches!(filling.verify().await, Err(VerifyError::Storage(_))));

    let written = usize::try_from(spool.written()).unwrap();
    assert!((2 * MIB..4 * MIB).contains(&written), "{written}");
    let late = tokio::spawn(drain(spool.follow(MIB as u64..u64::MAX)));
    for (follower, from) in [(early, 0), (late, MIB)] {
        let (read, error) = within(follower).await.unwrap();
        assert_same(&read, &bytes[from..written]);
        assert!(
            matches!(&error, Some(ReadError::Failed(reason)) if reason.is_local_storage()),
            "{error:?}"
        );
    }
    assert!(spool.wait_released(written as u64).await.is_ok());
    assert!(matches!(
        spool.wait_released(written as u64 + 1).await,
        Err(SpoolFailure::LocalStorage(_))
    ));

    drop(filling);
    until("the spool is empty", || {
        files(&disk.path().join("spool")).is_empty()
    })
    .await;
    drop(spool);
    fs::remove_file(disk.path().join("other")).unwrap();
    until("there is room again", || free(disk.path()) > 15 * MIB as u64).await;
    let key = stored(&store, &bytes).await;
    assert_same(
        &whole(&store.open(&key, bytes.len() as u64).await.unwrap()).await,
        &bytes,
    );
}

async fn fill_up(filling: &mut quayside_blobs::Ingest, bytes: &Bytes) -> IngestError {
    for start in (2 * MIB..bytes.len()).step_by(100 * KIB) {
        let chunk = bytes.slice(start..bytes.len().min(start + 100 * KIB));
        if let Err(error) = within(filling.append(chunk)).await {
            return error;
        }
    }
    panic!("eight mebibytes fitted into three");
}

fn free(path: &Path) -> u64 {
    let found = rustix::fs::statvfs(path).unwrap();
    found.f_bavail * found.f_frsize
}

/// O2: what would not fit above the floor, beside what runs already, is not begun.
#[tokio::test]
async fn refuses_what_will_not_fit_and_takes_what_does() {
    let Some(disk) = Disk::new(8 * MIB) else { return };
    let store = Store::open_filesystem(disk.path(), 2 * MIB as u64).unwrap();
    let bytes = content(5 * MIB, 2);
    let running = ingest(&store, &bytes).await;
    let refused = store.ingest(&digest(&bytes), 2 * MIB as u64).await.unwrap_err();
    assert!(
        matches!(&refused, IngestError::Storage(StorageFault::Floor { .. })),
        "{refused:?}"
    );
    drop(running);
    let again = async {
        while store.ingest(&digest(&bytes), bytes.len() as u64).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(again).await;
}

/// O2: fills stop when the floor is reached while they run, because somebody else took the room.
#[tokio::test]
async fn stops_at_the_floor_while_it_writes() {
    let Some(disk) = Disk::new(64 * MIB) else { return };
    let store = Store::open_filesystem(disk.path(), 16 * MIB as u64).unwrap();
    let bytes = content(32 * MIB, 3);
    let mut filling = ingest(&store, &bytes).await;
    fs::write(disk.path().join("other"), vec![1; 44 * MIB]).unwrap();
    let error = fill_up(&mut filling, &bytes).await;
    let IngestError::Storage(fault) = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(fault, StorageFault::Floor { .. }), "{fault:?}");
    assert!(fault.is_no_space());
}

/// O2: `storage.filesystem.minFreeBytes`, without a disk of our own.
#[tokio::test]
async fn begins_nothing_below_the_floor() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open_filesystem(root.path(), 1 << 60).unwrap();
    let refused = store.ingest(&digest(b"x"), 1).await.unwrap_err();
    let IngestError::Storage(fault) = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        fault.is_no_space() && fault.to_string().contains("have to stay free"),
        "{fault}"
    );
    assert!(files(root.path()).is_empty());
}

/// O2: what is stored is read though there is no room for more.
#[tokio::test]
async fn reads_below_the_floor() {
    let Scene { store, root } = Scene::new();
    let bytes = content(MIB, 4);
    let key = stored(&store, &bytes).await;
    drop(store);
    let store = Store::open_filesystem(root.path(), 1 << 60).unwrap();
    assert_same(&whole(&store.open(&key, MIB as u64).await.unwrap()).await, &bytes);
}
