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
    let token = "1".repeat(64);
    let expected = [
        // Beside a blob, in the place of a token, of a digest and of a shard.
        stray(&format!("{}/notes", directory(&keys[0], 1)), StrayKind::Foreign),
        stray(&format!("{}/Upper", directory(&keys[1], 2)), StrayKind::Foreign),
        stray(&format!("{}/abc", directory(&keys[2], 3)), StrayKind::Foreign),
        stray("sha256/lost+found", StrayKind::Foreign),
        stray("sha256/zz", StrayKind::Foreign),
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
    // What a deletion leaves for a moment is nothing.
    fs::create_dir_all(root.join("sha256/00").join("0".repeat(64))).unwrap();

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
