mod refusals;
mod round_trip;

use serde_json::{Value, json};

use super::*;
use crate::Algorithm;
use crate::media_type::*;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn digest(seed: &str) -> Digest {
    Digest::of(Algorithm::Sha256, seed.as_bytes())
}

fn descriptor(media_type: &str, seed: &str, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest(seed).as_str(), "size": size })
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, "config", 10),
        "layers": [descriptor(LAYER, "one", 100), descriptor(LAYER, "two", 200)],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, "amd64", 500), descriptor(OCI_INDEX, "nested", 600)],
    })
}

fn parse(body: &Value, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
    Manifest::parse(body.to_string().as_bytes(), content_type)
}

/// The value with one top-level field changed.
fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn without(mut body: Value, field: &str) -> Value {
    body.as_object_mut().unwrap().remove(field);
    body
}

/// M12: config and layers of an image, in order.
#[test]
fn reads_an_image() {
    let manifest = parse(&image(), Some(OCI_MANIFEST)).unwrap();
    assert_eq!(manifest.kind, Kind::Image);
    assert_eq!(manifest.config.as_ref().unwrap().digest, digest("config"));
    assert_eq!(manifest.artifact_type.as_deref(), Some(OCI_CONFIG));
    let blobs = manifest.blobs();
    let expected = [("config", 10, false), ("one", 100, true), ("two", 200, true)];
    assert_eq!(blobs.len(), expected.len());
    for (blob, (seed, size, layer)) in blobs.iter().zip(expected) {
        assert_eq!(
            (&blob.digest, blob.size, blob.layer),
            (&digest(seed), size, layer)
        );
    }
}

/// M13: the children of an index are known by descriptor, nested indexes too.
#[test]
fn reads_an_index_with_a_nested_one() {
    let manifest = parse(&index(), None).unwrap();
    assert_eq!(manifest.kind, Kind::Index);
    assert_eq!(manifest.children.len(), 2);
    assert_eq!(manifest.children[1].media_type, OCI_INDEX);
    assert_eq!(manifest.artifact_type, None);
    assert!(manifest.blobs().is_empty());
}

/// M13: what an index lists beside manifests are blobs, as build caches keep their layers.
#[test]
fn takes_other_content_of_an_index_for_blobs() {
    let mut body = index();
    let list = body["manifests"].as_array_mut().unwrap();
    list.push(descriptor(LAYER, "cached", 7));
    list.push(descriptor(
        "application/vnd.buildkit.cacheconfig.v0",
        "cache config",
        8,
    ));
    list.push(json!({ "digest": digest("untyped").as_str(), "size": 9 }));
    let manifest = parse(&body, None).unwrap();
    assert_eq!(manifest.children.len(), 3);
    assert_eq!(
        manifest.blobs().iter().map(|blob| blob.size).collect::<Vec<_>>(),
        [7, 8]
    );
}

/// M12: the type is the body's own if known, else the given one, else that of the shape.
#[test]
fn finds_the_type_by_body_then_header_then_shape() {
    let untyped = || without(image(), "mediaType");
    let docker = with(untyped(), "config", descriptor(DOCKER_CONFIG, "config", 10));
    let artifact = json!({ "artifactType": "a/b", "blobs": [descriptor(LAYER, "one", 1)] });
    for (body, content_type, expected) in [
        (image(), Some(DOCKER_MANIFEST), OCI_MANIFEST),
        (
            with(image(), "mediaType", json!("x/y")),
            Some(DOCKER_MANIFEST),
            DOCKER_MANIFEST,
        ),
        (
            untyped(),
            Some("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"),
            DOCKER_MANIFEST,
        ),
        (untyped(), Some("application/octet-stream"), OCI_MANIFEST),
        (untyped(), None, OCI_MANIFEST),
        (docker, None, DOCKER_MANIFEST),
        (without(index(), "mediaType"), Some("text/plain"), OCI_INDEX),
        (without(index(), "mediaType"), Some(DOCKER_LIST), DOCKER_LIST),
        (artifact, None, OCI_ARTIFACT),
    ] {
        assert_eq!(
            parse(&body, content_type).unwrap().media_type,
            expected,
            "{body}, {content_type:?}"
        );
    }
}

/// M12: artifacts of any type, with and without a subject, and the withdrawn artifact manifest.
#[test]
fn reads_artifacts() {
    let artifact = with(image(), "artifactType", json!("application/vnd.example.sbom"));
    let artifact = with(artifact, "subject", descriptor(OCI_MANIFEST, "subject", 500));
    let artifact = with(artifact, "annotations", json!({ "a": "b", "n": null }));
    let artifact = with(
        artifact,
        "config",
        descriptor("application/vnd.oci.empty.v1+json", "{}", 2),
    );
    let manifest = parse(&artifact, None).unwrap();
    assert_eq!(
        manifest.artifact_type.as_deref(),
        Some("application/vnd.example.sbom")
    );
    assert_eq!(manifest.subject.unwrap().digest, digest("subject"));
    assert_eq!(manifest.annotations["a"], "b");
    assert_eq!(manifest.annotations["n"], "");

    let chart = with(
        image(),
        "config",
        descriptor("application/vnd.cncf.helm.config.v1+json", "c", 5),
    );
    let manifest = parse(&with(chart, "artifactType", json!("")), None).unwrap();
    assert_eq!(
        manifest.artifact_type.as_deref(),
        Some("application/vnd.cncf.helm.config.v1+json")
    );

    let withdrawn = json!({
        "mediaType": OCI_ARTIFACT,
        "artifactType": "application/vnd.example.signature",
        "blobs": [descriptor("application/octet-stream", "signature", 3)],
        "subject": descriptor(OCI_MANIFEST, "subject", 500),
    });
    let manifest = parse(&withdrawn, None).unwrap();
    assert_eq!(
        (manifest.kind, manifest.media_type.as_str()),
        (Kind::Image, OCI_ARTIFACT)
    );
    assert_eq!(manifest.blobs().len(), 1);
    assert!(manifest.subject.is_some() && manifest.config.is_none());
}

/// M12, L2: an index may be an artifact with a subject, and its descriptors may carry types.
#[test]
fn reads_an_index_with_a_subject() {
    let mut body = with(index(), "subject", descriptor(OCI_INDEX, "subject", 500));
    body["artifactType"] = json!("application/vnd.example.bundle");
    body["manifests"][0]["artifactType"] = json!("application/vnd.example.part");
    let manifest = parse(&body, None).unwrap();
    assert_eq!(
        manifest.artifact_type.as_deref(),
        Some("application/vnd.example.bundle")
    );
    assert_eq!(
        manifest.children[0].artifact_type.as_deref(),
        Some("application/vnd.example.part")
    );
    assert_eq!(manifest.subject.unwrap().media_type, OCI_INDEX);
}

/// M12: schema 1 is told by its version or its type, before anything else is looked at.
#[test]
fn recognises_schema_1() {
    let old = json!({ "schemaVersion": 1, "name": "a/b", "fsLayers": [{ "blobSum": "x" }], "config": 5 });
    let foreign = with(old.clone(), "mediaType", json!(OCI_MANIFEST));
    for (body, content_type) in [
        (old.to_string(), None),
        (foreign.to_string(), Some(OCI_MANIFEST)),
        ("not even JSON".to_owned(), Some(DOCKER_SCHEMA1_SIGNED)),
        (
            without(image(), "mediaType").to_string(),
            Some("application/vnd.docker.distribution.manifest.v1+json; q=1"),
        ),
        (
            with(image(), "mediaType", json!(DOCKER_SCHEMA1)).to_string(),
            None,
        ),
    ] {
        assert!(Manifest::is_schema1(body.as_bytes(), content_type), "{body}");
        let error = Manifest::parse(body.as_bytes(), content_type).unwrap_err();
        assert!(matches!(error, ManifestError::Schema1), "{body}: {error}");
        assert!(error.to_string().contains("schema 1"));
    }
    assert!(!Manifest::is_schema1(
        image().to_string().as_bytes(),
        Some(DOCKER_SCHEMA1)
    ));
    assert!(parse(&image(), Some(DOCKER_SCHEMA1)).is_ok());
}

/// M12: layers with their own `urls` or a foreign type are neither filled nor counted.
#[test]
fn leaves_foreign_layers_alone() {
    let mut body = image();
    body["layers"][0]["urls"] = json!(["https://elsewhere.example/layer"]);
    body["layers"][1]["urls"] = json!([]);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    body["layers"]
        .as_array_mut()
        .unwrap()
        .push(descriptor(foreign, "windows", 1 << 30));
    let manifest = parse(&body, None).unwrap();
    let fetchable: Vec<bool> = manifest.layers.iter().map(|layer| layer.fetchable).collect();
    assert_eq!(fetchable, [false, true, false]);
    let blobs: Vec<Digest> = manifest.blobs().into_iter().map(|blob| blob.digest).collect();
    assert_eq!(blobs, [digest("config"), digest("two")]);
}

/// Q2: a blob that is named twice is one blob, and one that is config and layer is a layer.
#[test]
fn names_each_blob_once() {
    let layers = json!([
        descriptor(LAYER, "one", 100),
        descriptor(LAYER, "one", 100),
        descriptor(LAYER, "config", 10)
    ]);
    let manifest = parse(&with(image(), "layers", layers), None).unwrap();
    assert_eq!(manifest.layers.len(), 3);
    let blobs: Vec<(u64, bool)> = manifest
        .blobs()
        .iter()
        .map(|blob| (blob.size, blob.layer))
        .collect();
    assert_eq!(blobs, [(10, true), (100, true)]);
}

/// M12: Go writes an empty list as `null`.
#[test]
fn takes_null_for_an_empty_list() {
    assert!(
        parse(&with(image(), "layers", Value::Null), None)
            .unwrap()
            .layers
            .is_empty()
    );
    assert!(
        parse(&without(image(), "layers"), None)
            .unwrap()
            .layers
            .is_empty()
    );
    assert!(
        parse(&with(index(), "manifests", Value::Null), None)
            .unwrap()
            .children
            .is_empty()
    );
    assert!(parse(&with(image(), "manifests", Value::Null), Some(OCI_MANIFEST)).is_ok());
}
