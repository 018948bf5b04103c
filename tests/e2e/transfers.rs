//! SPEC §3, B3 and B10: transfers that break, lie or stall. No client ever gets a complete wrong body.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::{Blob, Image, random_bytes};

use crate::blobs::pulled;

const LENGTH: usize = 1 << 20;
const STEP: Duration = Duration::from_millis(50);

async fn pull(house: &House, layer: &Blob) -> Answer {
    house
        .while_time_passes(STEP, house.blob("alpine", &layer.digest))
        .await
}

async fn nothing_is_kept(house: &House) {
    eventually("nothing is kept", || async { house.files().is_empty() }).await;
}

fn blob_ranges(upstream: &FakeUpstream) -> Vec<String> {
    let requests = upstream.requests();
    let blobs = requests
        .iter()
        .filter(|request| request.kind == Kind::Blob && request.method == Method::GET);
    blobs.map(|request| request.header("range").to_owned()).collect()
}

/// B3: a broken transfer goes on from the last byte received; the client notices nothing.
#[tokio::test]
async fn resumes_from_the_byte_where_it_broke() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob().once(), Fault::Cut(400_000));
    upstream.script(On::blob().after(1).once(), Fault::Cut(300_000));
    pull(&house, &layer).await.assert_body(&layer.bytes);
    assert_eq!(blob_ranges(&upstream), ["", "bytes=400000-", "bytes=700000-"]);
}

/// B3: a connection that breaks after the last byte breaks nothing: the digest says that all is there.
#[tokio::test]
async fn a_break_after_the_last_byte_is_no_break() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob(), Fault::Chunked);
    upstream.script(On::blob().once(), Fault::Cut(LENGTH));
    pull(&house, &layer).await.assert_body(&layer.bytes);
    assert_eq!(blob_ranges(&upstream), [""]);
}

/// B3: an upstream that ignores `Range` is read from the start and the known prefix is dropped.
#[tokio::test]
async fn resumes_where_range_is_ignored() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob(), Fault::IgnoreRange);
    upstream.script(On::blob().once(), Fault::Cut(400_000));
    pull(&house, &layer).await.assert_body(&layer.bytes);
    assert_eq!(blob_ranges(&upstream).len(), 2);
}

/// B3: progress resets the count of attempts: ten cuts that each bring some bytes are survived.
#[tokio::test]
async fn survives_any_number_of_cuts_that_bring_bytes() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob().times(10), Fault::Cut(100_000));
    pull(&house, &layer).await.assert_body(&layer.bytes);
    assert_eq!(blob_ranges(&upstream).len(), 11);
}

/// B3: after five attempts without a byte the body is cut short, never completed wrongly, and nothing is kept.
#[tokio::test]
async fn gives_up_after_five_attempts_without_progress() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob().once(), Fault::Cut(400_000));
    upstream.script(On::blob().after(1), Fault::status(500));
    let answer = pull(&house, &layer).await;
    assert!(
        !answer.complete && layer.bytes.starts_with(&answer.body),
        "{}",
        answer.summary()
    );
    assert_eq!(blob_ranges(&upstream).len(), 6);
    nothing_is_kept(&house).await;
    upstream.heal();
    pull(&house, &layer).await.assert_body(&layer.bytes);
}

/// B3: a bit that flipped anywhere cuts the body, keeps nothing, and the next pull is right.
#[tokio::test]
async fn never_completes_a_body_with_a_wrong_bit() {
    for position in [
        0,
        LENGTH / 2,
        LENGTH - (64 << 10) - 1,
        LENGTH - (64 << 10),
        LENGTH - 1,
    ] {
        let (upstream, house, layer) = pulled(LENGTH).await;
        upstream.script(On::blob().once(), Fault::Flip(position));
        let answer = house.blob("alpine", &layer.digest).await;
        assert!(!answer.complete, "bit {position}: {}", answer.summary());
        assert!(
            answer.body.len() <= LENGTH - (64 << 10),
            "bit {position}: the tail was released unverified"
        );
        assert_eq!(blob_ranges(&upstream).len(), 1, "a mismatch is not resumed");
        nothing_is_kept(&house).await;
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
    }
}

/// B3: every reader of a fill that turns out wrong is cut, those that came late and those of ranges too.
#[tokio::test]
async fn cuts_every_reader_of_a_wrong_body() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    let gate = Gate::closed();
    upstream.script(On::blob().once(), Fault::Flip(10));
    upstream.script(On::blob().once(), Fault::HoldAfter(500_000, gate.clone()));
    let whole = futures::future::join_all((0..5).map(|_| house.blob("alpine", &layer.digest)));
    let tail = async {
        gate.reached().await;
        let range = house.blob_range("alpine", &layer.digest, "bytes=900000-");
        let opener = async {
            gate.open();
        };
        tokio::join!(range, opener).0
    };
    let (answers, tail) = tokio::join!(whole, tail);
    for answer in answers {
        assert!(
            !answer.complete || answer.body == layer.bytes,
            "{}",
            answer.summary()
        );
    }
    assert!(
        !tail.complete || tail.body == layer.bytes[900_000..],
        "{}",
        tail.summary()
    );
}

/// B3: what fits in the withheld part is a clean 502, and the next request starts afresh.
#[tokio::test]
async fn a_small_wrong_blob_is_a_clean_502() {
    for length in [1, 1000, 64 << 10] {
        let (upstream, house, layer) = pulled(length).await;
        upstream.script(On::blob().once(), Fault::Flip(length - 1));
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_error(502, "DIGEST_INVALID");
        nothing_is_kept(&house).await;
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
    }
}

/// B10: bytes that end before the declared size or go on after it fail like a wrong digest.
#[tokio::test]
async fn refuses_bytes_of_another_length_than_declared() {
    for fault in [Fault::Truncated(900), Fault::Padded(5)] {
        let (upstream, house, layer) = pulled(1000).await;
        upstream.script(On::blob(), fault.clone());
        let answer = pull(&house, &layer).await;
        assert_eq!(answer.status, 502, "{fault:?}: {}", answer.summary());
        nothing_is_kept(&house).await;
        upstream.heal();
        pull(&house, &layer).await.assert_body(&layer.bytes);
    }
    for fault in [Fault::Truncated(LENGTH - 100), Fault::Padded(100_000)] {
        let (upstream, house, layer) = pulled(LENGTH).await;
        upstream.script(On::blob(), fault.clone());
        let answer = pull(&house, &layer).await;
        assert!(
            !answer.complete || answer.status == 502,
            "{fault:?}: {}",
            answer.summary()
        );
        nothing_is_kept(&house).await;
        upstream.heal();
        pull(&house, &layer).await.assert_body(&layer.bytes);
    }
}

/// B10: without a length in front, the same holds.
#[tokio::test]
async fn takes_a_blob_without_a_length() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob(), Fault::Chunked);
    upstream.script(On::blob().once(), Fault::Padded(1));
    let answer = house.blob("alpine", &layer.digest).await;
    assert!(!answer.complete, "{}", answer.summary());
    pull(&house, &layer).await.assert_body(&layer.bytes);
}

/// B10: the real size counts once bytes are verified; a manifest that declares it wrongly cannot have it.
#[tokio::test]
async fn a_wrongly_declared_size_harms_only_its_own_manifest() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::random(7, 1000);
    let honest = Image::builder().layer(layer.clone()).build();
    let wrong = Image::builder().layer_declared(layer.clone(), 2000).build();
    upstream.push("wrong", "1", &wrong);
    upstream.push("honest", "1", &honest);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("wrong", "1").await.assert_body(wrong.body());
    house.manifest("honest", "1").await.assert_body(honest.body());
    let answer = house
        .while_time_passes(STEP, house.blob("wrong", &layer.digest))
        .await;
    assert_eq!(answer.status, 502, "{}", answer.summary());
    house
        .blob("honest", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    // Now the bytes are verified, and the digest is the authority.
    house.blob("wrong", &layer.digest).await.assert_body(&layer.bytes);
    assert_eq!(
        house
            .number("SELECT size FROM content WHERE digest IN (SELECT digest FROM blob WHERE size = 1000)")
            .await,
        1000
    );
}

/// B3: content that changes between attempts never ends in a complete wrong body.
#[tokio::test]
async fn content_that_changes_between_attempts_is_caught() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    upstream.script(On::blob().once(), Fault::Cut(500_000));
    upstream.script(
        On::blob().after(1).once(),
        Fault::Replace(random_bytes(99, LENGTH)),
    );
    let answer = pull(&house, &layer).await;
    assert!(
        !answer.complete && answer.body.len() <= LENGTH - (64 << 10),
        "{}",
        answer.summary()
    );
    nothing_is_kept(&house).await;
    pull(&house, &layer).await.assert_body(&layer.bytes);
}

/// B3, B11: any fault at any step, alone or twice in a row: complete bodies are right, and once it is over all is well.
#[tokio::test]
async fn no_fault_ever_yields_a_complete_wrong_body() {
    let faults = [
        Fault::status(500),
        Fault::error(404, "BLOB_UNKNOWN"),
        Fault::too_many(Some(1)),
        Fault::Hangup,
        Fault::Garbage("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong".into()),
        Fault::Replace("short".into()),
        Fault::Cut(0),
        Fault::Cut(1),
        Fault::Cut(LENGTH - 1),
        Fault::Flip(LENGTH - 1),
        Fault::Padded(1),
        Fault::Chunked,
        Fault::DigestHeader(format!("sha256:{}", "b".repeat(64))),
    ];
    for first in &faults {
        let (upstream, house, layer) = pulled(LENGTH).await;
        for second in &faults {
            upstream.script(On::blob().once(), first.clone());
            upstream.script(On::blob().after(1).once(), second.clone());
            let answer = pull(&house, &layer).await;
            let right = answer.status == 200 && answer.body == layer.bytes;
            assert!(
                !answer.complete || right || answer.status >= 400,
                "{first:?} then {second:?}: {}",
                answer.summary()
            );
            upstream.heal();
            pull(&house, &layer).await.assert_body(&layer.bytes);
            if right {
                break;
            }
        }
    }
}

/// B3: a body that stops without ending is resumed after the read timeout.
#[tokio::test]
async fn resumes_a_transfer_that_stalls() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[LENGTH]);
    upstream.push("alpine", "1", &image);
    let layer = &image.layers[0];
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/upstream/readTimeoutSeconds", 1.into())
        .start()
        .await;
    house.manifest("alpine", "1").await;
    upstream.script(On::blob().once(), Fault::HoldAfter(300_000, Gate::closed()));
    pull(&house, layer).await.assert_body(&layer.bytes);
    assert_eq!(blob_ranges(&upstream), ["", "bytes=300000-"]);
}

/// B3: the last 64 KiB stay with us until the whole is verified.
#[tokio::test]
async fn withholds_the_tail_until_the_whole_is_verified() {
    let (upstream, house, layer) = pulled(LENGTH).await;
    let gate = Gate::closed();
    // Everything but the last byte has arrived.
    upstream.script(On::blob(), Fault::HoldAfter(LENGTH - 1, gate.clone()));
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let mut response = house.call(Method::GET, &path).open().await;
    gate.reached().await;
    let mut received = Vec::new();
    while received.len() < LENGTH - (64 << 10) {
        received.extend_from_slice(&response.chunk().await.unwrap().unwrap());
    }
    assert_eq!(
        received.len(),
        LENGTH - (64 << 10),
        "a byte of the tail came before verification"
    );
    gate.open();
    while let Some(chunk) = response.chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(received == layer.bytes);
}

/// B2: a fill that nobody reads is not slowed by a client that stopped reading.
#[tokio::test]
async fn a_client_that_stops_reading_does_not_slow_the_others() {
    let (_upstream, house, layer) = pulled(16 << 20).await;
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let stalled = house.call(Method::GET, &path).open().await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    drop(stalled);
}
