//! SPEC L2: what refers to a manifest.

use http::Method;
use quayside_tests::fake::{Fault, Kind, On};
use quayside_tests::house::{Answer, Organization};
use quayside_tests::images::{Image, Index, OCI_INDEX};
use serde_json::{Value, json};

use crate::scene::{Scene, scene};

const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/vnd.example.sbom";

/// The scene's image with two artifacts that refer to it, which upstream lists.
struct Signed {
    scene: Scene,
    signature: Image,
    sbom: Image,
}

async fn signed(organize: impl FnOnce(Organization) -> Organization) -> Signed {
    let scene = scene(organize).await;
    let artifact = |kind: &str| {
        Image::builder()
            .subject(&scene.image.manifest)
            .artifact_type(kind)
            .annotation("org.example.kind", kind)
            .build()
    };
    let (signature, sbom) = (artifact(SIGNATURE), artifact(SBOM));
    for image in [&signature, &sbom] {
        scene.upstream.push_untagged("alpine", image);
    }
    scene
        .upstream
        .add_referrers("alpine", scene.image.digest(), &[&signature, &sbom]);
    Signed {
        scene,
        signature,
        sbom,
    }
}

impl Signed {
    fn path(&self) -> String {
        format!("/v2/acme/alpine/referrers/{}", self.scene.image.digest())
    }

    async fn list(&self, query: &str) -> Answer {
        self.scene.house.get(&format!("{}{query}", self.path())).await
    }

    async fn list_as(&self, user: &str) -> Answer {
        self.scene
            .house
            .call(Method::GET, &self.path())
            .user(user)
            .send()
            .await
    }

    /// Pulls the image and both artifacts, by digest.
    async fn pull_all(&self, user: &str) {
        let digests = [&self.scene.image, &self.signature, &self.sbom].map(Image::digest);
        for reference in ["1"].into_iter().chain(digests) {
            let path = format!("/v2/acme/alpine/manifests/{reference}");
            let answer = self.scene.house.call(Method::GET, &path).user(user).send().await;
            assert_eq!(answer.status, 200, "{}", answer.summary());
        }
    }

    fn asked(&self) -> usize {
        self.scene.upstream.count_kind(&Method::GET, Kind::Referrers)
    }
}

fn entries(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.summary());
    assert_eq!(answer.header("content-type"), OCI_INDEX);
    let index = answer.json();
    assert_eq!(
        (&index["schemaVersion"], &index["mediaType"]),
        (&json!(2), &json!(OCI_INDEX))
    );
    index["manifests"].as_array().unwrap().clone()
}

fn digests(answer: &Answer) -> Vec<String> {
    let entries = entries(answer);
    let mut digests: Vec<String> = entries
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect();
    digests.sort();
    digests
}

fn sorted(images: &[&Image]) -> Vec<String> {
    let mut digests: Vec<String> = images.iter().map(|image| image.digest().to_owned()).collect();
    digests.sort();
    digests
}

/// L2: upstream's listing, byte for byte where nothing has to be filtered; listing fetches and stores nothing.
#[tokio::test]
async fn lists_what_upstream_lists() {
    let signed = signed(|acme| acme).await;
    let answer = signed.list("").await;
    assert_eq!(digests(&answer), sorted(&[&signed.signature, &signed.sbom]));
    assert_eq!(answer.header("oci-filters-applied"), "");
    assert_eq!(answer.header("warning"), "");
    assert_eq!(signed.asked(), 1);
    let contacts = signed.scene.contacts();
    assert_eq!(contacts, 1, "{:?}", signed.scene.upstream.requests());
    assert_eq!(signed.scene.house.rows().await, 0);
}

/// L2: the artifact type goes upstream, and what upstream does not filter is filtered here.
#[tokio::test]
async fn filters_by_artifact_type() {
    let signed = signed(|acme| acme).await;
    let entry = |image: &Image, kind: &str| {
        let mut entry = image.manifest.descriptor();
        entry["artifactType"] = json!(kind);
        entry
    };
    let entries = [entry(&signed.signature, SIGNATURE), entry(&signed.sbom, SBOM)];
    let by_type = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string();
    let listing = |headers: Vec<(String, String)>| Fault::Status {
        status: 200,
        headers,
        body: by_type.clone(),
    };
    signed.scene.upstream.script(On::referrers(), listing(Vec::new()));
    let answer = signed.list(&format!("?artifactType={SBOM}")).await;
    assert_eq!(digests(&answer), sorted(&[&signed.sbom]));
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    let asked = signed.scene.upstream.requests();
    assert_eq!(
        asked[0].query,
        format!("artifactType={}", SBOM.replace('/', "%2F"))
    );
    signed.scene.upstream.heal();
    let filtered = vec![("oci-filters-applied".to_owned(), "artifactType".to_owned())];
    signed.scene.upstream.script(On::referrers(), listing(filtered));
    let trusted = signed.list(&format!("?artifactType={SBOM}")).await;
    assert_eq!(
        digests(&trusted),
        sorted(&[&signed.signature, &signed.sbom]),
        "upstream says that it filtered"
    );
}

/// L2: an upstream without that API, in the ways in which they say so: 404, so that clients use the tag scheme.
#[tokio::test]
async fn passes_on_that_upstream_has_no_such_api() {
    let signed = signed(|acme| acme).await;
    signed.pull_all("alice").await;
    let page = Fault::Status {
        status: 200,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: "<html>sign in</html>".to_owned(),
    };
    for fault in [
        Fault::status(404),
        Fault::error(404, "NAME_UNKNOWN"),
        Fault::status(400),
        Fault::status(405),
        Fault::status(501),
        page,
    ] {
        signed.scene.upstream.script(On::referrers(), fault.clone());
        let answer = signed.list("").await;
        assert_eq!(answer.status, 404, "{fault:?}: {}", answer.summary());
        assert!(!answer.code().is_empty());
        signed.scene.upstream.heal();
    }
}

/// L2: while upstream is away, in any way, the stored ones are listed, as descriptors with all that they have.
#[tokio::test]
async fn lists_what_is_stored_while_upstream_is_away() {
    let signed = signed(|acme| acme).await;
    signed.pull_all("alice").await;
    let expected = |image: &Image, kind: &str| {
        json!({
            "mediaType": image.media_type(),
            "digest": image.digest(),
            "size": image.body().len(),
            "artifactType": kind,
            "annotations": { "org.example.kind": kind },
        })
    };
    let mut all = vec![
        expected(&signed.signature, SIGNATURE),
        expected(&signed.sbom, SBOM),
    ];
    all.sort_by_key(|entry| entry["digest"].to_string());
    for fault in [
        Fault::status(500),
        Fault::status(503),
        Fault::too_many(Some(5)),
        Fault::Hangup,
        Fault::Cut(10),
    ] {
        signed.scene.upstream.script(On::referrers(), fault.clone());
        let answer = signed.list("").await;
        assert_eq!(entries(&answer), all, "{fault:?}");
        assert!(answer.header("warning").starts_with("299 - \""), "{fault:?}");
        signed.scene.upstream.heal();
    }
    signed.scene.upstream.stopped().await;
    assert_eq!(entries(&signed.list("").await), all);
    let one = signed.list(&format!("?artifactType={SBOM}")).await;
    assert_eq!(
        (digests(&one), one.header("oci-filters-applied")),
        (sorted(&[&signed.sbom]), "artifactType")
    );
    let none = signed.list("?artifactType=application/x").await;
    assert_eq!(digests(&none), Vec::<String>::new());
    signed.scene.upstream.resume();
    assert_eq!(
        signed.list("").await.header("warning"),
        "",
        "upstream is asked again at once"
    );
}

/// L2: a manifest that nothing refers to, or that is nowhere, has an empty list while upstream is away.
#[tokio::test]
async fn what_nothing_refers_to_has_an_empty_list() {
    let signed = signed(|acme| acme).await;
    signed.scene.upstream.stopped().await;
    for path in [
        signed.path(),
        format!("/v2/acme/never/referrers/sha256:{}", "0".repeat(64)),
    ] {
        let answer = signed.scene.house.get(&path).await;
        assert_eq!(digests(&answer), Vec::<String>::new());
    }
}

/// L2, M7: upstream's refusal and what cannot be used are told like those of a manifest.
#[tokio::test]
async fn upstreams_refusal_is_passed_on() {
    let signed = signed(|acme| acme).await;
    signed.pull_all("alice").await;
    signed.scene.upstream.script(On::referrers(), Fault::status(403));
    signed.list("").await.assert_error(403, "DENIED");
    signed.scene.upstream.heal();
    let large = format!(
        "{{\"schemaVersion\":2,\"manifests\":[\"{}\"]}}",
        "x".repeat(5 << 20)
    );
    let fault = Fault::Status {
        status: 200,
        headers: Vec::new(),
        body: large,
    };
    signed.scene.upstream.script(On::referrers(), fault);
    signed.list("").await.assert_error(502, "MANIFEST_INVALID");
}

/// L2, B1, A3: who is not a member of a public organization sees what live tags hold, and causes no request.
#[tokio::test]
async fn strangers_see_stored_referrers_that_live_tags_hold() {
    let signed = signed(|acme| acme.public().member("alice").ttl(100)).await;
    signed.pull_all("alice").await;
    let before = signed.scene.contacts();
    for answer in [signed.list("").await, signed.list_as("bob").await] {
        assert_eq!(digests(&answer), Vec::<String>::new(), "pins do not count");
    }
    // The tag scheme: an index under the tag sha256-<hex> names the signature.
    let index = Index::builder().image(signed.signature.clone(), "amd64").build();
    let tag = signed.scene.image.digest().replace(':', "-");
    signed.scene.upstream.push_index("alpine", &tag, &index);
    let path = format!("/v2/acme/alpine/manifests/{tag}");
    let pulled = signed
        .scene
        .house
        .call(Method::GET, &path)
        .user("alice")
        .send()
        .await;
    pulled.assert_body(index.body());
    let asked = signed.asked();
    for answer in [signed.list("").await, signed.list_as("bob").await] {
        assert_eq!(digests(&answer), sorted(&[&signed.signature]));
    }
    assert_eq!((signed.asked(), asked), (0, 0));
    assert!(signed.scene.contacts() > before, "the pull of the index");
    assert_eq!(
        digests(&signed.list_as("alice").await).len(),
        2,
        "a member is answered by upstream"
    );
    assert_eq!(signed.asked(), 1);
    signed.scene.house.advance_seconds(100);
    assert_eq!(
        digests(&signed.list("").await),
        Vec::<String>::new(),
        "the tag is dead"
    );
}

/// L2, C2: without the proxy feature only what is stored, and nobody is asked.
#[tokio::test]
async fn without_the_proxy_feature_upstream_is_not_asked() {
    let mut signed = signed(|acme| acme).await;
    signed.pull_all("alice").await;
    signed
        .scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", json!(false))
        .await;
    let before = signed.scene.upstream.requests().len();
    let answer = signed.list("").await;
    assert_eq!(digests(&answer), sorted(&[&signed.signature, &signed.sbom]));
    assert_eq!(answer.header("warning"), "");
    assert_eq!(signed.scene.upstream.requests().len(), before);
}

/// L2: a long listing from the store comes in pages that a link leads through, each referrer once.
#[tokio::test]
async fn a_long_stored_listing_comes_in_pages() {
    let signed = signed(|acme| acme).await;
    let mut all = Vec::new();
    // Five descriptors of one megabyte: more than one answer takes.
    for number in 0..5 {
        let image = Image::builder()
            .subject(&signed.scene.image.manifest)
            .artifact_type(SBOM)
            .annotation("text", &format!("{number}").repeat(1 << 20))
            .build();
        signed.scene.upstream.push_untagged("alpine", &image);
        let pulled = signed.scene.house.manifest("alpine", image.digest()).await;
        assert_eq!(pulled.status, 200, "{}", pulled.summary());
        all.push(image);
    }
    signed.scene.upstream.stopped().await;
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut path = format!("{}?artifactType={SBOM}", signed.path());
    loop {
        let answer = signed.scene.house.get(&path).await;
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        found.extend(digests(&answer));
        pages += 1;
        let link = answer.header("link").to_owned();
        let Some(rest) = link.strip_prefix('<') else { break };
        path = rest.split('>').next().unwrap().to_owned();
        assert!(path.starts_with(&signed.path()), "{link}");
    }
    assert_eq!(found, sorted(&all.iter().collect::<Vec<_>>()));
    assert_eq!(pages, 2);
}

/// L2: many who ask at one time cause one request.
#[tokio::test]
async fn concurrent_listings_share_one_request() {
    let signed = signed(|acme| acme).await;
    let gate = quayside_tests::fake::Gate::closed();
    signed
        .scene
        .upstream
        .script(On::referrers(), Fault::Hold(gate.clone()));
    let answers = futures::future::join_all((0..10).map(|_| signed.list("")));
    let opened = async {
        gate.reached().await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(answers, opened);
    for answer in &answers {
        assert_eq!(digests(answer).len(), 2);
    }
    // One that came after the first was answered may have asked again.
    assert!(signed.asked() < 10, "{}", signed.asked());
}

/// N3: the digest of a subject follows the grammar.
#[tokio::test]
async fn refuses_a_malformed_subject() {
    let signed = signed(|acme| acme).await;
    for digest in ["nonsense", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = signed
            .scene
            .house
            .get(&format!("/v2/acme/alpine/referrers/{digest}"))
            .await;
        answer.assert_error(400, "DIGEST_INVALID");
    }
    assert_eq!(signed.scene.contacts(), 0);
}
