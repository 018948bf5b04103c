//! SPEC §2, M12 to M14: what a manifest may be, and what an answer looks like.

use bytes::Bytes;
use http::Method;
use quayside_tests::fake::{Fault, On};
use quayside_tests::house::Organization;
use quayside_tests::images::{
    Blob, DOCKER_LIST, DOCKER_MANIFEST, Format, Image, Index, OCI_INDEX, OCI_MANIFEST, random_bytes,
};
use serde_json::json;

use crate::scene::scene;

const ACCEPTS: [&str; 3] = ["application/json", OCI_INDEX, DOCKER_MANIFEST];

/// M12: every kind of manifest comes back byte for byte under its own type, whatever `Accept` says.
#[tokio::test]
async fn serves_every_format_byte_for_byte() {
    let scene = scene(|acme| acme).await;
    let layer = || Blob::random(9, 100);
    let docker = Image::builder().format(Format::Docker).layer(layer()).build();
    let inner = Index::two_platforms(4, 10);
    let manifests = [
        (Image::builder().layer(layer()).build().manifest, OCI_MANIFEST),
        (docker.manifest.clone(), DOCKER_MANIFEST),
        (
            Index::builder()
                .format(Format::Docker)
                .image(docker, "amd64")
                .build()
                .manifest,
            DOCKER_LIST,
        ),
        (inner.manifest.clone(), OCI_INDEX),
        (Index::builder().index(inner.clone()).build().manifest, OCI_INDEX),
        (
            Image::builder()
                .artifact_type("application/spdx")
                .subject(&inner.manifest)
                .build()
                .manifest,
            OCI_MANIFEST,
        ),
    ];
    for (position, (manifest, media_type)) in manifests.iter().enumerate() {
        let tag = format!("v{position}");
        scene.upstream.add_manifest("formats", manifest);
        scene.upstream.tag("formats", &tag, &manifest.digest);
        for accept in ACCEPTS {
            for reference in [&tag, &manifest.digest] {
                let path = format!("/v2/acme/formats/manifests/{reference}");
                let answer = scene
                    .house
                    .call(Method::GET, &path)
                    .header("accept", accept)
                    .send()
                    .await;
                answer.assert_body(&manifest.bytes);
                assert_eq!(answer.header("content-type"), *media_type);
            }
        }
    }
}

/// M12: without `mediaType` in the body the `Content-Type` counts, without its parameters.
#[tokio::test]
async fn takes_the_type_from_the_header_if_the_body_has_none() {
    let scene = scene(|acme| acme).await;
    let config = Blob::new("application/vnd.oci.image.config.v1+json", "{}");
    let body = json!({ "schemaVersion": 2, "config": config.descriptor(), "layers": [] }).to_string();
    let manifest = Blob::new(&format!("{OCI_MANIFEST}; charset=utf-8"), body);
    scene.upstream.add_manifest("untyped", &manifest);
    scene.upstream.tag("untyped", "1", &manifest.digest);
    let answer = scene.house.manifest("untyped", "1").await;
    answer.assert_body(&manifest.bytes);
    assert_eq!(answer.header("content-type"), OCI_MANIFEST);
}

/// M12: neither body nor header names a type: the shape decides.
#[tokio::test]
async fn takes_the_type_from_the_shape_if_nothing_names_it() {
    let scene = scene(|acme| acme).await;
    let body = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    let manifest = Blob::new("text/plain", body);
    scene.upstream.add_manifest("untyped", &manifest);
    scene.upstream.tag("untyped", "1", &manifest.digest);
    let answer = scene.house.manifest("untyped", "1").await;
    answer.assert_body(&manifest.bytes);
    assert_eq!(answer.header("content-type"), OCI_INDEX);
}

/// M12: schema 1 is told before any verification and is a 404 that says so.
#[tokio::test]
async fn refuses_schema_1_with_a_message_that_says_so() {
    let scene = scene(|acme| acme).await;
    let body = json!({ "schemaVersion": 1, "name": "old", "tag": "1", "fsLayers": [], "signatures": [] });
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let mut manifest = Blob::new(media_type, body.to_string());
    // As real registries do: the digest is that of the body without its signatures.
    manifest.digest = quayside_tests::images::sha256(b"the payload alone");
    scene.upstream.add_manifest("old", &manifest);
    scene.upstream.tag("old", "1", &manifest.digest);
    for reference in ["1", &manifest.digest] {
        let answer = scene.house.manifest("old", reference).await;
        answer.assert_error(404, "MANIFEST_UNKNOWN");
        assert!(answer.message().contains("schema"), "{answer:?}");
    }
    assert_eq!(scene.house.rows().await, 0);
}

/// M12: a foreign layer is neither filled nor served, the rest of its image is.
#[tokio::test]
async fn leaves_foreign_layers_where_they_are() {
    let scene = scene(Organization::background).await;
    let foreign = Blob::random(20, 500);
    let layer = Blob::random(21, 500);
    let image = Image::builder()
        .format(Format::Docker)
        .foreign_layer(&foreign, "http://127.0.0.1:1/foreign")
        .layer(layer.clone())
        .build();
    scene.upstream.push("windows", "1", &image);
    scene.upstream.add_blob("windows", &foreign);
    scene
        .house
        .manifest("windows", "1")
        .await
        .assert_body(image.body());
    scene
        .house
        .blob("windows", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    scene
        .house
        .blob("windows", &foreign.digest)
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(scene.upstream.count(&Method::GET, &foreign.digest), 0);
}

/// M12: a size that is negative or beyond 1 TiB makes the manifest invalid.
#[tokio::test]
async fn refuses_impossible_sizes() {
    for size in [-1, (1 << 40) + 1] {
        let scene = scene(|acme| acme).await;
        let image = Image::builder().layer_declared(Blob::random(5, 10), size).build();
        scene.upstream.push("sizes", "1", &image);
        scene
            .house
            .manifest("sizes", "1")
            .await
            .assert_error(502, "MANIFEST_INVALID");
        assert_eq!(scene.house.rows().await, 0);
    }
}

/// M13: an index is stored alone; its children are fetched when they are pulled.
#[tokio::test]
async fn stores_an_index_without_its_children() {
    let scene = scene(Organization::background).await;
    let index = Index::two_platforms(6, 100);
    scene.upstream.push_index("multi", "1", &index);
    scene.house.manifest("multi", "1").await.assert_body(index.body());
    assert_eq!((scene.manifest_gets(), scene.blob_gets()), (1, 0));
    assert_eq!(scene.house.number("SELECT count(*) FROM manifest").await, 1);
    let child = &index.images[1];
    scene
        .house
        .manifest("multi", child.digest())
        .await
        .assert_body(child.body());
    assert_eq!(scene.manifest_gets(), 2);
}

/// M14: GET and HEAD carry the same headers, by tag and by digest.
#[tokio::test]
async fn sends_the_same_headers_with_get_and_head() {
    let scene = scene(|acme| acme.revalidate(60)).await;
    scene.house.manifest("alpine", "1").await;
    let digest = scene.image.digest();
    for (reference, control) in [
        ("1", "no-cache"),
        (digest, "private, max-age=31536000, immutable"),
    ] {
        let get = scene.house.manifest("alpine", reference).await;
        let head = scene.house.head_manifest("alpine", reference).await;
        assert!(head.body.is_empty());
        for answer in [&get, &head] {
            let expected = [
                ("content-type", OCI_MANIFEST),
                ("content-length", &scene.image.body().len().to_string()),
                ("docker-content-digest", digest),
                ("etag", &format!("\"{digest}\"")),
                ("docker-distribution-api-version", "registry/2.0"),
                ("x-cache", "HIT"),
                ("cache-control", control),
                ("content-encoding", ""),
            ];
            for (name, value) in expected {
                assert_eq!(answer.header(name), value, "{reference} {name}: {answer:?}");
            }
        }
    }
}

/// M14: `If-None-Match` with the digest is 304, with another one it is the content.
#[tokio::test]
async fn answers_304_to_the_digest_that_the_client_has() {
    let scene = scene(|acme| acme).await;
    let etag = format!("\"{}\"", scene.image.digest());
    for reference in ["1", scene.image.digest()] {
        let path = format!("/v2/acme/alpine/manifests/{reference}");
        for method in [Method::GET, Method::HEAD] {
            let answer = scene
                .house
                .call(method.clone(), &path)
                .header("if-none-match", &etag)
                .send()
                .await;
            assert_eq!(
                (answer.status, answer.header("etag")),
                (304, etag.as_str()),
                "{method} {answer:?}"
            );
            assert!(answer.body.is_empty());
        }
        let answer = scene
            .house
            .call(Method::GET, &path)
            .header("if-none-match", "\"sha256:other\"")
            .send()
            .await;
        answer.assert_body(scene.image.body());
    }
}

/// M14: a `Range` on a manifest is ignored, and no body is compressed because of `Accept-Encoding`.
#[tokio::test]
async fn ignores_range_and_accept_encoding_on_manifests() {
    let scene = scene(|acme| acme).await;
    for reference in ["1", scene.image.digest()] {
        let path = format!("/v2/acme/alpine/manifests/{reference}");
        for range in ["bytes=0-", "bytes=0-9", "bytes=99999999-"] {
            let call = scene.house.call(Method::GET, &path).header("range", range);
            let answer = call.header("accept-encoding", "gzip, zstd").send().await;
            answer.assert_body(scene.image.body());
            assert_eq!(answer.header("content-encoding"), "");
        }
    }
}

/// M12: exactly 4 MiB is a manifest, with or without a length in front of it; one byte more is not.
#[tokio::test]
async fn takes_manifests_of_up_to_4_mib() {
    let scene = scene(|acme| acme).await;
    let sized = |length: usize| {
        let image = Image::builder().annotation("padding", "").build();
        let padding = "x".repeat(length - image.body().len());
        Image::builder().annotation("padding", &padding).build()
    };
    let (fits, too_big) = (sized(4 << 20), sized((4 << 20) + 1));
    scene.upstream.push("giant", "fits", &fits);
    scene.upstream.push("giant", "chunked", &fits);
    scene.upstream.push("giant", "more", &too_big);
    scene.upstream.push("giant", "more-chunked", &too_big);
    scene
        .upstream
        .script(On::manifest().at("chunked"), Fault::Chunked);
    scene
        .upstream
        .script(On::manifest().at("more-chunked"), Fault::Chunked);
    scene
        .house
        .manifest("giant", "fits")
        .await
        .assert_body(fits.body());
    scene
        .house
        .manifest("giant", "chunked")
        .await
        .assert_body(fits.body());
    scene
        .house
        .manifest("giant", "more")
        .await
        .assert_error(502, "MANIFEST_INVALID");
    scene
        .house
        .manifest("giant", "more-chunked")
        .await
        .assert_error(502, "MANIFEST_INVALID");
}

/// M8, M12: no malformed body is ever stored or served, and none is a 500.
#[tokio::test]
async fn refuses_malformed_manifests() {
    let config = Blob::new("application/vnd.oci.image.config.v1+json", "{}").descriptor();
    let twice = json!([
        { "mediaType": "a/b", "digest": config["digest"], "size": 1 },
        { "mediaType": "a/b", "digest": config["digest"], "size": 2 },
    ]);
    let bodies = [
        Bytes::new(),
        Bytes::from("null"),
        Bytes::from("[]"),
        Bytes::from("{}"),
        Bytes::from("<html>captive portal</html>"),
        random_bytes(1, 1000),
        Bytes::from("[".repeat(200_000)),
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST }).to_string().into(),
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": 1, "layers": {} }).to_string().into(),
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": twice }).to_string().into(),
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{ "digest": "md5:abc", "size": 1 }] })
            .to_string()
            .into(),
    ];
    let scene = scene(|acme| acme).await;
    for (position, body) in bodies.into_iter().enumerate() {
        let tag = format!("bad{position}");
        let manifest = Blob::new(OCI_MANIFEST, body);
        scene.upstream.add_manifest("bad", &manifest);
        scene.upstream.tag("bad", &tag, &manifest.digest);
        for reference in [&tag, &manifest.digest] {
            let answer = scene.house.manifest("bad", reference).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (502, "MANIFEST_INVALID"),
                "{position}: {answer:?}"
            );
        }
    }
    assert_eq!(scene.house.rows().await, 0);
}
