//! A registry with an organization of each visibility, and content in every state.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Call, House, Organization};
use quayside_tests::images::Image;
use serde_json::json;
use tempfile::TempDir;

use super::targets::Target;
use crate::scene::contacts;

/// The password of every robot.
pub(super) const ROBOT_PASSWORD: &str = "canary-robot-5d41402abc4b2a76b9719d911017c592";
/// The key that the registry signs with; the tests know it, so that they can sign what it would not.
pub(super) const KEY: [u8; 32] = [0x5a; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    Private,
    Internal,
    Public,
}

impl Visibility {
    pub(super) fn organization(self) -> &'static str {
        match self {
            Self::Private => "closed",
            Self::Internal => "inside",
            Self::Public => "opened",
        }
    }
}

/// Where a request goes.
pub(super) struct Place {
    /// `<organization>/<repository>`.
    pub(super) repository: String,
    pub(super) path: String,
}

pub(super) struct World {
    pub(super) house: House,
    upstream: FakeUpstream,
    warm: Image,
    fresh: AtomicU64,
    _keys: TempDir,
}

impl World {
    /// Organizations of each visibility with the member `alice` and a robot, and `other`, with a robot alone.
    /// `warm` is cached in all three, with its layer.
    pub(super) async fn start() -> Self {
        let upstream = FakeUpstream::start().await;
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("signing.key");
        std::fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
        let of = |visibility: Visibility| {
            Organization::of(&upstream)
                .named(visibility.organization())
                .set("visibility", json!(format!("{visibility:?}")))
                .member("alice")
                .robot("ci", ROBOT_PASSWORD)
        };
        let visibilities = [Visibility::Private, Visibility::Internal, Visibility::Public];
        let other = Organization::of(&upstream).named("other").private();
        let mut builder = House::builder()
            .config("/auth/signingKeyFile", json!(key))
            .config("/trustedNetworks", json!(["10.0.0.0/8"]))
            .config("/trustedProxies", json!(["127.0.0.0/8"]))
            .organization(other.robot("ci", ROBOT_PASSWORD));
        for visibility in visibilities {
            builder = builder.organization(of(visibility));
        }
        let warm = Image::random(1, &[100]);
        upstream.push("warm", "1", &warm);
        upstream.add_referrers("warm", warm.digest(), &[]);
        let world = Self {
            house: builder.start().await,
            upstream,
            warm,
            fresh: AtomicU64::new(2),
            _keys: keys,
        };
        for visibility in visibilities {
            let organization = visibility.organization();
            world.pull(&format!("/v2/{organization}/warm/manifests/1")).await;
            let layer = &world.warm.layers[0].digest;
            world
                .pull(&format!("/v2/{organization}/warm/blobs/{layer}"))
                .await;
        }
        world
    }

    async fn pull(&self, path: &str) {
        let answer = self.call(Method::GET, path).user("alice").send().await;
        assert_eq!(answer.status, 200, "{}", answer.summary());
    }

    pub(super) fn call(&self, method: Method, path: &str) -> Call {
        self.house.call(method, path)
    }

    /// A number that was not used before.
    pub(super) fn number(&self) -> u64 {
        self.fresh.fetch_add(1, Ordering::Relaxed)
    }

    /// An address outside the trusted networks that nobody failed from before.
    pub(super) fn address(&self) -> String {
        let number = self.number();
        format!("203.0.{}.{}", number / 250, number % 250 + 1)
    }

    /// Requests for content that reached upstream.
    pub(super) fn contacts(&self) -> usize {
        contacts(&self.upstream)
    }

    /// Content in the state that the target asks for; what a member's request would change is made anew.
    pub(super) async fn place(&self, visibility: Visibility, target: Target) -> Place {
        let organization = visibility.organization();
        let (repository, image) = if target.is_cached() {
            ("warm".to_owned(), self.warm.clone())
        } else {
            let number = self.number();
            let (repository, image) = (format!("cold-{number}"), Image::random(number, &[100]));
            self.upstream.push(&repository, "1", &image);
            (repository, image)
        };
        let repository = format!("{organization}/{repository}");
        if target == Target::ColdBlob {
            self.pull(&format!("/v2/{repository}/manifests/1")).await;
        }
        let rest = match target {
            Target::CachedTag | Target::ColdTag => "manifests/1".to_owned(),
            Target::CachedDigest | Target::ColdDigest => format!("manifests/{}", image.digest()),
            Target::CachedBlob | Target::ColdBlob => format!("blobs/{}", image.layers[0].digest),
            Target::Tags | Target::NoTags => "tags/list".to_owned(),
            Target::Referrers => format!("referrers/{}", image.digest()),
        };
        Place {
            path: format!("/v2/{repository}/{rest}"),
            repository,
        }
    }
}
