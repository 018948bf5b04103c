//! What is measured in which form, how often and for how long.

use std::sync::Arc;
use std::time::Duration;

use crate::http::Method;
use crate::image::{Image, Recipe};
use crate::namespace;
use crate::output::say;
use crate::report::names;
use crate::site::Link;
use crate::stage::Stage;
use crate::subject::{Kind, Subject, Tags};
use crate::work::cold::{Abort, Cold, FirstByte, Quarters};
use crate::work::memory::{EightBlobs, LargeManifest, Stalled, Start};
use crate::work::warm::{Asked, Warm};
use crate::work::{Instance, Work};

/// How thorough a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Under five minutes.
    Quick,
    Full,
}

/// Work with the number of its rounds.
pub(crate) struct Planned {
    pub(crate) work: Box<dyn Work>,
    pub(crate) rounds: u32,
    /// Who is left out, though it could do it.
    without: &'static [Kind],
}

impl Planned {
    /// Whether it is measured on this subject.
    pub(crate) fn includes(&self, subject: &Subject) -> bool {
        !self.without.contains(&subject.kind) && self.work.fits(subject)
    }
}

/// Those that fetch once for each client, and so take half a minute where the others take a second.
const SLOW: &[Kind] = &[Kind::Distribution2, Kind::Distribution3, Kind::Distribution3S3];

/// The size of a manifest of an image of some layers.
const MANIFEST_PADDING: usize = 1024;

impl Form {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    /// Whether it is measured in this form unless somebody asks for others.
    pub(crate) fn includes(self, kind: Kind) -> bool {
        self == Self::Full || !kind.keeps_in_bucket()
    }

    /// All work in the order in which it is done.
    pub(crate) fn plan(self, stage: &Stage) -> anyhow::Result<Vec<Planned>> {
        let image = |number, layer_bytes| {
            let recipe = Recipe {
                number,
                layers: 1,
                layer_bytes,
                padding: MANIFEST_PADDING,
            };
            stage.image(recipe)
        };
        let (small, middle, large) = (image(1, 1 << 10)?, image(2, 10 << 20)?, image(3, 100 << 20)?);
        let mut plan = self.manifests(&small);
        plan.extend(self.blobs(&small, &middle, &large));
        plan.extend(self.cold());
        plan.extend(self.memory());
        Ok(plan)
    }

    fn manifests(self, image: &Arc<Image>) -> Vec<Planned> {
        let remembered = |method| Asked::ManifestByTag(method, Tags::Remembered);
        let checked = |method| Asked::ManifestByTag(method, Tags::Checked);
        let work = [
            (names::MANIFEST_DIGEST_GET, Asked::ManifestByDigest(Method::Get)),
            (names::MANIFEST_DIGEST_HEAD, Asked::ManifestByDigest(Method::Head)),
            (names::MANIFEST_TAG_GET, remembered(Method::Get)),
            (names::MANIFEST_TAG_HEAD, remembered(Method::Head)),
            (names::MANIFEST_TAG0_GET, checked(Method::Get)),
            (names::MANIFEST_TAG0_HEAD, checked(Method::Head)),
        ];
        let mut plan = Vec::new();
        for (name, asked) in work {
            for connections in self.connections() {
                plan.push(self.warm(name, image, asked, Link::Loopback, *connections));
            }
        }
        plan.push(self.warm(
            names::MANIFEST_TAG0_WIRE_GET,
            image,
            checked(Method::Get),
            Link::Wire,
            16,
        ));
        plan
    }

    fn blobs(self, small: &Arc<Image>, middle: &Arc<Image>, large: &Arc<Image>) -> Vec<Planned> {
        let mut plan = Vec::new();
        let eight: &[usize] = match self {
            Self::Quick => &[],
            Self::Full => &[8],
        };
        for connections in self.connections().iter().chain(eight) {
            plan.push(self.warm(names::BLOB_1KIB, small, Asked::Blob, Link::Loopback, *connections));
        }
        for (name, image) in [(names::BLOB_10MIB, middle), (names::BLOB_100MIB, large)] {
            for connections in [1, 8] {
                plan.push(self.warm(name, image, Asked::Blob, Link::Loopback, connections));
            }
        }
        plan
    }

    fn cold(self) -> Vec<Planned> {
        let image = |work, link| Cold {
            work,
            link,
            clients: 1,
            layers: 5,
            layer_bytes: 100 << 20,
            at_a_time: 3,
            instance: Instance::Shared,
        };
        let herd = |work, link| Cold {
            clients: 20,
            layers: 1,
            ..image(work, link)
        };
        let crowd = Cold {
            clients: few(1000),
            layer_bytes: 10 << 20,
            instance: Instance::Fresh,
            ..herd(names::CROWD_1000, Link::Loopback)
        };
        vec![
            self.once(FirstByte),
            self.once(image(names::COLD_500_LOOPBACK, Link::Loopback)),
            self.once(image(names::COLD_500_WIRE, Link::Wire)),
            self.once(herd(names::HERD_20, Link::Loopback)),
            self.slow(herd(names::HERD_20_WIRE, Link::Wire)),
            self.slow(crowd),
            self.once(Quarters),
            self.once(Abort),
        ]
    }

    fn memory(self) -> Vec<Planned> {
        let clients = u32::try_from(few(1000)).unwrap_or(u32::MAX);
        vec![
            self.once(Start),
            self.once(EightBlobs),
            self.once(LargeManifest),
            self.once(Stalled { clients }),
        ]
    }

    /// Work of which a round is expensive.
    fn once(self, work: impl Work + 'static) -> Planned {
        let rounds = match self {
            Self::Quick => 1,
            Self::Full => 3,
        };
        Planned {
            work: Box::new(work),
            rounds,
            without: &[],
        }
    }

    /// Work that some take so long for that the quick form leaves them out.
    fn slow(self, work: impl Work + 'static) -> Planned {
        let without = match self {
            Self::Quick => SLOW,
            Self::Full => &[],
        };
        Planned {
            without,
            ..self.once(work)
        }
    }

    fn warm(
        self,
        work: &'static str,
        image: &Arc<Image>,
        asked: Asked,
        link: Link,
        connections: usize,
    ) -> Planned {
        // The slowest answers take a good part of a second when eight are on their way.
        let slow = link == Link::Wire || asked == Asked::Blob;
        let (rounds, milliseconds) = match self {
            Self::Quick if slow => (2, 700),
            Self::Quick => (2, 300),
            Self::Full => (5, 1000),
        };
        let image = Arc::clone(image);
        Planned {
            work: Box::new(Warm {
                work,
                image,
                asked,
                link,
                connections,
                duration: Duration::from_millis(milliseconds),
            }),
            rounds,
            without: &[],
        }
    }

    fn connections(self) -> &'static [usize] {
        match self {
            Self::Quick => &[16, 64],
            Self::Full => &[1, 16, 64],
        }
    }
}

/// As many clients as wanted, or as the limit of open files lets a subject have: it needs a file for the
/// client and, of some, another one for what is served.
fn few(clients: usize) -> usize {
    let allowed = usize::try_from(namespace::open_files() / 2)
        .unwrap_or(usize::MAX)
        .saturating_sub(200);
    if allowed < clients {
        say(&format!(
            "The limit of open files allows {allowed} clients instead of {clients}."
        ));
    }
    clients.min(allowed)
}
