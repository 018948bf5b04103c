//! `why` and `prune --plan` as somebody types them.

use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::{Blob, Image};
use quayside_tests::program::Program;
use quayside_tests::tools::Outcome;
use serde_json::{Value, json};

fn json_of(outcome: Outcome) -> Value {
    serde_json::from_str(&outcome.ok()).unwrap()
}

/// The names of all fields at any depth.
fn fields(document: &Value) -> Vec<String> {
    let (names, values): (Vec<_>, Vec<_>) = match document {
        Value::Object(object) => (object.keys().cloned().collect(), object.values().collect()),
        Value::Array(array) => (Vec::new(), array.iter().collect()),
        _ => (Vec::new(), Vec::new()),
    };
    names
        .into_iter()
        .chain(values.into_iter().flat_map(fields))
        .collect()
}

/// Panics unless `docs/tools.md` shows or names every field.
fn assert_documented(document: &Value) {
    let documentation = include_str!("../../../docs/tools.md");
    for field in fields(document) {
        let shown = [format!("\"{field}\":"), format!("`{field}`")];
        let documented = shown.iter().any(|shown| documentation.contains(shown));
        assert!(documented, "{field} is not documented");
    }
}

/// A registry with one image of 100 kB in an organization that may hold 150 kB, and nobody to log in.
async fn program(upstream: &FakeUpstream, image: &Image) -> Program {
    upstream.push("app", "1", image);
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "storageQuotaBytes": 150_000,
        "tls": { "plainHttp": true },
    });
    let quotas = json!({ "FEATURE_QUOTA_MANAGEMENT": true });
    let program = Program::start_with(&[acme], quotas).await;
    let url = format!("http://{}/v2/acme/app/manifests/1", program.address());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    program
}

/// O5: in sentences for people and as a document for programs; with our host before the image; 0 whatever it says, 2
/// for what is no image, 3 without a server.
#[tokio::test(flavor = "multi_thread")]
async fn why_is_told_to_people_and_programs() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[100_000]);
    let mut program = program(&upstream, &image).await;
    let named = format!("{}/acme/app:1", program.address());
    let text = program.run(&["why", &named]).await.ok();
    for words in [
        "acme/app:1\n",
        "organization  acme: served, Internal; 100 kB of 150 kB used",
        &format!("upstream      {}/app (N1)", upstream.authority()),
        "access        an anonymous client may pull from the trusted networks",
        "from everywhere else: 401 (A4)",
        &format!("cached        {}", image.digest()),
        "tag 1: live until ",
        "100 kB alone, 0 B shared with others",
        " is missing",
        "next GET      asks upstream whether it has moved: it is live (M3)",
        "it has not moved: 200 REVALIDATED, lives on (M3)",
        "it has moved: 200 MISS, lives on (M4)",
        "what upstream has does not fit: 403 (Q5)",
        "upstream refuses: 403 (M7)",
        "upstream is away, upstream is too slow",
        "next HEAD     the same, but what has not moved does not live on (M11)",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let said = json_of(program.run(&["why", &named, "--output", "json"]).await);
    assert_eq!(
        (&said["image"], &said["next"]["get"]["rule"]),
        (&json!("acme/app:1"), &json!("M3"))
    );
    assert_documented(&said);
    let said = json_of(
        program
            .run(&["why", "acme/app:2", "--as", "acme+ci", "--output", "json"])
            .await,
    );
    assert_eq!(
        (&said["access"]["user"], &said["access"]["rule"]),
        (&json!("acme+ci"), &json!("A2"))
    );
    program.run(&["why", "nobody/knows"]).await.ok();

    for words in [
        &["why"][..],
        &["why", "app"],
        &["why", "acme/app@sha256:1"],
        &["why", "acme/app", "--as", "/+x"],
    ] {
        let outcome = program.run(words).await;
        assert_eq!(outcome.code, Some(2), "{outcome}");
    }
    assert_eq!(program.stop().await, Some(0));
    assert_eq!(program.run(&["why", "acme/app"]).await.code, Some(3));
    assert_eq!(program.run(&["why", "app"]).await.code, Some(2));
}

/// O5, Q5: bytes as people write them; 0 whatever the plan is, 2 for what cannot be planned, 3 without a server.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_told_to_people_and_programs() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[100_000]);
    let mut program = program(&upstream, &image).await;
    let weight = image.manifest.size() + image.blobs().map(Blob::size).sum::<u64>();
    let text = program.run(&["prune", "--plan", "acme", "100kB"]).await.ok();
    let first = "acme uses 100 kB of 150 kB\n100 kB more: 50 kB are missing; these go, in this order (Q5)\n";
    assert!(text.starts_with(first), "{text}");
    assert!(
        text.contains("  app:1, last used ") && text.ends_with("that frees 100 kB"),
        "{text}"
    );
    let plan = json_of(
        program
            .run(&["prune", "--plan", "acme", "100kB", "--output", "json"])
            .await,
    );
    assert_eq!(
        (&plan["bytes"], &plan["freedBytes"]),
        (&json!(100_000), &json!(weight))
    );
    let refused = program.run(&["prune", "--plan", "acme", "1MiB"]).await.ok();
    assert!(
        refused.contains("larger than the quota") && refused.contains("(Q4)"),
        "{refused}"
    );
    assert_documented(&plan);

    for words in [
        &["prune", "acme", "1"][..],
        &["prune", "--plan", "acme"],
        &["prune", "--plan", "acme", "much"],
        &["prune", "--plan", "other", "1"],
    ] {
        let outcome = program.run(words).await;
        assert_eq!(outcome.code, Some(2), "{outcome}");
    }
    assert_eq!(program.stop().await, Some(0));
    assert_eq!(program.run(&["prune", "--plan", "acme", "1"]).await.code, Some(3));
}
