//! SPEC O5: the tools beside a running server.

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::Organization;
use quayside_tests::images::Image;
use quayside_tests::program::Program;
use quayside_tests::tools::Outcome;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use crate::scene::scene;

fn json_of(outcome: Outcome) -> Value {
    serde_json::from_str(&outcome.ok()).unwrap()
}

/// Changes one key of config.yaml.
fn set(program: &Program, key: &str, value: Value) {
    let text = std::fs::read_to_string(program.config()).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    document[key] = value;
    std::fs::write(program.config(), document.to_string()).unwrap();
}

/// `acme`, whose tags die after a second and leave at once. Garbage is collected on request only.
async fn short_lived(upstream: &FakeUpstream) -> Program {
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "expirationSeconds": 1,
        "timeMachineSeconds": 0,
        "tls": { "plainHttp": true },
    });
    let mut program = Program::start(&[acme]).await;
    set(
        &program,
        "gc",
        json!({ "intervalSeconds": 86400, "graceSeconds": 300 }),
    );
    assert_eq!(program.stop().await, Some(0));
    program.resume().await;
    let url = format!("http://{}/v2/acme/app/manifests/1", program.address());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    program
}

/// O5: `gc --dry-run` says what is due and does nothing; `gc --once` does it.
#[tokio::test(flavor = "multi_thread")]
async fn gc_says_what_is_due_and_does_it() {
    let upstream = FakeUpstream::start().await;
    upstream.push("app", "1", &Image::random(1, &[1000]));
    let program = short_lived(&upstream).await;
    let due = async || json_of(program.run(&["gc", "--dry-run", "--output", "json"]).await);
    eventually("the tag is due", || async {
        due().await["report"]["sweptTags"] == 1
    })
    .await;
    let again = due().await;
    assert_eq!(
        (&again["dryRun"], &again["report"]["sweptTags"]),
        (&json!(true), &json!(1))
    );
    let text = program.run(&["gc", "--dry-run"]).await.ok();
    assert!(
        text.starts_with("due now:\n") && text.contains("1 tags past"),
        "{text}"
    );
    let done = json_of(program.run(&["gc", "--once", "--output", "json"]).await);
    assert_eq!(done["dryRun"], json!(false));
    assert_eq!(
        (&done["report"]["sweptTags"], &done["report"]["releasedManifests"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(due().await["report"]["sweptTags"], 0);
    assert_eq!(program.run(&["gc", "--once"]).await.ok(), "nothing to do");
}

/// O5, Q2: `recount` finds what is counted wrong and ends with 1; `recount --repair` puts it right.
#[tokio::test(flavor = "multi_thread")]
async fn recount_finds_and_repairs() {
    let upstream = FakeUpstream::start().await;
    upstream.push("app", "1", &Image::random(1, &[1000]));
    let program = short_lived(&upstream).await;
    assert_eq!(
        program.run(&["recount"]).await.ok(),
        "everything is counted right"
    );
    let options = SqliteConnectOptions::new().filename(program.database());
    let mut intruder = SqliteConnection::connect_with(&options).await.unwrap();
    for tampering in [
        "UPDATE organization SET usage_bytes = usage_bytes + 7",
        "UPDATE content SET refs = refs + 1",
        "UPDATE manifest SET released_at = 1",
    ] {
        intruder.execute(tampering).await.unwrap();
        let found = program.run(&["recount"]).await;
        assert_eq!(found.code, Some(1), "{tampering}: {found}");
        assert!(found.stdout.contains("none repaired"), "{found}");
        let listed = program.run(&["recount", "--output", "json"]).await;
        assert_eq!(listed.code, Some(1), "{tampering}: {listed}");
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!(listed["found"], listed["remaining"]);
        let repaired = json_of(program.run(&["recount", "--repair", "--output", "json"]).await);
        assert_eq!(
            (&repaired["found"], &repaired["remaining"]),
            (&listed["found"], &json!([]))
        );
        program.run(&["recount"]).await.ok();
    }
}

/// O5: 2 for usage and configuration, 3 for a server that is not there; each with a sentence.
#[tokio::test(flavor = "multi_thread")]
async fn tools_end_with_the_status_of_their_failure() {
    let mut program = Program::start(&[]).await;
    for (words, code) in [
        (&["gc"][..], 2),
        (&["gc", "--once", "--dry-run"], 2),
        (&["recount", "--output", "xml"], 2),
        (&["recount"], 0),
    ] {
        let outcome = program.run(words).await;
        assert_eq!(outcome.code, Some(code), "{outcome}");
    }
    let token = program.database().with_file_name("admin.token");
    let kept = std::fs::read(&token).unwrap();
    std::fs::write(&token, "canary-of-another-server").unwrap();
    let refused = program.run(&["recount"]).await;
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(
        refused.stderr.contains("token") && !refused.stderr.contains("canary"),
        "{refused}"
    );
    std::fs::write(&token, kept).unwrap();
    assert_eq!(program.stop().await, Some(0));
    for words in [
        &["gc", "--once"][..],
        &["gc", "--dry-run"],
        &["recount", "--repair"],
    ] {
        let outcome = program.run(words).await;
        assert_eq!(outcome.code, Some(3), "{outcome}");
        assert!(outcome.stderr.contains("127.0.0.1:"), "{outcome}");
    }
    set(&program, "adminListen", json!("127.0.0.1:0"));
    let anywhere = program.run(&["recount"]).await;
    assert_eq!(anywhere.code, Some(2), "{anywhere}");
    assert!(anywhere.stderr.contains("adminListen"), "{anywhere}");
}

/// O5: the shapes that `docs/tools.md` promises.
#[tokio::test]
async fn commands_answer_in_their_documented_shape() {
    let scene = scene(|acme: Organization| acme).await;
    let house = &scene.house;
    house.manifest("alpine", "1").await;
    let token = house.admin_token();
    let ask = async |method, path| house.admin_call(method, path).bearer(&token).send().await;
    let forecast = ask(Method::GET, "/gc").await;
    assert_eq!(forecast.status, 200);
    let fields: Vec<_> = forecast.json()["report"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    for field in fields {
        let documented = include_str!("../../../docs/tools.md");
        assert!(
            documented.contains(&format!("`{field}`")),
            "{field} is not documented"
        );
    }
    assert_eq!(ask(Method::POST, "/gc").await.json()["dryRun"], json!(false));
    assert_eq!(
        ask(Method::GET, "/recount").await.json(),
        json!({ "found": [], "remaining": [] })
    );
    assert_eq!(ask(Method::DELETE, "/gc").await.status, 405);
    assert_eq!(ask(Method::GET, "/gc/once").await.status, 404);
    let options = SqliteConnectOptions::new().filename(house.database_path());
    let mut intruder = SqliteConnection::connect_with(&options).await.unwrap();
    intruder
        .execute("UPDATE organization SET usage_bytes = usage_bytes + 7")
        .await
        .unwrap();
    let actual = house.number("SELECT sum(size) FROM content").await;
    let found = json!([{
        "kind": "usage", "organization": "acme", "recordedBytes": actual + 7, "actualBytes": actual,
    }]);
    assert_eq!(ask(Method::GET, "/recount").await.json()["found"], found);
    assert_eq!(
        ask(Method::POST, "/recount").await.json(),
        json!({ "found": found, "remaining": [] })
    );
}
