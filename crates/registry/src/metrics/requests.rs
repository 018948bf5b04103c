//! How long requests take.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. A warm manifest takes tenths of a millisecond, an upstream that has to be waited for up to half a minute.
const BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Base,
    Token,
    Manifest,
    Blob,
    Tags,
    Catalog,
    Referrers,
    /// What is refused without a look at content: uploads, paths and methods that there are not.
    Other,
}

impl RequestKind {
    /// In the order of their numbers.
    const ALL: [Self; 8] = [
        Self::Base,
        Self::Token,
        Self::Manifest,
        Self::Blob,
        Self::Tags,
        Self::Catalog,
        Self::Referrers,
        Self::Other,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Token => "token",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Tags => "tags",
            Self::Catalog => "catalog",
            Self::Referrers => "referrers",
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// One histogram per kind of request.
pub(crate) struct Requests([Histogram; 8]);

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let family =
            Family::<Kind, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register(
            "request_duration_seconds",
            "Time from the head of a request to the head of its answer",
            family.clone(),
        );
        Self(RequestKind::ALL.map(|kind| family.get_or_create_owned(&Kind { kind: kind.name() })))
    }

    pub(crate) fn took(&self, kind: RequestKind, elapsed: Duration) {
        if let Some(histogram) = self.0.get(kind as usize) {
            histogram.observe(elapsed.as_secs_f64());
        }
    }
}
