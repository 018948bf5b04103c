use proptest::prelude::*;

use super::*;

/// N3: the grammar of the distribution specification.
#[test]
fn accepts_names_of_the_grammar() {
    for name in [
        "a/b",
        "acme/library/nginx",
        "a.b_c__d-e---f/0",
        "acme/a/b/c/d/e/f",
        "1/2",
        "acme/auth",
        "a/blobs",
    ] {
        assert_eq!(FullName::parse(name).unwrap().to_string(), name);
    }
}

/// N3: path tricks, other alphabets, empty components and wrong separators are no names.
#[test]
fn refuses_names_outside_the_grammar() {
    let refused = [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "a/.",
        "a/..",
        "../a",
        "a/../b",
        "a/.b",
        "a/b.",
        "a/b..c",
        "a/b___c",
        "a/b._c",
        "a/-b",
        "a/b-",
        "a/_b",
        "a/b-.c",
        "A/b",
        "a/B",
        "a/b c",
        "a/b%2fc",
        "a/b\0",
        "a\\b",
        "a/b\n",
        "a/é",
        "a/b:c",
        "a/b@c",
        "a/~b",
        "_catalog/a",
    ];
    for name in refused {
        assert!(FullName::parse(name).is_err(), "{name:?} was accepted");
    }
}

/// N3: 255 bytes are a name, 256 are not, the organization and the slash included.
#[test]
fn bounds_the_length_with_the_organization() {
    let name = format!("acme/{}", "a".repeat(MAX_NAME_BYTES - 5));
    assert_eq!(name.len(), MAX_NAME_BYTES);
    assert!(FullName::parse(&name).is_ok());
    assert!(matches!(
        FullName::parse(&format!("{name}a")),
        Err(NameError::TooLong(_))
    ));
    assert!(RepositoryName::parse(&"a".repeat(MAX_NAME_BYTES + 1)).is_err());
    assert!(OrganizationName::parse(&"a".repeat(MAX_NAME_BYTES + 1)).is_err());
}

/// N3: `auth` and `_catalog` are reserved, as organizations only.
#[test]
fn reserves_the_paths_of_the_api() {
    for name in ["auth", "_catalog"] {
        assert!(matches!(
            OrganizationName::parse(name),
            Err(NameError::Reserved(_))
        ));
    }
    assert!(matches!(
        FullName::parse("auth/nginx"),
        Err(NameError::Reserved(_))
    ));
    assert!(OrganizationName::parse("auth2").is_ok());
    assert!(RepositoryName::parse("auth").is_ok());
}

/// N1: an image name has an organization and a repository.
#[test]
fn wants_a_repository_behind_the_organization() {
    assert!(matches!(
        FullName::parse("nginx"),
        Err(NameError::NoRepository(_))
    ));
    assert!(matches!(FullName::parse("Nginx"), Err(NameError::Grammar(_))));
}

/// N1, N2: a namespace in front of a repository is a repository.
#[test]
fn puts_a_repository_inside_a_namespace() {
    let repository = RepositoryName::parse("nginx").unwrap();
    let inside = repository.inside(&RepositoryName::parse("library").unwrap());
    assert_eq!(inside.as_str(), "library/nginx");
    assert_eq!(inside.components().collect::<Vec<_>>(), ["library", "nginx"]);
}

proptest! {
    /// N3: whatever the grammar generates is accepted and given back unchanged.
    #[test]
    fn accepts_what_the_grammar_generates(
        organization in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}",
        repository in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}(/[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}){0,2}",
    ) {
        prop_assume!(organization != "auth");
        let name = format!("{organization}/{repository}");
        prop_assert_eq!(FullName::parse(&name).unwrap().to_string(), name);
    }

    /// N3: no text makes the parser panic; what it accepts can do no harm in a path, a key or a log.
    #[test]
    fn survives_any_text(text in "[a-z0-9._/-]{0,40}|\\PC*") {
        if let Ok(name) = FullName::parse(&text) {
            let harmless = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/');
            prop_assert_eq!(name.to_string(), text.as_str());
            prop_assert!(text.chars().all(harmless));
            prop_assert!(!text.contains("..") && !text.contains("//"));
            prop_assert!(!text.starts_with('/') && !text.ends_with('/'));
        }
    }
}
