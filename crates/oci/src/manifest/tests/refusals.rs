//! Bodies that are no manifests, and bodies that are nothing at all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{LAYER, descriptor, digest, image, index, parse, with, without};
use crate::media_type::*;
use crate::{Kind, MAX_BLOB_BYTES, MAX_MANIFEST_BYTES, Manifest, ManifestError};

/// M12: sizes are between 0 and 1 TiB, and whole.
#[test]
fn refuses_impossible_sizes() {
    let largest = descriptor(LAYER, "one", MAX_BLOB_BYTES);
    assert!(parse(&with(image(), "layers", json!([largest])), None).is_ok());
    for size in [
        "-1",
        "1099511627777",
        "1.5",
        "1e3",
        "18446744073709551616",
        "-9223372036854775809",
    ] {
        let body = image()
            .to_string()
            .replace("\"size\":100", &format!("\"size\":{size}"));
        let error = Manifest::parse(body.as_bytes(), None).unwrap_err();
        assert!(
            matches!(&error, ManifestError::DescriptorSize { place } if place == "layers[0]"),
            "{size}: {error}"
        );
    }
    for size in ["null", "\"100\"", "[]", "true"] {
        let body = image()
            .to_string()
            .replace("\"size\":100", &format!("\"size\":{size}"));
        let error = Manifest::parse(body.as_bytes(), None).unwrap_err();
        assert!(matches!(error, ManifestError::Field { .. }), "{size}: {error}");
    }
}

/// B10: one manifest cannot declare two sizes for one digest.
#[test]
fn refuses_two_sizes_for_one_digest() {
    let layers = json!([descriptor(LAYER, "one", 100), descriptor(LAYER, "one", 101)]);
    let error = parse(&with(image(), "layers", layers), None).unwrap_err();
    assert!(
        matches!(
            error,
            ManifestError::Contradiction {
                size: 101,
                other: 100,
                ..
            }
        ),
        "{error}"
    );
}

/// N3, M12: digests in descriptors follow the same grammar as those in paths.
#[test]
fn refuses_wrong_digests_in_descriptors() {
    for wrong in [
        "",
        "sha256:beef",
        "../../etc/passwd",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        for body in [
            with(image(), "config", json!({ "digest": wrong, "size": 1 })),
            with(image(), "layers", json!([{ "digest": wrong, "size": 1 }])),
            with(image(), "subject", json!({ "digest": wrong, "size": 1 })),
            with(index(), "manifests", json!([{ "digest": wrong, "size": 1 }])),
        ] {
            let error = parse(&body, None).unwrap_err();
            assert!(
                matches!(error, ManifestError::DescriptorDigest { .. }),
                "{body}: {error}"
            );
        }
    }
}

/// M8, M12: what is not JSON, or not a manifest, is refused.
#[test]
fn refuses_what_is_no_manifest() {
    for body in [
        "",
        " ",
        "<html>",
        "{",
        "{}x",
        "\u{feff}{}",
        "{\"schemaVersion\":2",
        "\0",
    ] {
        let error = Manifest::parse(body.as_bytes(), Some(OCI_MANIFEST)).unwrap_err();
        assert!(
            matches!(error, ManifestError::NotJson { .. }),
            "{body:?}: {error}"
        );
    }
    assert!(Manifest::parse(b"\"\xff\xfe\"", None).is_err());
    for body in [
        "[]",
        "null",
        "5",
        "\"manifest\"",
        "{\"layers\":{}}",
        "{\"config\":[1]}",
        "[2,null,null,null,[]]",
        "{\"manifests\":[[null,\"sha256:x\",1]]}",
        "{\"mediaType\":5}",
    ] {
        let error = Manifest::parse(body.as_bytes(), Some(OCI_MANIFEST)).unwrap_err();
        assert!(matches!(error, ManifestError::Field { .. }), "{body}: {error}");
    }
    for body in [
        "{}",
        "{\"errors\":[]}",
        "{\"layers\":[]}",
        "{\"blobs\":[]}",
        "{\"schemaVersion\":2}",
    ] {
        let error = Manifest::parse(body.as_bytes(), None).unwrap_err();
        assert!(
            matches!(error, ManifestError::WrongShape { .. }),
            "{body}: {error}"
        );
    }
}

/// M12: a body that could be read as two kinds, or whose fields stand there twice, is refused: two
/// clients could make two different images of one digest.
#[test]
fn refuses_ambiguous_bodies() {
    for body in [
        with(image(), "manifests", index()["manifests"].clone()),
        with(index(), "layers", image()["layers"].clone()),
        with(index(), "config", image()["config"].clone()),
        with(image(), "mediaType", json!(OCI_INDEX)),
        with(index(), "mediaType", json!(DOCKER_MANIFEST)),
        with(image(), "mediaType", json!(OCI_ARTIFACT)),
        with(image(), "fsLayers", json!([])),
        with(image(), "schemaVersion", json!(3)),
        without(image(), "config"),
        without(index(), "manifests"),
    ] {
        let error = parse(&body, None).unwrap_err();
        assert!(
            matches!(error, ManifestError::WrongShape { .. }),
            "{body}: {error}"
        );
    }
    let twice = image().to_string().replacen('{', "{\"layers\":[],", 1);
    assert!(matches!(
        Manifest::parse(twice.as_bytes(), None),
        Err(ManifestError::Field { .. })
    ));
}

/// M12: 4 MiB are a manifest, one byte more is none.
#[test]
fn bounds_the_length() {
    let mut body = image().to_string().into_bytes();
    body.resize(MAX_MANIFEST_BYTES, b' ');
    assert!(Manifest::parse(&body, None).is_ok());
    body.push(b' ');
    assert!(matches!(
        Manifest::parse(&body, None),
        Err(ManifestError::TooLarge { .. })
    ));
}

/// O2: nesting does not exhaust the stack.
#[test]
fn survives_deep_nesting() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"x\":{}1{}}}", open.repeat(500_000), close.repeat(500_000));
        assert!(Manifest::parse(deep.as_bytes(), None).is_err());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let field =
        "schemaVersion|mediaType|config|layers|manifests|blobs|subject|digest|size|urls|annotations|x";
    let text = prop_oneof![
        Just(OCI_MANIFEST.to_owned()),
        Just(OCI_INDEX.to_owned()),
        Just(OCI_ARTIFACT.to_owned()),
        Just(digest("x").to_string()),
        "\\PC{0,20}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..4).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        (0_u64..9).prop_map(|size| descriptor(LAYER, "x", size)),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(field, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// N3, O2: no bytes make the parser panic.
    #[test]
    fn survives_any_bytes(body: Vec<u8>, content_type in prop::option::of("\\PC{0,40}")) {
        let _ = Manifest::parse(&body, content_type.as_deref());
    }

    /// M12: no document makes the parser panic, and what it accepts has the type of a manifest.
    #[test]
    fn survives_any_document(body in any_json()) {
        if let Ok(manifest) = parse(&body, None) {
            prop_assert!(is_manifest(&manifest.media_type));
            prop_assert_eq!(manifest.kind == Kind::Index, is_index(&manifest.media_type));
            prop_assert!(manifest.blobs().iter().all(|blob| blob.size <= MAX_BLOB_BYTES));
        }
    }

    /// M12: a manifest cut anywhere or with one byte changed never panics, and cut it is never valid.
    #[test]
    fn survives_damage(cut in 0_usize..400, at in 0_usize..400, byte: u8) {
        let body = image().to_string().into_bytes();
        let cut = cut.min(body.len() - 1);
        prop_assert!(Manifest::parse(&body[..cut], None).is_err());
        let mut changed = body;
        let at = at.min(changed.len() - 1);
        changed[at] = byte;
        let _ = Manifest::parse(&changed, Some(OCI_MANIFEST));
    }
}
