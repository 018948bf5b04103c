//! SPEC O1, O4, A6: what the registry says while it runs.

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::CANARY;
use quayside_tests::images::Image;
use quayside_tests::program::Program;
use serde_json::{Value, json};

fn acme(upstream: &FakeUpstream) -> Value {
    json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "credentials": { "username": "robot", "password": format!("{CANARY}upstream-9d2e") },
        "robots": [{ "name": "ci", "passwordHashes": [{ "hash": format!("$sha256${}", "0".repeat(64)) }] }],
        "tls": { "plainHttp": true },
    })
}

/// O1, A6: away from a terminal every line is one JSON object with a time, a level and a message; a failure carries
/// the id that its client was given; no secret is in any line, on the most talkative level.
#[tokio::test(flavor = "multi_thread")]
async fn logs_one_json_object_an_event_without_secrets() {
    let upstream = FakeUpstream::start().await;
    upstream.push("app", "1", &Image::random(1, &[1000]));
    upstream.script(On::manifest().of("broken"), Fault::status(500));
    let mut program = Program::start(&[acme(&upstream)]).await;
    program.kill();
    program.talk("trace");
    program.resume().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/v2/acme", program.address());
    let get = |path: &str| {
        client
            .get(format!("{base}/{path}"))
            .basic_auth("alice", Some(format!("{CANARY}wrong")))
    };
    get("app/manifests/1").send().await.unwrap();
    let manifest = client
        .get(format!("{base}/app/manifests/1"))
        .send()
        .await
        .unwrap();
    assert_eq!(manifest.status(), 200);
    let failure = client
        .get(format!("{base}/broken/manifests/1"))
        .send()
        .await
        .unwrap();
    assert_eq!(failure.status(), 502);
    let id = failure.headers()["x-request-id"].to_str().unwrap().to_owned();
    let events = || {
        let log = program.log();
        log.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect::<Vec<_>>()
    };
    eventually("the failure is logged", || async {
        events()
            .iter()
            .any(|event| event["request"] == id && event["level"] == "WARN")
    })
    .await;
    for event in events() {
        for field in ["timestamp", "level", "message"] {
            assert!(event[field].is_string(), "{field}: {event}");
        }
    }
    assert!(!program.log().contains(CANARY), "a secret in the log");
    assert_eq!(upstream.count(&Method::GET, "manifests/1"), 2);
}

/// O1: at a terminal it is text.
#[tokio::test(flavor = "multi_thread")]
async fn logs_text_on_a_terminal() {
    let mut program = Program::start(&[]).await;
    program.kill();
    let terminal = program.on_a_terminal().await;
    let line = terminal.line("listening").await;
    assert!(
        serde_json::from_str::<Value>(&line).is_err() && line.contains("INFO"),
        "{line}"
    );
}
