use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::Algorithm;

fn name(text: &str) -> FullName {
    FullName::parse(text).unwrap()
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"x")
}

/// N1: every path of the read side of the API.
#[test]
fn reads_every_path_of_the_api() {
    let digest = digest();
    let tag = Reference::parse("1.27").unwrap();
    let reference = Reference::Digest(digest.clone());
    let acme = || name("acme/library/nginx");
    for (path, route) in [
        ("/v2".to_owned(), Route::Base),
        ("/v2/".to_owned(), Route::Base),
        ("/v2/auth".to_owned(), Route::Token),
        ("/v2/_catalog".to_owned(), Route::Catalog),
        (
            "/v2/acme/library/nginx/manifests/1.27".to_owned(),
            Route::Manifest {
                name: acme(),
                reference: tag,
            },
        ),
        (
            format!("/v2/acme/library/nginx/manifests/{digest}"),
            Route::Manifest {
                name: acme(),
                reference,
            },
        ),
        (
            format!("/v2/acme/library/nginx/blobs/{digest}"),
            Route::Blob {
                name: acme(),
                digest: digest.clone(),
            },
        ),
        (
            format!("/v2/acme/library/nginx/referrers/{digest}"),
            Route::Referrers { name: acme(), digest },
        ),
        (
            "/v2/acme/library/nginx/tags/list".to_owned(),
            Route::Tags { name: acme() },
        ),
    ] {
        assert_eq!(Route::parse(&path), Ok(route), "{path}");
    }
}

/// N1: the words of the API may occur in names; the last ones count.
#[test]
fn finds_the_route_at_the_end() {
    let digest = digest();
    let blob = Route::parse(&format!("/v2/blobs/manifests/tags/list/blobs/{digest}"));
    assert_eq!(
        blob,
        Ok(Route::Blob {
            name: name("blobs/manifests/tags/list"),
            digest
        })
    );
    let tags = Route::parse("/v2/a/manifests/tags/list");
    assert_eq!(
        tags,
        Ok(Route::Tags {
            name: name("a/manifests")
        })
    );
    let manifest = Route::parse("/v2/a/b/blobs/uploads/manifests/latest");
    let reference = Reference::parse("latest").unwrap();
    assert_eq!(
        manifest,
        Ok(Route::Manifest {
            name: name("a/b/blobs/uploads"),
            reference
        })
    );
}

/// A5: every path of an upload is one route.
#[test]
fn recognises_uploads() {
    for path in [
        "/v2/a/b/blobs/uploads",
        "/v2/a/b/blobs/uploads/",
        "/v2/a/b/blobs/uploads/some-id",
    ] {
        assert_eq!(Route::parse(path), Ok(Route::Upload), "{path}");
    }
}

/// N3: a colon may be escaped, as some clients do; other escapes of allowed characters are the same name.
#[test]
fn decodes_escapes_once() {
    let digest = digest();
    let escaped = digest.as_str().replace(':', "%3A");
    let route = Route::parse(&format!("/v2/acme/ngin%78/blobs/{escaped}"));
    assert_eq!(
        route,
        Ok(Route::Blob {
            name: name("acme/nginx"),
            digest
        })
    );
    assert!(matches!(
        Route::parse("/v2/acme/nginx/manifests/a%2541"),
        Err(RouteError::Tag(_))
    ));
}

/// N3: what the grammar does not have is the error of the place where it stands.
#[test]
fn gives_each_place_its_own_error() {
    let long_tag = "a".repeat(300);
    let long_name = "a".repeat(300);
    let digest = digest();
    for path in [
        "/v2/acme/../etc/manifests/latest".to_owned(),
        "/v2/acme/%2e%2e/manifests/latest".to_owned(),
        "/v2/acme%2Fnginx/manifests/latest".to_owned(),
        "/v2/acme/a%2Fb/manifests/latest".to_owned(),
        "/v2/acme/Nginx/manifests/latest".to_owned(),
        "/v2/acme//manifests/latest".to_owned(),
        "/v2//acme/nginx/manifests/latest".to_owned(),
        "/v2/manifests/latest".to_owned(),
        "/v2/nginx/manifests/latest".to_owned(),
        "/v2/auth/nginx/manifests/latest".to_owned(),
        "/v2/acme/%00/tags/list".to_owned(),
        "/v2/acme/%ff%fe/tags/list".to_owned(),
        "/v2/acme/%/tags/list".to_owned(),
        "/v2/acme/%4/tags/list".to_owned(),
        "/v2/acme/%zz/tags/list".to_owned(),
        "/v2/acme/naïve/tags/list".to_owned(),
        format!("/v2/acme/{long_name}/blobs/{digest}"),
        "/v2/..%2f/b/blobs/uploads/".to_owned(),
    ] {
        assert!(
            matches!(Route::parse(&path), Err(RouteError::Name(_))),
            "{path}: {:?}",
            Route::parse(&path)
        );
    }
    for path in [
        format!("/v2/acme/nginx/manifests/{long_tag}"),
        "/v2/acme/nginx/manifests/".to_owned(),
        "/v2/acme/nginx/manifests/..".to_owned(),
        "/v2/acme/nginx/manifests/..%2f..%2fetc%2fpasswd".to_owned(),
        "/v2/acme/nginx/manifests/../../etc/passwd".to_owned(),
        "/v2/acme/nginx/manifests/latest/".to_owned(),
        "/v2/acme/nginx/manifests/a%00".to_owned(),
        "/v2/acme/nginx/manifests/a%20b".to_owned(),
    ] {
        assert!(
            matches!(Route::parse(&path), Err(RouteError::Tag(_))),
            "{path}: {:?}",
            Route::parse(&path)
        );
    }
    for path in [
        "/v2/acme/nginx/blobs/".to_owned(),
        "/v2/acme/nginx/blobs/latest".to_owned(),
        "/v2/acme/nginx/blobs/sha256:beef".to_owned(),
        "/v2/acme/nginx/blobs/../../../etc/passwd".to_owned(),
        "/v2/acme/nginx/manifests/sha256:beef".to_owned(),
        "/v2/acme/nginx/referrers/latest".to_owned(),
        format!("/v2/acme/nginx/blobs/{digest}/"),
        format!("/v2/acme/nginx/blobs/{digest}%00"),
        format!(
            "/v2/acme/nginx/blobs/{}",
            digest.as_str().replace("sha256", "sha384")
        ),
    ] {
        assert!(
            matches!(Route::parse(&path), Err(RouteError::Digest(_))),
            "{path}: {:?}",
            Route::parse(&path)
        );
    }
}

/// N3: paths that the API does not have.
#[test]
fn knows_no_other_paths() {
    for path in [
        "",
        "/",
        "v2/",
        "/v1/",
        "/v2x",
        "/v2/..",
        "/v2/auth/",
        "/v2/acme/nginx",
        "/v2/acme/nginx/tags",
        "/v2/acme/nginx/manifests",
        "/v2/acme/nginx/tags/list/",
        "/v2/_catalog/",
        "//v2/",
        "/v2//",
        "*",
        "http://host/v2/",
        "/V2/",
        "/%762/",
    ] {
        assert_eq!(Route::parse(path), Err(RouteError::NotFound), "{path}");
    }
}

proptest! {
    /// N3: no path makes the parser panic, and messages about it are short and printable.
    #[test]
    fn survives_any_path(
        path in "(/v2)?(/(acme|nginx|blobs|uploads|manifests|tags|list|referrers|auth|%[0-9a-fA-F]{0,2}|sha256:[0-9a-f]{0,64}|\\.{1,2}|\\PC{0,9}|[\\x00-\\x20]?)){0,9}"
    ) {
        match Route::parse(&path) {
            Ok(Route::Manifest { name, reference }) => {
                prop_assert!(!name.to_string().contains(".."));
                prop_assert!(!reference.to_string().contains('/'));
            }
            Ok(_) => prop_assert!(path.starts_with("/v2")),
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.chars().count() < 1024, "{}", message);
                prop_assert!(!message.chars().any(char::is_control), "{:?}", message);
            }
        }
    }

    /// N1, N3: escaping any characters of a valid path changes nothing.
    #[test]
    fn reads_escaped_and_plain_paths_alike(
        repository in "[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}){0,2}",
        tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}",
        escape: [bool; 16],
    ) {
        let plain = format!("/v2/acme/{repository}/manifests/{tag}");
        let mut escaped = "/v2/".to_owned();
        for (index, character) in plain[4..].chars().enumerate() {
            if character != '/' && escape[index % escape.len()] {
                write!(escaped, "%{:02x}", u32::from(character)).unwrap();
            } else {
                escaped.push(character);
            }
        }
        prop_assert_eq!(Route::parse(&escaped), Route::parse(&plain));
        prop_assert!(Route::parse(&plain).is_ok());
    }
}
