//! What is peculiar to blobs in a directory.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use quayside_blobs::{
    Found, OpenError, ReadError, StorageId, StorageKey, Store, StoreError, Stray, StrayKind,
};

use crate::scene::{
    KIB, MIB, Scene, append, assert_same, content, drain, files, ingest, stored, until, whole,
};

/// B9: one file per fill, below the full digest.
#[tokio::test]
async fn lays_a_blob_where_its_key_says() {
    let scene = Scene::new();
    let bytes = content(1000, 1);
    let key = stored(&scene.store, &bytes).await;
    let path = scene.root.path().join(key.as_str());
    assert_eq!(files(scene.root.path()), std::slice::from_ref(&path));
    assert_same(&fs::read(&path).unwrap(), &bytes);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// G3: the spool is not storage; it is emptied at the start, and what is stored stays.
#[tokio::test]
async fn empties_the_spool_at_start() {
    let scene = Scene::new();
    let bytes = content(1000, 2);
    let key = stored(&scene.store, &bytes).await;
    let Scene { store, root } = scene;
    drop(store);
    fs::write(root.path().join("spool/leftover"), "x").unwrap();
    fs::create_dir_all(root.path().join("spool/folder/below")).unwrap();
    let store = Store::open_filesystem(root.path(), 0).unwrap();
    assert_eq!(fs::read_dir(root.path().join("spool")).unwrap().count(), 0);
    assert_same(&whole(&store.open(&key, 1000).await.unwrap()).await, &bytes);
}

/// C4: an id outlives the process; half an id, or something else in its place, is not taken for one.
#[tokio::test]
async fn keeps_its_id_and_refuses_what_is_none() {
    let Scene { store, root } = Scene::new();
    let id = StorageId::random();
    store.set_id(&id).await.unwrap();
    drop(store);
    let store = Store::open_filesystem(root.path(), 0).unwrap();
    assert_eq!(store.id().await.unwrap(), Some(id));
    let file = root.path().join("storage-id");
    for wrong in ["", "0123", "no id at all, but as long as it", &"G".repeat(32)] {
        fs::write(&file, wrong).unwrap();
        let refused = store.id().await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Id { path, .. } if *path == file),
            "{refused:?}"
        );
    }
}

/// G3: the spool belongs to one process.
#[tokio::test]
async fn refuses_a_second_store_on_the_same_directory() {
    let scene = Scene::new();
    let bytes = content(1000, 3);
    let running = ingest(&scene.store, &bytes).await;
    let Scene { store, root } = scene;
    drop(store);
    let refused = Store::open_filesystem(root.path(), 0).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Locked { path } if path == root.path()),
        "{refused:?}"
    );
    assert_eq!(files(&root.path().join("spool")).len(), 1);
    drop(running);
    assert!(Store::open_filesystem(root.path(), 0).is_ok());
}

#[tokio::test]
async fn leaves_no_empty_directories_behind() {
    let scene = Scene::new();
    let key = stored(&scene.store, &content(1000, 4)).await;
    scene.store.delete(std::slice::from_ref(&key)).await.unwrap();
    let shard = scene
        .root
        .path()
        .join(key.as_str())
        .ancestors()
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(fs::read_dir(shard).unwrap().count(), 0);
}

/// B8: a lost file is noticed though it was read a moment ago, once its descriptor is no longer kept.
#[tokio::test]
async fn notices_a_lost_file() {
    let scene = Scene::new();
    let key = stored(&scene.store, &content(1000, 5)).await;
    fs::remove_file(scene.root.path().join(key.as_str())).unwrap();
    assert!(matches!(
        scene.store.open(&key, 1000).await,
        Err(OpenError::Missing { .. })
    ));
    fs::remove_dir_all(scene.root.path().join(key.as_str()).ancestors().nth(2).unwrap()).unwrap();
    assert!(matches!(
        scene.store.open(&key, 1000).await,
        Err(OpenError::Missing { .. })
    ));
}

/// B8: a file that was cut short is refused when it is opened.
#[tokio::test]
async fn notices_a_file_of_the_wrong_length() {
    let scene = Scene::new();
    let key = stored(&scene.store, &content(1000, 6)).await;
    fs::File::options()
        .write(true)
        .open(scene.root.path().join(key.as_str()))
        .unwrap()
        .set_len(999)
        .unwrap();
    let refused = scene.store.open(&key, 1000).await.unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::WrongLength {
                expected: 1000,
                found: 999,
                ..
            }
        ),
        "{refused:?}"
    );
}

/// B8: a file that is cut short while it is read ends in an error, never in a short body that looks whole.
#[tokio::test]
async fn ends_with_an_error_when_a_file_is_cut_short_under_a_reader() {
    let scene = Scene::new();
    let bytes = content(MIB, 7);
    let key = stored(&scene.store, &bytes).await;
    let blob = scene.store.open(&key, MIB as u64).await.unwrap();
    let reader = blob.reader(0..MIB as u64);
    let left = 300 * KIB;
    fs::File::options()
        .write(true)
        .open(scene.root.path().join(key.as_str()))
        .unwrap()
        .set_len(left as u64)
        .unwrap();
    let (read, error) = drain(reader).await;
    assert_same(&read, &bytes[..left]);
    assert!(
        matches!(error, Some(ReadError::Truncated { offset, .. }) if offset == left as u64),
        "{error:?}"
    );
}

/// B8, O2: a directory that is no blob, and a link that leads elsewhere, are not served.
#[tokio::test]
async fn serves_nothing_but_plain_files() {
    let scene = Scene::new();
    let key = stored(&scene.store, &content(1000, 8)).await;
    let path = scene.root.path().join(key.as_str());
    let elsewhere = scene.root.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(scene.store.open(&key, 1000).await.is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        scene.store.open(&key, 1000).await,
        Err(OpenError::Missing { .. })
    ));
    let listed = scene.store.list(None, 10).await.unwrap();
    let stray = Stray {
        path: key.as_str().into(),
        kind: StrayKind::Foreign,
    };
    assert_eq!(listed, [Found::Stray(stray)]);
}

/// O2: an outage is not a lost file. A volume that is not mounted has lost nothing, and nothing on it is deleted.
#[tokio::test]
async fn tells_an_absent_volume_from_a_lost_file() {
    let scene = Scene::new();
    let bytes = content(1000, 9);
    let key = stored(&scene.store, &bytes).await;
    let (mounted, away) = (scene.root.path().join("sha256"), scene.root.path().join("away"));
    fs::rename(&mounted, &away).unwrap();
    let absent =
        |result: Result<_, OpenError>| assert!(matches!(result, Err(OpenError::Io(_))), "{result:?}");
    absent(scene.store.open(&key, 1000).await);
    fs::create_dir(&mounted).unwrap();
    absent(scene.store.open(&key, 1000).await);
    assert!(matches!(
        scene.store.list(None, 10).await,
        Err(StoreError::Storage(_))
    ));
    assert_eq!(
        scene
            .store
            .delete(std::slice::from_ref(&key))
            .await
            .unwrap_err()
            .failed
            .len(),
        1
    );
    fs::remove_dir(&mounted).unwrap();
    fs::rename(&away, &mounted).unwrap();
    assert_same(&whole(&scene.store.open(&key, 1000).await.unwrap()).await, &bytes);
}

/// O2: verified bytes that cannot be stored are still given to who asked for them, and leave no spool file.
#[tokio::test]
async fn lets_followers_finish_when_the_commit_fails() {
    let scene = Scene::new();
    let bytes = content(MIB, 10);
    let mut filling = ingest(&scene.store, &bytes).await;
    let mut follower = filling.spool().follow(0..MIB as u64);
    append(&mut filling, &bytes, 100 * KIB).await;
    filling.verify().await.unwrap();
    let first = follower.next().await.unwrap().unwrap();
    let key = StorageKey::new(&crate::scene::digest(&bytes), filling.token()).unwrap();
    block(&scene.root.path().join(key.as_str()));
    let refused = filling.commit(&key).await.unwrap_err();
    assert!(matches!(refused, StoreError::Storage(_)), "{refused:?}");
    let spool = scene.root.path().join("spool");
    until("the spool is empty", || files(&spool).is_empty()).await;
    let (rest, error) = drain(follower).await;
    assert!(error.is_none(), "{error:?}");
    assert_same(&[first.to_vec(), rest].concat(), &bytes);
}

/// Puts a file where the directory of the digest would have to be.
fn block(path: &Path) {
    let hex = path.ancestors().nth(2).unwrap();
    fs::create_dir_all(hex.parent().unwrap()).unwrap();
    fs::write(hex, "in the way").unwrap();
}

/// A commit needs verified bytes and a key that was made for them.
#[tokio::test]
async fn commits_nothing_unverified_and_nothing_under_a_foreign_key() {
    let scene = Scene::new();
    let bytes = content(1000, 11);
    let key = StorageKey::new(&crate::scene::digest(&bytes), "t").unwrap();
    let mut filling = ingest(&scene.store, &bytes).await;
    append(&mut filling, &bytes, 1000).await;
    assert!(matches!(
        filling.commit(&key).await,
        Err(StoreError::NotVerified { .. })
    ));
    let mut filling = ingest(&scene.store, &bytes).await;
    append(&mut filling, &bytes, 1000).await;
    filling.verify().await.unwrap();
    let foreign = StorageKey::new(&crate::scene::digest(b"other"), "t").unwrap();
    assert!(matches!(
        filling.commit(&foreign).await,
        Err(StoreError::ForeignKey { .. })
    ));
    scene.is_empty().await;
}
