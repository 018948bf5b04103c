//! Pages of names.

use super::fixture::{Fixture, TTL, image};
use crate::{OrganizationId, TagPage};

/// L1, E2: live tags only, in byte order, a page at a time; pins are no tags.
pub(super) async fn lists_live_tags_in_byte_order(db: Fixture) {
    let app = image("app", &[]);
    for name in ["b", "a", "B", "a-1", "_"] {
        db.tag("app", name, &app, 100).await;
    }
    db.tag("app", "dead", &app, 0).await;
    db.pin("app", &image("pinned", &[]), 100).await;
    let page = async |after, limit| {
        let page = db.metadata.tags(db.acme, "app", TTL, after, limit).await;
        match page.unwrap() {
            TagPage::Page(names) => names,
            TagPage::Unknown => panic!("no such repository"),
        }
    };

    assert_eq!(page(None, 10).await, ["B", "_", "a", "a-1", "b"]);
    assert_eq!(page(None, 2).await, ["B", "_"]);
    assert_eq!(page(Some("_"), 2).await, ["a", "a-1"]);
    assert_eq!(page(Some("a0"), 2).await, ["b"]);
    assert_eq!(page(None, 0).await, Vec::<String>::new());
}

/// L1: a repository without live tags is unknown; behind the last tag there is an empty page.
pub(super) async fn unknown_repository_differs_from_last_page(db: Fixture) {
    db.tag("app", "1", &image("app", &[]), 0).await;
    db.pin("pins", &image("pinned", &[]), 0).await;
    let page = |repository, now, after| db.metadata.tags(db.acme, repository, now, after, 10);

    let last = page("app", 1, Some("z")).await.unwrap();
    assert_eq!(last, TagPage::Page(Vec::new()));
    for (repository, now) in [("app", TTL), ("pins", 1), ("never", 1)] {
        let unknown = page(repository, now, None).await.unwrap();
        assert_eq!(unknown, TagPage::Unknown, "{repository}");
    }
}

/// L1: full names in byte order over several organizations, live repositories only.
pub(super) async fn catalogs_full_names_in_byte_order(db: Fixture) {
    use super::fixture::identity;
    let wanted = ["acme", "acme-b", "acme.c"].map(identity);
    let ids = db.metadata.sync_organizations(&wanted, &[], 1).await.unwrap();
    let app = image("app", &[]);
    for id in &ids {
        for repository in ["b", "a/x", "a"] {
            db.tag_as(*id, repository, "1", &app, 0).await;
        }
        db.tag_as(*id, "dead", "1", &app, -TTL).await;
    }
    let mut expected: Vec<String> = ["acme", "acme-b", "acme.c"]
        .iter()
        .flat_map(|name| ["b", "a/x", "a"].map(|repository| format!("{name}/{repository}")))
        .collect();
    expected.sort();

    let all = catalog(&db, &ids, None, 100).await;
    assert_eq!(all, (expected.clone(), None));
    let some = catalog(&db, &ids[..1], None, 100).await;
    assert_eq!(some.0, ["acme/a", "acme/a/x", "acme/b"]);
    // Whoever asks for what follows a name of an organization is not shown what else is in it.
    let last = catalog(&db, &ids[2..], Some("acme-b/a"), 100).await;
    assert_eq!(last.0, ["acme.c/a", "acme.c/a/x", "acme.c/b"]);
    for limit in [1, 2, 4] {
        let mut paged: Vec<String> = Vec::new();
        loop {
            let after = paged.last().cloned();
            let (names, _) = catalog(&db, &ids, after.as_deref(), limit).await;
            if names.is_empty() {
                break;
            }
            assert!(names.len() <= limit as usize);
            paged.extend(names);
        }
        assert_eq!(paged, expected, "in pages of {limit}");
    }
}

async fn catalog(
    db: &Fixture,
    ids: &[OrganizationId],
    after: Option<&str>,
    limit: u32,
) -> (Vec<String>, Option<String>) {
    let page = db.metadata.catalog(ids, 1, after, limit).await.unwrap();
    (page.names, page.searched)
}

/// L1: a page costs a bounded number of repositories, however many have no live tag; the search goes
/// on where it was given up.
pub(super) async fn catalog_gives_up_a_long_search(db: Fixture) {
    use crate::queries::list::{CatalogQuery, catalog};
    let app = image("app", &[]);
    for number in 10..30 {
        let at = if number % 10 == 5 { 0 } else { -TTL };
        db.tag(&format!("r{number}"), "1", &app, at).await;
    }
    let ids = [db.acme];
    let (mut names, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let query = CatalogQuery {
            organizations: &ids,
            now: 1,
            after: after.as_deref(),
            limit: 3,
        };
        let page = catalog(db.metadata.engine(), query, 4).await.unwrap();
        names.extend(page.names);
        pages += 1;
        match page.searched {
            Some(searched) => after = Some(searched),
            None => break,
        }
    }
    assert_eq!(names, ["acme/r15", "acme/r25"]);
    // Four repositories a page; the sixth page finds that nothing follows.
    assert_eq!(pages, 6);
}
