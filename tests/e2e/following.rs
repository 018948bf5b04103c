//! SPEC B2, B3, B9 and B11 across replicas: one fetches, the others follow it, and do without it when they have to.

mod foreign;
mod port;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use http::Method;
use quayside_test_servers::ports;
use quayside_test_servers::wire::Wire;
use quayside_tests::eventually::{eventually, never, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization, Pair, Which};
use quayside_tests::images::{Blob, Image};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const LENGTH: usize = 2 << 20;
const HALF: usize = 1 << 20;

/// Two replicas whose peer ports are reached through wires, and an upstream with one layer whose manifest both know.
struct Scene {
    upstream: FakeUpstream,
    pair: Pair,
    /// To the peer port of the first.
    wire: Wire,
    /// How many connections the second has made to it.
    followed: watch::Receiver<usize>,
    layer: Blob,
}

/// Forwards connections to `target` and counts them.
async fn counted(target: SocketAddr) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, counts) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.send_modify(|count| *count += 1);
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut onward).await
            });
        }
    });
    (address, counts)
}

async fn scene(length: usize) -> Scene {
    scene_with(length, |acme| acme).await
}

async fn scene_with(length: usize, change: impl Fn(Organization) -> Organization) -> Scene {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[length]);
    upstream.push("app", "1", &image);
    let port = ports::free();
    let wire = Wire::to(port);
    let (advertised, followed) = counted(wire.address()).await;
    let pair = Pair::start(|builder, which| {
        let builder = builder.organization(change(Organization::of(&upstream)));
        match which {
            Which::First => builder
                .config("/peer/listen", json!(port))
                .config("/peer/advertise", json!(advertised)),
            Which::Second => builder,
        }
    })
    .await;
    let answer = pair.first.call(Method::GET, "/v2/acme/app/manifests/1");
    answer.user("alice").send().await.assert_body(image.body());
    Scene {
        upstream,
        pair,
        wire,
        followed,
        layer: image.layers[0].clone(),
    }
}

impl Scene {
    fn path(&self) -> String {
        format!("/v2/acme/app/blobs/{}", self.layer.digest)
    }

    /// What the upstream was asked for of the layer: the values of `Range`.
    fn ranges(&self) -> Vec<String> {
        let requests = self.upstream.requests();
        let asked = requests
            .iter()
            .filter(|request| request.method == Method::GET && request.path.ends_with(&self.layer.digest));
        asked.map(|request| request.header("range").to_owned()).collect()
    }

    /// The first replica has begun to receive the layer, for a client that has left since; upstream waits at half.
    async fn half_filled(&self) -> Gate {
        let gate = Gate::closed();
        let on = On::blob().once();
        self.upstream.script(on, Fault::HoldAfter(HALF, gate.clone()));
        drop(self.pair.first.call(Method::GET, &self.path()).open().await);
        gate.reached().await;
        gate
    }

    /// A client of the second replica that has the first half of the layer.
    async fn follower(&self) -> Follower {
        let response = self.pair.second.call(Method::GET, &self.path()).open().await;
        assert_eq!(response.status(), 200);
        let mut follower = Follower {
            response,
            body: Vec::new(),
        };
        while follower.body.len() < HALF {
            let more = soon("bytes arrive while upstream waits", follower.more()).await;
            assert!(more, "cut after {} bytes", follower.body.len());
        }
        follower
    }
}

struct Follower {
    response: reqwest::Response,
    body: Vec<u8>,
}

impl Follower {
    /// Whether something came.
    async fn more(&mut self) -> bool {
        match self.response.chunk().await {
            Ok(Some(chunk)) => {
                self.body.extend_from_slice(&chunk);
                true
            }
            _ => false,
        }
    }

    async fn finish(mut self) -> Vec<u8> {
        soon("the body ends", async { while self.more().await {} }).await;
        self.body
    }
}

/// B2: however many clients ask two replicas for a blob, upstream is asked once, and all get all of it.
#[tokio::test]
async fn one_transfer_serves_the_clients_of_two_replicas() {
    let scene = scene(LENGTH).await;
    let gate = Gate::closed();
    let on = On::blob().once();
    scene.upstream.script(on, Fault::HoldAfter(HALF, gate.clone()));
    let houses = [&scene.pair.first, &scene.pair.second];
    let pulls = (0..20).map(|index| houses[index % 2].blob("app", &scene.layer.digest));
    let opened = async {
        gate.reached().await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(join_all(pulls), opened);
    for answer in answers {
        answer.assert_body(&scene.layer.bytes);
    }
    assert_eq!(scene.ranges(), [""]);
    scene.pair.first.stored(&scene.layer.digest).await;
    assert_eq!(scene.pair.objects().len(), 1);
    eventually("no fill is left", || async {
        scene.pair.number("SELECT count(*) FROM fill").await == 0
    })
    .await;
}

/// B2: a client of the other replica has the first half while upstream still waits with the second one.
#[tokio::test]
async fn bytes_reach_the_other_replica_while_they_arrive() {
    let scene = scene(LENGTH).await;
    let gate = scene.half_filled().await;
    let follower = scene.follower().await;
    gate.open();
    assert_eq!(follower.finish().await, scene.layer.bytes);
    assert_eq!(scene.ranges(), [""]);
}

/// B2: a blob whose filling replica cannot be reached any more goes on from the byte that is missing.
#[tokio::test]
async fn goes_on_with_a_range_when_the_filling_replica_is_cut_off() {
    let mut scene = scene(LENGTH).await;
    let gate = scene.half_filled().await;
    let follower = scene.follower().await;
    let begun = follower.body.len();
    scene.wire.cut();
    assert_eq!(follower.finish().await, scene.layer.bytes);
    gate.open();
    assert_eq!(scene.ranges(), [String::new(), format!("bytes={begun}-")]);
    scene.pair.first.stored(&scene.layer.digest).await;
    eventually("one of the two is stored and the other one is not", || async {
        scene.pair.number("SELECT count(*) FROM fill").await == 0 && scene.pair.objects().len() <= 2
    })
    .await;
    let answer = scene.pair.first.blob("app", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
}

/// B2: a replica that accepts connections and says nothing is not waited for.
#[tokio::test]
async fn asks_upstream_itself_when_the_filling_replica_is_silent() {
    let scene = scene(LENGTH).await;
    let gate = scene.half_filled().await;
    scene.wire.hold();
    let answer = scene.pair.second.blob("app", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
    assert_eq!(scene.ranges(), ["", ""]);
    gate.open();
}

/// B2: so is one that falls silent in the middle.
#[tokio::test]
async fn goes_on_with_a_range_when_the_filling_replica_falls_silent() {
    let scene = scene(LENGTH).await;
    let gate = scene.half_filled().await;
    let follower = scene.follower().await;
    let begun = follower.body.len();
    scene.wire.hold();
    assert_eq!(follower.finish().await, scene.layer.bytes);
    assert_eq!(scene.ranges(), [String::new(), format!("bytes={begun}-")]);
    gate.open();
}

/// B2, G3: a fill whose lease went to another replica gives its clients their bytes and stores nothing.
#[tokio::test]
async fn a_replica_that_lost_its_lease_does_not_commit() {
    let mut scene = scene(LENGTH).await;
    let gate = scene.half_filled().await;
    let client = scene.pair.first.call(Method::GET, &scene.path()).open().await;
    let follower = scene.follower().await;
    scene.pair.execute("UPDATE fill SET expires_at = 0").await;
    scene.wire.cut();
    assert_eq!(follower.finish().await, scene.layer.bytes);
    scene.pair.first.stored(&scene.layer.digest).await;
    gate.open();
    assert_eq!(client.bytes().await.unwrap(), scene.layer.bytes);
    eventually("the first has given up", || async {
        let left = scene.pair.first.metric("quayside_fills_in_flight").await;
        left == Some(0)
    })
    .await;
    assert_eq!(scene.pair.objects().len(), 1, "nothing was stored a second time");
    let garbage = scene.pair.number("SELECT count(*) FROM garbage").await;
    assert_eq!(garbage, 1, "the key of the first");
}

/// B3: bytes that turn out wrong are cut short on both replicas, asked for once, and not kept.
#[tokio::test]
async fn a_wrong_blob_is_cut_short_on_both_replicas() {
    let scene = scene(LENGTH).await;
    scene.upstream.script(On::blob().once(), Fault::Flip(10));
    let gate = scene.half_filled().await;
    let client = scene.pair.first.call(Method::GET, &scene.path()).open().await;
    let follower = scene.follower().await;
    gate.open();
    let (answer, body) = tokio::join!(client.bytes(), follower.finish());
    assert!(answer.is_err(), "the client of the first was not cut");
    assert!(body.len() < LENGTH, "the tail was released");
    assert_eq!(scene.ranges(), [""], "a mismatch is not resumed");
    eventually("no fill is left", || async {
        scene.pair.number("SELECT count(*) FROM fill").await == 0
    })
    .await;
    assert!(scene.pair.objects().is_empty());
    let answer = scene.pair.second.blob("app", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
}

/// Both replicas' clients ask while upstream waits with its answer.
async fn both_answers(scene: &Scene, fault: Fault) -> [quayside_tests::house::Answer; 2] {
    let gate = Gate::closed();
    scene.upstream.script(On::blob().once(), fault);
    let on = On::blob().once();
    scene.upstream.script(on, Fault::Hold(gate.clone()));
    let first = scene.pair.first.blob("app", &scene.layer.digest);
    let second = async {
        gate.reached().await;
        let answer = scene.pair.second.blob("app", &scene.layer.digest);
        let opened = async {
            let mut followed = scene.followed.clone();
            let before = *followed.borrow();
            // Who is told to wait asks again, and by then it follows for certain.
            let asked_again = followed.wait_for(|count| *count >= before + 2);
            soon("the second follows", asked_again).await.unwrap();
            gate.open();
        };
        tokio::join!(answer, opened).0
    };
    let (first, second) = tokio::join!(first, second);
    [first, second]
}

/// B11, M8: what upstream answers before the first byte reaches the clients of both replicas, and is asked for once.
#[tokio::test]
async fn a_refusal_of_upstream_reaches_the_clients_of_both_replicas() {
    let scene = scene(LENGTH).await;
    for (fault, status, code) in [
        (Fault::error(404, "BLOB_UNKNOWN"), 404, "BLOB_UNKNOWN"),
        (Fault::too_many(Some(17)), 429, "TOOMANYREQUESTS"),
    ] {
        scene.upstream.forget_requests();
        for answer in both_answers(&scene, fault).await {
            answer.assert_error(status, code);
            let wait = if status == 429 { "17" } else { "" };
            assert_eq!(answer.header("retry-after"), wait);
        }
        assert_eq!(scene.ranges(), [""]);
    }
}

/// B3: what is withheld whole is a clean 502 on both replicas.
#[tokio::test]
async fn a_small_wrong_blob_is_refused_on_both_replicas() {
    let scene = scene(5_000).await;
    for answer in both_answers(&scene, Fault::Flip(10)).await {
        answer.assert_error(502, "DIGEST_INVALID");
    }
    assert_eq!(scene.ranges(), [""]);
}

/// A3, B1: a stranger reads what another replica is filling for a member, and never causes a request upstream.
#[tokio::test]
async fn a_stranger_follows_a_fill_of_another_replica() {
    let scene = scene_with(LENGTH, |acme| acme.public().member("alice")).await;
    let second = &scene.pair.second;
    second.get(&scene.path()).await.assert_error(404, "BLOB_UNKNOWN");
    let gate = Gate::closed();
    let on = On::blob().once();
    scene.upstream.script(on, Fault::HoldAfter(HALF, gate.clone()));
    let member = scene.pair.first.call(Method::GET, &scene.path()).user("alice");
    let member = member.open().await;
    gate.reached().await;
    assert_eq!(second.head(&scene.path()).await.status, 200);
    let follower = scene.follower().await;
    gate.open();
    assert_eq!(follower.finish().await, scene.layer.bytes);
    assert_eq!(member.bytes().await.unwrap(), scene.layer.bytes);
    assert_eq!(scene.ranges(), [""]);
}

/// A3, B2: a stranger who finds the filling replica out of reach is told nothing and causes nothing.
#[tokio::test]
async fn a_stranger_does_not_replace_a_replica_that_is_cut_off() {
    let mut scene = scene_with(LENGTH, |acme| acme.public().member("alice")).await;
    let gate = Gate::closed();
    let on = On::blob().once();
    scene.upstream.script(on, Fault::HoldAfter(HALF, gate.clone()));
    let member = scene.pair.first.call(Method::GET, &scene.path()).user("alice");
    let member = member.open().await;
    gate.reached().await;
    scene.wire.cut();
    let answer = scene.pair.second.get(&scene.path()).await;
    answer.assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(scene.ranges(), [""]);
    gate.open();
    assert_eq!(member.bytes().await.unwrap(), scene.layer.bytes);
}

/// B2, B6, O4: a replica that stops drops what it fills in the background, and goes on with what another one follows.
#[tokio::test]
async fn a_replica_that_stops_finishes_what_is_followed() {
    let mut scene = scene_with(LENGTH, Organization::background).await;
    let image = Image::random(2, &[LENGTH]);
    scene.upstream.push("app", "2", &image);
    scene.layer = image.layers[0].clone();
    let gate = Gate::closed();
    let on = On::blob().at(&scene.layer.digest).once();
    scene.upstream.script(on, Fault::HoldAfter(HALF, gate.clone()));
    let answer = scene.pair.first.manifest("app", "2").await;
    answer.assert_body(image.body());
    gate.reached().await;
    let follower = scene.follower().await;
    let stopped = AtomicBool::new(false);
    let aside = House::builder().organizations_file("").start().await;
    let mut first = std::mem::replace(&mut scene.pair.first, aside);
    let stop = async {
        first.stop().await;
        stopped.store(true, Ordering::Relaxed);
    };
    let read = async {
        never("the registry has stopped", async || {
            stopped.load(Ordering::Relaxed)
        })
        .await;
        gate.open();
        follower.finish().await
    };
    let ((), body) = tokio::join!(stop, read);
    assert_eq!(body, scene.layer.bytes);
    assert_eq!(scene.ranges(), [""]);
    scene.pair.second.stored(&scene.layer.digest).await;
}
