//! SPEC §3, B3 and B10: an upstream that breaks off at every boundary, flips any bit, or changes its mind between two
//! attempts. What a client gets whole is right, what is stored is right, and the next attempt is clean.

use futures::StreamExt as _;
use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::{Blob, Image, random_bytes};
use quayside_tests::torture::{Chance, is_long};

use crate::scrub::scrub;

/// What is held back of every blob until the whole was verified.
const WITHHELD: usize = 64 << 10;
/// How many blobs are on their way at once.
const AT_ONCE: usize = 16;

/// An upstream, and a registry before it.
struct Scene {
    upstream: FakeUpstream,
    house: House,
}

impl Scene {
    async fn new() -> Self {
        let upstream = FakeUpstream::start().await;
        let house = House::with(Organization::of(&upstream)).await;
        Self { upstream, house }
    }

    /// A blob of its own for each number, upstream and named by a manifest that was pulled.
    async fn blob(&self, number: usize, length: usize) -> Blob {
        let image = Image::random(number as u64 + 1, &[length]);
        let tag = number.to_string();
        self.upstream.push("alpine", &tag, &image);
        self.house
            .manifest("alpine", &tag)
            .await
            .assert_body(image.body());
        image.layers[0].clone()
    }

    /// Nothing: the connection was cut before the head of the answer was on its way.
    async fn pull(&self, blob: &Blob) -> Option<Answer> {
        let path = format!("/v2/acme/alpine/blobs/{}", blob.digest);
        self.house.call(Method::GET, &path).try_send().await
    }

    /// What the first request for a blob meets, the second one, and so on.
    fn script(&self, blob: &Blob, faults: impl IntoIterator<Item = Vec<Fault>>) {
        for (attempt, faults) in faults.into_iter().enumerate() {
            for fault in faults {
                let on = On::blob().get().at(&blob.digest).after(attempt).once();
                self.upstream.script(on, fault);
            }
        }
    }

    /// The ranges in which upstream was asked for a blob.
    fn ranges(&self, blob: &Blob) -> Vec<String> {
        let requests = self.upstream.requests();
        let gets = requests
            .iter()
            .filter(|request| request.method == Method::GET && request.reference == blob.digest);
        gets.map(|request| request.header("range").to_owned()).collect()
    }

    /// A clean attempt, after which this blob need not be upstream any more.
    async fn pull_cleanly(&self, blob: &Blob) {
        self.house
            .blob("alpine", &blob.digest)
            .await
            .assert_body(&blob.bytes);
        self.house.stored(&blob.digest).await;
        self.upstream.remove_blob("alpine", &blob.digest);
    }

    /// Panics unless all that is left are these many blobs, with the right bytes.
    async fn assert_stored(&self, count: usize) {
        eventually("no fill runs", || async {
            self.house.number("SELECT count(*) FROM fill").await == 0 && self.house.files().len() == count
        })
        .await;
        let scrubbed = scrub(&self.house, Method::GET, "/scrub/verify").await;
        scrubbed.assert_clean();
        assert_eq!(scrubbed.report["blobs"], count);
    }
}

/// Panics unless it is plain to the client that it has not got the blob.
#[track_caller]
fn assert_refused(answer: Option<&Answer>, blob: &Blob, what: &str) {
    let length = blob.bytes.len();
    match answer {
        Some(answer) if length <= WITHHELD => {
            let said = (answer.status, answer.code());
            assert_eq!(said, (502, "DIGEST_INVALID".to_owned()), "{what}");
        }
        Some(answer) => {
            assert!(!answer.complete, "{what}: {}", answer.summary());
            assert!(
                answer.body.len() <= length - WITHHELD,
                "{what}: the tail was let go"
            );
        }
        None => assert!(length > WITHHELD, "{what}: no word of it"),
    }
}

/// Does `work` for every item, some at a time.
async fn for_all<T, F: Future<Output = ()>>(items: Vec<T>, work: impl Fn(usize, T) -> F) {
    let numbered = futures::stream::iter(items.into_iter().enumerate());
    numbered
        .for_each_concurrent(AT_ONCE, |(number, item)| work(number, item))
        .await;
}

/// Every multiple of `step` up to `length`, and one byte around it.
fn boundaries(step: usize, length: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = (0..=length / step)
        .flat_map(|number| {
            [
                (number * step).saturating_sub(1),
                number * step,
                number * step + 1,
            ]
        })
        .filter(|cut| *cut <= length)
        .collect();
    cuts.dedup();
    cuts
}

/// B3: a body that is cut at any boundary of 64 KiB, or a byte beside it, goes on from exactly there, with a length
/// or without one, and no client notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_cut_at_any_boundary_goes_on_from_there() {
    const LENGTH: usize = 1 << 20;
    let cuts = boundaries(if is_long() { 4 << 10 } else { 64 << 10 }, LENGTH);
    let count = cuts.len();
    let scene = &Scene::new().await;
    for_all(cuts, |number, cut| async move {
        let blob = scene.blob(number, LENGTH).await;
        let mut first = vec![Fault::Cut(cut)];
        if number % 2 == 1 {
            first.push(Fault::Chunked);
        }
        scene.script(&blob, [first]);
        scene.pull_cleanly(&blob).await;
        let expected = match cut {
            0 => vec![String::new(); 2],
            LENGTH => vec![String::new()],
            _ => vec![String::new(), format!("bytes={cut}-")],
        };
        assert_eq!(scene.ranges(&blob), expected, "cut at {cut}");
    })
    .await;
    scene.assert_stored(count).await;
}

/// Lengths on both sides of everything that is special about one; none so short that two blobs could be the same.
const LENGTHS: [usize; 8] = [17, 700, 65_535, 65_536, 65_537, 131_072, 200_000, 400_001];

/// The same bytes with one wrong bit at or after `from`.
fn flipped(chance: &mut Chance, blob: &Blob, from: usize) -> (usize, bytes::Bytes) {
    let position = from + chance.below(blob.bytes.len() - from);
    let mut wrong = blob.bytes.to_vec();
    wrong[position] ^= 1 << chance.below(8);
    (position, wrong.into())
}

/// B3: one flipped bit, anywhere, in a first answer or in one that goes on after a cut: the client learns that it has
/// not got the blob, nothing of it is kept, and the next attempt is clean.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_accepted_and_never_stored() {
    let seed = Chance::seed();
    let mut chance = Chance::new(seed);
    // A registry of its own for each round: what it holds is looked through again and again.
    let (rounds, trials) = if is_long() { (20, 200) } else { (1, 48) };
    for _ in 0..rounds {
        let trials = (0..trials).map(|_| chance.part()).collect();
        flip_bits(seed, trials).await;
    }
}

async fn flip_bits(seed: u64, trials: Vec<Chance>) {
    let count = trials.len();
    let scene = &Scene::new().await;
    for_all(trials, |number, mut chance| async move {
        let length = *chance.one_of(&LENGTHS);
        let blob = scene.blob(number, length).await;
        let cut = if number % 2 == 0 { 0 } else { chance.below(length) };
        let (position, wrong) = flipped(&mut chance, &blob, cut);
        let what = format!("seed {seed}: bit in byte {position} of {length}, after a cut at {cut}");
        let wrong = vec![Fault::Replace(wrong)];
        let gets = if cut == 0 {
            scene.script(&blob, [wrong]);
            1
        } else {
            scene.script(&blob, [vec![Fault::Cut(cut)], wrong]);
            2
        };
        assert_refused(scene.pull(&blob).await.as_ref(), &blob, &what);
        assert_eq!(
            scene.ranges(&blob).len(),
            gets,
            "{what}: a mismatch is not resumed"
        );
        assert_eq!(scene.house.stored_file(&blob.digest), None, "{what}");
        scene.pull_cleanly(&blob).await;
    })
    .await;
    scene.assert_stored(count).await;
}

/// M12: one flipped bit in a manifest that is asked for by its digest.
#[tokio::test]
async fn a_flipped_bit_in_a_manifest_is_never_accepted() {
    let seed = Chance::seed();
    let mut chance = Chance::new(seed);
    let scene = Scene::new().await;
    for number in 0..if is_long() { 1000 } else { 24 } {
        let image = Image::random(number, &[10]);
        scene.upstream.push("alpine", "1", &image);
        let (position, wrong) = flipped(&mut chance, &image.manifest, 0);
        let on = On::manifest().get().at(image.digest()).once();
        scene.upstream.script(on, Fault::Replace(wrong));
        let answer = scene.house.manifest("alpine", image.digest()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "MANIFEST_INVALID"),
            "seed {seed}: bit in byte {position}"
        );
        let again = scene.house.manifest("alpine", image.digest()).await;
        again.assert_body(image.body());
    }
}

/// How content can have changed when a transfer goes on.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Other bytes.
    Other,
    /// Other bytes, all of them again: what is known is dropped.
    OtherFromTheStart,
    /// The right bytes, and fewer of them.
    Shorter,
    /// The right bytes, and more.
    Longer,
    /// Only bytes that were received already: what is still to come is right.
    Before,
}

impl Change {
    fn faults(self, blob: &Blob, cut: usize) -> Vec<Fault> {
        let length = blob.bytes.len();
        match self {
            Self::Other => vec![Fault::Replace(random_bytes(4711, length))],
            Self::OtherFromTheStart => vec![Fault::IgnoreRange, Fault::Replace(random_bytes(4711, length))],
            Self::Shorter => vec![Fault::Truncated(cut + (length - cut) / 2)],
            Self::Longer => vec![Fault::Padded(3)],
            Self::Before => {
                let mut bytes = blob.bytes.to_vec();
                bytes[..cut].fill(0);
                vec![Fault::Replace(bytes.into())]
            }
        }
    }
}

/// B3, B10: what upstream sends when it is asked to go on belongs to something else by now: the transfer is cut,
/// nothing is kept, and the next attempt is clean. What it has changed of the part that is known changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_changes_between_two_attempts_is_never_pieced_together() {
    use Change::{Before, Longer, Other, OtherFromTheStart, Shorter};

    let seed = Chance::seed();
    let mut chance = Chance::new(seed);
    let rounds = if is_long() { 200 } else { 4 };
    let trials: Vec<_> = (0..rounds)
        .flat_map(|_| [Other, OtherFromTheStart, Shorter, Longer, Before])
        .map(|change| (change, chance.part()))
        .collect();
    let count = trials.len();
    let scene = &Scene::new().await;
    for_all(trials, |number, (change, mut chance)| async move {
        let length = *chance.one_of(&LENGTHS);
        let cut = 1 + chance.below(length - 1);
        let blob = scene.blob(number, length).await;
        let what = format!("seed {seed}: {change:?} after {cut} of {length}");
        scene.script(&blob, [vec![Fault::Cut(cut)], change.faults(&blob, cut)]);
        let answer = scene.pull(&blob).await;
        assert_eq!(scene.ranges(&blob).len(), 2, "{what}");
        if let (Before, Some(answer)) = (change, &answer) {
            answer.assert_body(&blob.bytes);
        } else if let Some(answer) = &answer {
            let end = length.saturating_sub(WITHHELD);
            let cut = !answer.complete && answer.body.len() <= end;
            assert!(cut || answer.status == 502, "{what}: {}", answer.summary());
        } else {
            assert!(!matches!(change, Before), "{what}: no word of it");
        }
        if !matches!(change, Before) {
            assert_eq!(scene.house.stored_file(&blob.digest), None, "{what}");
        }
        scene.pull_cleanly(&blob).await;
    })
    .await;
    scene.assert_stored(count).await;
}
