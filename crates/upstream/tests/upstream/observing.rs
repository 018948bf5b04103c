//! SPEC O1: what happens on the wire is told while it happens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quayside_upstream::{Client, Event, Observer, Settings};

use crate::server::{LOOPBACK, Server, environment, loopback_allowed, plain, respond, settings, sha256, tag};

type Heard = Arc<Mutex<Vec<String>>>;

fn listening() -> (Client, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let observer = Observer::new(move |event| {
        let line = match event {
            Event::Answered {
                status, remaining, ..
            } => format!("{status} {remaining:?}"),
            Event::Failed { failure, .. } => format!("{failure:?}"),
            Event::Received { bytes, .. } => format!("{bytes} bytes"),
        };
        told.lock().unwrap().push(line);
    });
    let settings = Settings {
        observer,
        ..settings(loopback_allowed())
    };
    (Client::with_environment(settings, environment()), heard)
}

/// O1
#[tokio::test]
async fn tells_of_answers_and_bytes_of_every_host_on_the_way() {
    let target = Server::start(|_| respond(200, &[("content-length", "6")], "onetwo")).await;
    let location = target.url("cdn.test", "/blob");
    let server = Server::start(move |_| {
        let headers = [("location", location.as_str()), ("ratelimit-remaining", "9;w=60")];
        respond(307, &headers, "")
    })
    .await;
    let (client, heard) = listening();
    let upstream = client.upstream(plain("registry.test", server.port)).unwrap();
    let mut blob = upstream.get_blob("a", &sha256(b"onetwo"), 0).await.unwrap();
    while blob.body.next().await.is_some() {}
    assert_eq!(*heard.lock().unwrap(), ["307 Some(9)", "200 None", "6 bytes"]);
}

/// O1
#[tokio::test]
async fn tells_of_requests_without_an_answer() {
    let free = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (client, heard) = listening();
    let upstream = client.upstream(plain("registry.test", port)).unwrap();
    let answer = upstream
        .head_manifest("a", &tag("1"), Duration::from_secs(5))
        .await;
    answer.unwrap_err();
    assert_eq!(*heard.lock().unwrap(), ["Unreachable"]);
}
