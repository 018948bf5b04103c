//! SPEC §1 N3, §11 O2 and O4: input that nobody sends by accident.

use http::Method;
use quayside_tests::eventually::soon;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization, RawAnswer};
use quayside_tests::images::{Blob, Image, OCI_MANIFEST};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{contacts, scene};

const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

async fn house() -> (FakeUpstream, House) {
    let upstream = FakeUpstream::start().await;
    upstream.push("alpine", "1", &Image::random(1, &[100]));
    let house = House::with(Organization::of(&upstream)).await;
    (upstream, house)
}

async fn nothing_happened(upstream: &FakeUpstream, house: &House) {
    assert_eq!(contacts(upstream), 0, "{:?}", upstream.requests());
    assert_eq!(house.rows().await, 0);
    assert!(house.files().is_empty(), "{:?}", house.files());
}

/// N3: what is not in the grammar is 400 with the code of its place, and leaves no trace anywhere.
#[tokio::test]
async fn refuses_names_tags_and_digests_outside_the_grammar() {
    let long = "a".repeat(300);
    let almost = format!("/v2/acme/{}/manifests/1", "a".repeat(251));
    let rows: Vec<(String, &str)> = [
        ("/v2/acme/../../../etc/passwd/manifests/1", "NAME_INVALID"),
        ("/v2/acme/%2e%2e/%2e%2e/manifests/1", "NAME_INVALID"),
        ("/v2/acme/..%2f..%2fetc/manifests/1", "NAME_INVALID"),
        ("/v2/acme/a//b/manifests/1", "NAME_INVALID"),
        ("/v2/acme/ALPINE/manifests/1", "NAME_INVALID"),
        ("/v2/ACME/alpine/manifests/1", "NAME_INVALID"),
        ("/v2/acme/-a/manifests/1", "NAME_INVALID"),
        ("/v2/acme/a..b/manifests/1", "NAME_INVALID"),
        ("/v2/acme/a___b/manifests/1", "NAME_INVALID"),
        ("/v2/acme/al%00pine/manifests/1", "NAME_INVALID"),
        ("/v2/acme/al%ffpine/manifests/1", "NAME_INVALID"),
        ("/v2/acme/al%c3%a4/manifests/1", "NAME_INVALID"),
        ("/v2/acme/al%pine/manifests/1", "NAME_INVALID"),
        ("/v2/acme/a%20b/manifests/1", "NAME_INVALID"),
        ("/v2/acme/a;b/manifests/1", "NAME_INVALID"),
        ("/v2/acme/a\\b/manifests/1", "NAME_INVALID"),
        ("/v2/auth/alpine/manifests/1", "NAME_INVALID"),
        ("/v2/_catalog/alpine/manifests/1", "NAME_INVALID"),
        ("/v2/acme/alpine/manifests/..", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/.hidden", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/-1", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/a%2f..%2fb", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/a%00", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/a%ff", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/a%0d%0ax", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/manifests/$(id)", "MANIFEST_INVALID"),
        ("/v2/acme/alpine/blobs/nonsense", "DIGEST_INVALID"),
        ("/v2/acme/alpine/blobs/sha256:abc", "DIGEST_INVALID"),
        (
            "/v2/acme/alpine/blobs/sha256:../../../../etc/passwd",
            "NAME_INVALID",
        ),
        (
            "/v2/acme/alpine/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            "DIGEST_INVALID",
        ),
    ]
    .into_iter()
    .map(|(path, code)| (path.to_owned(), code))
    .chain([
        (format!("/v2/acme/alpine/manifests/{long}"), "MANIFEST_INVALID"),
        (format!("/v2/acme/{long}/manifests/1"), "NAME_INVALID"),
        (almost, "NAME_INVALID"),
        (format!("/v2/acme/alpine/blobs/sha256:{HEX}a"), "DIGEST_INVALID"),
        (
            format!("/v2/acme/alpine/blobs/sha256:{}", HEX.to_uppercase()),
            "DIGEST_INVALID",
        ),
        (format!("/v2/acme/alpine/blobs/sha512:{HEX}"), "DIGEST_INVALID"),
        (
            format!("/v2/acme/alpine/blobs/sha384:{HEX}{}", &HEX[..32]),
            "DIGEST_INVALID",
        ),
        (
            format!("/v2/acme/alpine/manifests/sha256:{HEX}a"),
            "DIGEST_INVALID",
        ),
        (
            format!("/v2/acme/alpine/manifests/sha1:{}", &HEX[..40]),
            "DIGEST_INVALID",
        ),
    ])
    .collect();
    let (upstream, house) = house().await;
    for (path, code) in rows {
        let answer = house.raw_get(path.as_bytes()).await;
        let name = &path[..path.len().min(80)];
        // A path with dots or slashes too many may be no path of the API at all.
        let right = (answer.status, answer.code().as_str()) == (400, code)
            || (path.contains("..") && answer.status == 404 && !answer.code().is_empty())
            || (path.contains("..") && answer.status == 400 && answer.code().ends_with("_INVALID"));
        assert!(right, "{name}: wanted 400 {code}: {answer:?}");
    }
    nothing_happened(&upstream, &house).await;
}

/// N3: 255 bytes of name are allowed, organization included.
#[tokio::test]
async fn takes_the_longest_name_that_is_allowed() {
    let scene = scene(|acme| acme).await;
    let name = format!("{}/{}", "a".repeat(125), "b".repeat(124));
    assert_eq!("acme/".len() + name.len(), 255);
    scene.upstream.push(&name, "1", &scene.image);
    scene
        .house
        .manifest(&name, "1")
        .await
        .assert_body(scene.image.body());
    let tag = "t".repeat(128);
    scene.upstream.push("alpine", &tag, &scene.image);
    scene
        .house
        .manifest("alpine", &tag)
        .await
        .assert_body(scene.image.body());
}

/// O2: what is no path of the API is a 404 in the shape of the specification.
#[tokio::test]
async fn answers_404_where_nothing_is() {
    let (upstream, house) = house().await;
    let paths = [
        "/",
        "/v1/",
        "/v2x",
        "/v2/acme",
        "/v2/acme/alpine",
        "/v2/acme/alpine/manifests",
        "/favicon.ico",
        "/v2/acme/alpine/nonsense/1",
    ];
    for path in paths {
        let answer = house.get(path).await;
        assert!([404, 401].contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.code().is_empty(), "{path}: {answer:?}");
    }
    nothing_happened(&upstream, &house).await;
}

/// A 4xx in the shape of the specification.
fn is_refusal(answer: &RawAnswer) -> bool {
    (400..500).contains(&answer.status) && !answer.code().is_empty()
}

/// O2, O4: bytes that are no HTTP are refused or cut off, and the next client does not notice.
#[tokio::test]
async fn refuses_what_is_no_http() {
    let (upstream, house) = house().await;
    let requests: [&[u8]; 8] = [
        b"GET /v2/acme/alpine/manifests/\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /v2/acme/alpine/manifests/1\x01 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /v2/acme/al pine/manifests/1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /v2/acme/alpine/manifests/1 HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /v2/acme/alpine/manifests/1 HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /v2/acme/alpine/manifests/1 HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for request in requests {
        let answer = house.raw(request).await;
        assert!(
            is_refusal(&answer),
            "{:?}: {answer:?}",
            String::from_utf8_lossy(request)
        );
    }
    nothing_happened(&upstream, &house).await;
    assert_eq!(house.manifest("alpine", "1").await.status, 200);
}

/// N3: raw bytes that are not UTF-8 in a path are the error of their place.
#[tokio::test]
async fn refuses_raw_bytes_that_are_not_utf_8() {
    let (upstream, house) = house().await;
    for target in [
        b"/v2/acme/al\xffpine/manifests/1".as_slice(),
        b"/v2/acme/alpine/manifests/\xc3\x28",
    ] {
        let answer = house.raw_get(target).await;
        assert!(is_refusal(&answer), "{answer:?}");
    }
    nothing_happened(&upstream, &house).await;
}

/// O4: a head of more than 16 KiB is refused, in one header, in many, or in the target.
#[tokio::test]
async fn refuses_heads_over_16_kib() {
    let (upstream, house) = house().await;
    let get = "GET /v2/acme/alpine/manifests/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let flood: Vec<_> = (0..5000).map(|number| format!("x-{number}: y\r\n")).collect();
    let requests = [
        format!("{get}x: {}\r\n\r\n", "y".repeat(20 << 10)),
        format!("{get}{}\r\n", flood.concat()),
        format!(
            "GET /v2/acme/{}/manifests/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "a/".repeat(20 << 10)
        ),
        format!("{get}authorization: Basic {}\r\n\r\n", "QUJD".repeat(5 << 10)),
    ];
    for request in requests {
        let answer = house.raw(request.as_bytes()).await;
        assert!(is_refusal(&answer), "{}: {answer:?}", &request[..60]);
    }
    nothing_happened(&upstream, &house).await;
    let fits = format!("{get}x: {}\r\n\r\n", "y".repeat(12 << 10));
    assert_eq!(house.raw(fits.as_bytes()).await.status, 200);
}

/// O4: who does not finish the head in 10 s is cut off; others are served meanwhile.
#[tokio::test]
async fn cuts_off_slow_heads() {
    let (upstream, house) = house().await;
    let mut slow = house.connect().await;
    slow.write_all(b"GET /v2/acme/alpine/manifests/1 HTTP/1.1\r\nhost: a\r\n")
        .await
        .unwrap();
    assert_eq!(house.admin("/livez").await.status, 200);
    let mut rest = Vec::new();
    let cut = house.while_time_passes(std::time::Duration::from_secs(1), slow.read_to_end(&mut rest));
    soon("the connection is closed", cut).await.unwrap();
    let text = String::from_utf8_lossy(&rest);
    assert!(rest.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    nothing_happened(&upstream, &house).await;
}

/// O4: bodies of requests are not waited for.
#[tokio::test]
async fn does_not_wait_for_bodies() {
    let (_upstream, house) = house().await;
    let request = b"PUT /v2/acme/alpine/manifests/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1000000000\r\n\r\n";
    let mut stream = house.connect().await;
    stream.write_all(request).await.unwrap();
    let mut beginning = [0; 12];
    soon("the registry answers", stream.read_exact(&mut beginning))
        .await
        .unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 405");
}

/// O4: of the token form at most 16 KiB are read.
#[tokio::test]
async fn refuses_a_giant_token_form() {
    let (_upstream, house) = house().await;
    let form = format!(
        "grant_type=password&username=alice&password={}",
        "x".repeat(1 << 20)
    );
    let head = format!(
        "POST /v2/auth HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        form.len()
    );
    let answer = house.raw(&[head.as_bytes(), form.as_bytes()].concat()).await;
    assert!(answer.status == 0 || is_refusal(&answer), "{answer:?}");
}

/// O2: credentials of any shape are 401, never a 500.
#[tokio::test]
async fn refuses_malformed_credentials() {
    let (upstream, house) = house().await;
    for value in [
        "Basic",
        "Basic !!!",
        "Basic YWxpY2U",
        "Bearer",
        "Bearer a.b.c",
        "Negotiate x",
        "Basic AP8A/w==",
        "",
    ] {
        let answer = house
            .call(Method::GET, "/v2/")
            .header("authorization", value)
            .send()
            .await;
        answer.assert_error(401, "UNAUTHORIZED");
    }
    nothing_happened(&upstream, &house).await;
}

/// M8, M12: hostile answers of an upstream: a deep nest, a huge number, a digest that is a path.
#[tokio::test]
async fn refuses_hostile_manifests() {
    let scene = scene(|acme| acme).await;
    let deep = format!(
        "{{\"schemaVersion\":2,\"x\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let path = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"config\":{{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../x\",\"size\":1}},\"layers\":[]}}"
    );
    let huge = path
        .replace("sha256:../../x", &format!("sha256:{HEX}"))
        .replace(":1}", ":1e400}");
    for (position, body) in [deep, path, huge].into_iter().enumerate() {
        let manifest = Blob::new(OCI_MANIFEST, body);
        scene.upstream.add_manifest("bad", &manifest);
        scene
            .upstream
            .tag("bad", &format!("v{position}"), &manifest.digest);
        scene
            .house
            .manifest("bad", &format!("v{position}"))
            .await
            .assert_error(502, "MANIFEST_INVALID");
    }
    assert_eq!(scene.house.rows().await, 0);
}
