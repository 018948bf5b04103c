use proptest::prelude::*;

use super::*;

/// N3: a tag has 1 to 128 characters and does not begin with a separator.
#[test]
fn accepts_tags_of_the_grammar() {
    let longest = "a".repeat(MAX_TAG_BYTES);
    for tag in ["latest", "1.27", "_", "V1_2-rc.1", "0", longest.as_str()] {
        assert_eq!(Tag::parse(tag).unwrap().as_str(), tag);
    }
}

/// N3: a tag outside the grammar is refused with a message for people.
#[test]
fn refuses_tags_outside_the_grammar() {
    let too_long = "a".repeat(MAX_TAG_BYTES + 1);
    for tag in [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "a/b",
        "a b",
        "a\0",
        "a\n",
        "é",
        "a%",
        "a@b",
        "a+b",
        too_long.as_str(),
    ] {
        assert!(
            matches!(Reference::parse(tag), Err(RouteError::Tag(_))),
            "{tag:?} was accepted"
        );
    }
}

/// N3: what has a colon is meant as a digest.
#[test]
fn tells_digests_from_tags() {
    let digest = Digest::of(crate::Algorithm::Sha256, b"x");
    assert_eq!(
        Reference::parse(digest.as_str()).unwrap(),
        Reference::Digest(digest)
    );
    assert!(matches!(
        Reference::parse("sha256:beef"),
        Err(RouteError::Digest(_))
    ));
    assert!(matches!(
        Reference::parse("md5:d41d8cd98f00b204e9800998ecf8427e"),
        Err(RouteError::Digest(_))
    ));
    assert!(matches!(
        Reference::parse("sha256-beef").unwrap(),
        Reference::Tag(_)
    ));
}

proptest! {
    /// N3: no text makes the parser panic, and what it accepts it gives back unchanged.
    #[test]
    fn survives_any_text(text in "[a-zA-Z0-9._:-]{0,140}|\\PC*") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(reference.to_string(), text.as_str());
            prop_assert!(!text.contains('/') && !text.starts_with('.'));
        }
    }
}
