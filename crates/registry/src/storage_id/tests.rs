use tempfile::TempDir;

use super::*;

struct Scene {
    store: Store,
    metadata: Metadata,
    root: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            store: Store::open_filesystem(&root.path().join("blobs"), 0).unwrap(),
            metadata: Metadata::open_sqlite(&root.path().join("quayside.db"))
                .await
                .unwrap(),
            root,
        }
    }

    fn pair(&self) -> Pair<'_> {
        Pair {
            store: &self.store,
            metadata: &self.metadata,
            places: Places {
                storage: self.root.path().join("blobs").display().to_string(),
                database: self.root.path().join("quayside.db").display().to_string(),
            },
        }
    }

    /// What a start that is cut off after any of its steps leaves.
    async fn cut_off(&self, steps: usize) -> StorageId {
        let (pair, id) = (self.pair(), StorageId::random());
        let id = if steps > 0 {
            pair.begin(&id).await.unwrap()
        } else {
            id
        };
        if steps > 1 {
            pair.mark(&id).await.unwrap();
        }
        if steps > 2 {
            pair.record(&id).await.unwrap();
        }
        id
    }
}

fn id(digit: char) -> StorageId {
    digit.to_string().repeat(32).parse().unwrap()
}

/// C4: every combination of what the storage carries, the database knows, and an earlier start has begun.
#[test]
fn judges_every_combination() {
    let judged = |carried: Option<char>, known: Option<char>, begun: Option<char>| {
        judge(Found {
            carried: carried.map(id),
            known: known.map(id),
            begun: begun.map(id),
        })
    };
    let begun = [None, Some('a'), Some('c')];
    for begun in begun {
        assert_eq!(judged(Some('a'), Some('a'), begun), Verdict::Same);
        assert_eq!(
            judged(Some('b'), Some('a'), begun),
            Verdict::Foreign(id('a'), id('b'))
        );
        assert_eq!(judged(None, Some('a'), begun), Verdict::Empty(id('a')));
        assert_eq!(judged(Some('b'), None, begun), Verdict::Unknown(id('b')));
    }
    assert_eq!(judged(None, None, None), Verdict::Begin);
    assert_eq!(judged(None, None, Some('a')), Verdict::Finish(id('a')));
    assert_eq!(judged(Some('a'), None, Some('a')), Verdict::Finish(id('a')));
}

/// C4: both empty: created together, whatever step of it a crash cuts off.
#[tokio::test]
async fn a_start_that_was_cut_off_is_finished_by_the_next() {
    for steps in 0..=3 {
        let scene = Scene::new().await;
        let begun = scene.cut_off(steps).await;
        for _ in 0..2 {
            scene.pair().check().await.unwrap();
        }
        let found = scene.pair().find().await.unwrap();
        assert!(
            found.carried.is_some() && found.carried == found.known,
            "{found:?}"
        );
        assert!(
            steps == 0 || found.known == Some(begun),
            "cut off after {steps}: {found:?}"
        );
    }
}

/// C4: a storage of another installation is refused in a sentence that names both, and nothing is changed.
#[tokio::test]
async fn refuses_a_storage_of_another_installation() {
    let (ours, theirs) = (Scene::new().await, Scene::new().await);
    ours.pair().check().await.unwrap();
    theirs.pair().check().await.unwrap();
    let fresh = Scene::new().await;
    for database in [&ours, &fresh] {
        let mixed = Pair {
            metadata: &database.metadata,
            ..theirs.pair()
        };
        let before = mixed.find().await.unwrap();
        let refused = mixed.check().await.unwrap_err().to_string();
        assert!(
            refused.contains("blobs") && refused.contains("quayside.db"),
            "{refused}"
        );
        assert!(refused.contains("storage adopt"), "{refused}");
        assert_eq!(mixed.find().await.unwrap(), before);
    }
    let empty = Pair {
        store: &fresh.store,
        ..ours.pair()
    };
    let refused = empty.check().await.unwrap_err();
    assert!(matches!(refused, StorageIdError::Empty { .. }), "{refused}");
    assert_eq!(
        fresh.store.id().await.unwrap(),
        None,
        "an empty directory stays as it is"
    );
}

/// C4: a storage is accepted on request: after a lost database, in place of another one, or an empty one.
#[tokio::test]
async fn adopts_what_it_is_told_to() {
    let (ours, theirs, fresh) = (Scene::new().await, Scene::new().await, Scene::new().await);
    ours.pair().check().await.unwrap();
    theirs.pair().check().await.unwrap();
    let carried = theirs.store.id().await.unwrap().unwrap();
    for database in [&fresh, &ours] {
        let pair = Pair {
            metadata: &database.metadata,
            ..theirs.pair()
        };
        assert_eq!(pair.adopt().await.unwrap(), carried);
        pair.check().await.unwrap();
    }
    let emptied = Pair {
        store: &fresh.store,
        ..ours.pair()
    };
    emptied.adopt().await.unwrap();
    emptied.check().await.unwrap();
}
