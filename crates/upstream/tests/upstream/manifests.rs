//! SPEC M3, M10, M12.

use std::time::Duration;

use quayside_oci::{Reference, media_type};
use quayside_upstream::UpstreamError;

use crate::server::{MANIFEST, MANIFEST_TYPE, Seen, Server, manifest, respond, sha256, tag};

const DEADLINE: Duration = Duration::from_secs(5);

/// M3: HEAD and GET send the same list, as one header, and ask for no compression.
#[tokio::test]
async fn sends_the_same_full_accept_list_on_head_and_get() {
    let server = Server::start(|_| manifest()).await;
    let upstream = server.anonymous();
    let head = upstream
        .head_manifest("library/nginx", &tag("1.27"), DEADLINE)
        .await
        .unwrap();
    assert_eq!(head.digest, sha256(MANIFEST));
    assert_eq!(head.media_type.as_deref(), Some(MANIFEST_TYPE));
    assert_eq!(head.size, Some(MANIFEST.len() as u64));
    let got = upstream
        .get_manifest("library/nginx", &tag("1.27"))
        .await
        .unwrap();
    assert_eq!(got.body, MANIFEST);
    assert_eq!(got.digest, sha256(MANIFEST));
    assert_eq!(got.content_type.as_deref(), Some(MANIFEST_TYPE));
    let seen = server.seen();
    assert_eq!(
        seen.iter().map(|one| one.method.as_str()).collect::<Vec<_>>(),
        ["HEAD", "GET"]
    );
    for one in &seen {
        assert_eq!(one.path, "/v2/library/nginx/manifests/1.27");
        assert_eq!(one.headers.get_all("accept").iter().count(), 1);
        assert_eq!(one.header("accept"), Some(media_type::ACCEPT));
        assert_eq!(one.header("accept-encoding"), Some("identity"));
        assert_eq!(one.header("user-agent"), Some("quayside-test"));
        assert_eq!(one.authorization(), None);
    }
}

/// M3: such registries are handled by GET.
#[tokio::test]
async fn reports_a_head_that_is_rejected_or_lacks_the_digest() {
    for status in [200, 400, 405, 406, 501] {
        let server = Server::start(move |_| respond(status, &[], "")).await;
        let error = server
            .anonymous()
            .head_manifest("a", &tag("t"), DEADLINE)
            .await
            .unwrap_err();
        assert!(
            matches!(error, UpstreamError::HeadUnsupported { .. }),
            "{status}: {error:?}"
        );
        assert!(!error.is_outage());
    }
    let server = Server::start(|_| respond(200, &[("docker-content-digest", "md5:1")], "")).await;
    let error = server
        .anonymous()
        .head_manifest("a", &tag("t"), DEADLINE)
        .await
        .unwrap_err();
    assert!(
        matches!(error, UpstreamError::HeadUnsupported { .. }),
        "{error:?}"
    );
}

/// M3, M6, M7: what is an answer and what an outage, by HEAD.
#[tokio::test]
async fn tells_answers_from_outages_on_a_head() {
    let cases: [(u16, bool); 6] = [
        (404, false),
        (401, false),
        (403, false),
        (429, true),
        (500, true),
        (503, true),
    ];
    for (status, outage) in cases {
        let server = Server::start(move |_| respond(status, &[], "")).await;
        let error = server
            .anonymous()
            .head_manifest("a", &tag("t"), DEADLINE)
            .await
            .unwrap_err();
        assert_eq!(error.is_outage(), outage, "{status}: {error:?}");
        assert!(
            !matches!(error, UpstreamError::HeadUnsupported { .. }),
            "{status}"
        );
        assert_eq!(server.seen().len(), 1, "one attempt");
    }
}

/// M3: at most so long, wherever the time goes.
#[tokio::test]
async fn gives_up_a_head_at_its_deadline() {
    let server = Server::start_slow(|_| futures::future::pending()).await;
    let short = Duration::from_millis(100);
    let error = server
        .anonymous()
        .head_manifest("a", &tag("t"), short)
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { .. }), "{error:?}");
    assert!(error.is_outage());
}

/// M10, M12
#[tokio::test]
async fn verifies_a_manifest_against_the_requested_digest() {
    let server = Server::start(|_| manifest()).await;
    let upstream = server.anonymous();
    let right = Reference::Digest(sha256(MANIFEST));
    assert_eq!(
        upstream.get_manifest("a", &right).await.unwrap().digest,
        sha256(MANIFEST)
    );
    let wrong = Reference::Digest(sha256(b"something else"));
    let error = upstream.get_manifest("a", &wrong).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Invalid { .. }), "{error:?}");
}

/// M12
#[tokio::test]
async fn verifies_a_manifest_against_the_advertised_digest() {
    let lie = sha256(b"something else").to_string();
    let server = Server::start(move |_| respond(200, &[("docker-content-digest", &lie)], MANIFEST)).await;
    let error = server.anonymous().get_manifest("a", &tag("t")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Invalid { .. }), "{error:?}");
}

/// M3, M12: a registry that omits the header.
#[tokio::test]
async fn hashes_a_manifest_whose_digest_is_not_advertised() {
    for headers in [vec![], vec![("docker-content-digest", "md5:abc")]] {
        let server = Server::start(move |_| respond(200, &headers, MANIFEST)).await;
        let got = server.anonymous().get_manifest("a", &tag("t")).await.unwrap();
        assert_eq!(got.digest, sha256(MANIFEST));
        assert_eq!(got.content_type, None);
    }
}

/// M12: its advertised digest covers only a part of it, so it is told first.
#[tokio::test]
async fn tells_schema_1_before_it_verifies_anything() {
    let body = r#"{"schemaVersion":1,"name":"a","tag":"t","fsLayers":[],"history":[],"signatures":[]}"#;
    let digest = sha256(b"payload only").to_string();
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8";
    let server = Server::start(move |_| {
        respond(
            200,
            &[("docker-content-digest", &digest), ("content-type", kind)],
            body,
        )
    })
    .await;
    let error = server.anonymous().get_manifest("a", &tag("t")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Schema1), "{error:?}");
    assert!(!error.is_outage());
}

/// M12: announced or not, 4 MiB is the limit, and exactly 4 MiB passes.
#[tokio::test]
async fn refuses_a_manifest_over_four_mebibytes() {
    use axum::body::Body;
    use bytes::Bytes;
    let server = Server::start(|seen: &Seen| {
        let piece = Bytes::from(vec![b' '; 1 << 20]);
        let pieces = match seen.path.rsplit('/').next() {
            Some("announced") => return respond(200, &[], vec![b' '; (4 << 20) + 1]),
            Some("fits") => 4,
            _ => 5,
        };
        let stream = futures::stream::iter((0..pieces).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        respond(200, &[], Body::from_stream(stream))
    })
    .await;
    let upstream = server.anonymous();
    for name in ["announced", "streamed"] {
        let error = upstream.get_manifest("a", &tag(name)).await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::TooLarge { limit, .. } if limit == 4 << 20),
            "{error:?}"
        );
    }
    assert_eq!(
        upstream.get_manifest("a", &tag("fits")).await.unwrap().body.len(),
        4 << 20
    );
}

/// L2
#[tokio::test]
async fn passes_a_referrers_listing_on() {
    let server = Server::start(|_| {
        respond(
            200,
            &[("oci-filters-applied", "artifactType")],
            r#"{"schemaVersion":2,"manifests":[]}"#,
        )
    })
    .await;
    let digest = sha256(MANIFEST);
    let listing = server
        .anonymous()
        .get_referrers("a/b", &digest, Some("application/x+json"))
        .await
        .unwrap();
    assert_eq!(listing.filters_applied.as_deref(), Some("artifactType"));
    assert_eq!(listing.pages, [r#"{"schemaVersion":2,"manifests":[]}"#]);
    let seen = server.seen();
    assert_eq!(seen[0].path, format!("/v2/a/b/referrers/{digest}"));
    assert_eq!(seen[0].query, "artifactType=application%2Fx%2Bjson");
    assert_eq!(seen[0].header("accept"), Some(media_type::OCI_INDEX));
}

/// L2: an upstream without that API.
#[tokio::test]
async fn reports_an_upstream_without_referrers_as_not_found() {
    let server = Server::start(|_| respond(404, &[("content-type", "text/plain")], "404")).await;
    let error = server
        .anonymous()
        .get_referrers("a", &sha256(b""), None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            UpstreamError::NotFound {
                name_unknown: false,
                message: None
            }
        ),
        "{error:?}"
    );
}

/// L2: a listing in pages is read to its end, at the place that was asked, whatever host the link names.
#[tokio::test]
async fn reads_every_page_of_a_referrers_listing() {
    let server = Server::start(|request| {
        let link = match request.query.as_str() {
            "artifactType=x" => "<http://169.254.169.254/elsewhere?artifactType=x&last=1>; rel=\"next\"",
            "artifactType=x&last=1" => "<?artifactType=x&last=2>; rel=\"next\"",
            _ => "",
        };
        let headers = [("oci-filters-applied", "artifactType"), ("link", link)];
        respond(
            200,
            &headers[..if link.is_empty() { 1 } else { 2 }],
            request.query.clone(),
        )
    })
    .await;
    let digest = sha256(MANIFEST);
    let upstream = server.anonymous();
    let listing = upstream.get_referrers("a", &digest, Some("x")).await.unwrap();
    assert_eq!(
        listing.pages,
        ["artifactType=x", "artifactType=x&last=1", "artifactType=x&last=2"]
    );
    assert_eq!(listing.filters_applied.as_deref(), Some("artifactType"));
    let paths: Vec<String> = server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, vec![format!("/v2/a/referrers/{digest}"); 3]);
}

/// L2: more than 4 MiB, in one page or in several, are not read; nor are pages without end.
#[tokio::test]
async fn gives_up_a_referrers_listing_without_end() {
    let large = Server::start(|request| {
        let next = format!("<?last={}0>; rel=\"next\"", request.query);
        respond(200, &[("link", &next)], "x".repeat(3 << 20))
    })
    .await;
    let digest = sha256(MANIFEST);
    let error = large.anonymous().get_referrers("a", &digest, None).await;
    assert!(matches!(error, Err(UpstreamError::TooLarge { limit, .. }) if limit < 4 << 20));
    assert_eq!(large.seen().len(), 2);

    let many = Server::start(|request| {
        let next = format!("<?{}0>; rel=\"next\"", request.query);
        respond(200, &[("link", &next)], "{}")
    })
    .await;
    let error = many.anonymous().get_referrers("a", &digest, None).await;
    assert!(matches!(error, Err(UpstreamError::Invalid { .. })), "{error:?}");
    assert_eq!(many.seen().len(), 100);
}
