//! What lies in a directory of blobs and is none.

use std::{fs, path::Path};

use quayside_blobs::{Found, StorageKey, Stray, StrayKind};

use crate::scene::{Scene, content, stored};

fn stray(path: &str, kind: StrayKind) -> Found {
    let path = path.into();
    Found::Stray(Stray { path, kind })
}

/// O5: what no key leads to is listed where it lies, at its outermost name and between the blobs.
#[tokio::test]
async fn lists_what_is_no_blob() {
    let scene = Scene::new();
    let root = scene.root.path();
    let mut keys = Vec::new();
    for seed in 0..3 {
        keys.push(stored(&scene.store, &content(10, seed)).await);
    }
    let directory = |key: &StorageKey, above: usize| {
        let path = Path::new(key.as_str()).ancestors().nth(above).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (hex, token) = ("0".repeat(64), "1".repeat(64));
    let expected = [
        // Beside a blob, in the place of a token, of a digest and of a shard.
        stray(&format!("{}/notes", directory(&keys[0], 1)), StrayKind::Foreign),
        stray(&format!("{}/Upper", directory(&keys[1], 2)), StrayKind::Foreign),
        stray(&format!("{}/abc", directory(&keys[2], 3)), StrayKind::Foreign),
        stray("sha256/lost+found", StrayKind::Foreign),
        stray("sha256/zz", StrayKind::Foreign),
        stray(&format!("sha256/00/{hex}"), StrayKind::Empty),
        stray(
            &format!("sha256/11/{token}/t0"),
            StrayKind::Unused(StorageKey::parse(&format!("sha256/11/{token}/t0/data")).unwrap()),
        ),
    ];
    for found in &expected {
        let path = root.join(found.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match found {
            Found::Stray(Stray {
                kind: StrayKind::Foreign,
                ..
            }) if !path.ends_with("lost+found") => fs::write(path, b"x").unwrap(),
            _ => fs::create_dir(path).unwrap(),
        }
    }
    fs::write(root.join("sha256/lost+found/inside"), b"x").unwrap();

    for limit in [1, 4, 100] {
        let mut found: Vec<Found> = Vec::new();
        loop {
            let page = scene.store.list(found.last(), limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert!(found.is_sorted_by(|before, after| before.path() < after.path()));
        let strays: Vec<_> = found
            .iter()
            .filter(|found| matches!(found, Found::Stray(_)))
            .collect();
        let mut sorted: Vec<_> = expected.iter().collect();
        sorted.sort_by_key(|found| found.path().to_owned());
        assert_eq!(strays, sorted, "pages of {limit}");
        assert_eq!(found.len(), strays.len() + keys.len());
    }
}

/// O5: of all that, only an empty directory of a digest is removed, and only while it is empty.
#[tokio::test]
async fn tidies_empty_directories_of_digests_and_nothing_else() {
    let scene = Scene::new();
    let hex = format!("sha256/00/{}", "0".repeat(64));
    let key = StorageKey::parse(&format!("{hex}/t0/data")).unwrap();
    let place = scene.root.path().join(&hex);
    let empty = Stray {
        path: hex.clone().into(),
        kind: StrayKind::Empty,
    };
    let unused = Stray {
        path: format!("{hex}/t0").into(),
        kind: StrayKind::Unused(key),
    };
    fs::create_dir_all(place.join("t0")).unwrap();
    for stray in [&empty, &unused] {
        scene.store.tidy(stray).await.unwrap();
    }
    assert!(place.join("t0").is_dir());
    fs::remove_dir(place.join("t0")).unwrap();
    for _ in 0..2 {
        scene.store.tidy(&empty).await.unwrap();
        assert!(!place.exists());
    }
    assert!(!scene.store.is_there(&Found::Stray(empty)).await.unwrap());
}
