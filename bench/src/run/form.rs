//! What is measured in which form, how often and for how long.

use std::rc::Rc;
use std::time::Duration;

use crate::http::Method;
use crate::image::{Image, Recipe};
use crate::report::names;
use crate::site::Link;
use crate::stage::Stage;
use crate::subject::Tags;
use crate::work::Work;
use crate::work::warm::{Asked, Warm};

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
}

/// The size of a manifest of an image of some layers.
const MANIFEST_PADDING: usize = 1024;

impl Form {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
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
            stage.image(recipe).map(Rc::new)
        };
        let (small, middle, large) = (image(1, 1 << 10)?, image(2, 10 << 20)?, image(3, 100 << 20)?);
        let mut plan = self.manifests(&small);
        plan.extend(self.blobs(&small, &middle, &large));
        Ok(plan)
    }

    fn manifests(self, image: &Rc<Image>) -> Vec<Planned> {
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

    fn blobs(self, small: &Rc<Image>, middle: &Rc<Image>, large: &Rc<Image>) -> Vec<Planned> {
        let mut plan = Vec::new();
        for connections in self.connections() {
            plan.push(self.warm(names::BLOB_1KIB, small, Asked::Blob, Link::Loopback, *connections));
        }
        for (name, image) in [(names::BLOB_10MIB, middle), (names::BLOB_100MIB, large)] {
            for connections in [1, 8] {
                plan.push(self.warm(name, image, Asked::Blob, Link::Loopback, connections));
            }
        }
        plan
    }

    fn warm(
        self,
        work: &'static str,
        image: &Rc<Image>,
        asked: Asked,
        link: Link,
        connections: usize,
    ) -> Planned {
        let (rounds, duration) = match self {
            Self::Quick => (2, Duration::from_millis(300)),
            Self::Full => (5, Duration::from_millis(1500)),
        };
        let image = Rc::clone(image);
        Planned {
            work: Box::new(Warm {
                work,
                image,
                asked,
                link,
                connections,
                duration,
            }),
            rounds,
        }
    }

    fn connections(self) -> &'static [usize] {
        match self {
            Self::Quick => &[16],
            Self::Full => &[1, 16, 64],
        }
    }
}
