//! The rhythm of the background workers.

use std::time::Duration;

use crate::kind::POSITIVE_SECONDS;
use crate::section::{Key, Section};

/// When garbage is collected (SPEC §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gc {
    /// The time between two passes.
    pub interval: Duration,
    /// How long something released stays before it may be collected.
    pub grace: Duration,
}

pub(super) fn read_gc(section: &mut Section<'_>) -> Option<Gc> {
    let interval = section.defaulted(
        Key(
            "intervalSeconds",
            "The time between two passes of the sweeper and the collector.",
        ),
        &POSITIVE_SECONDS,
        30,
    );
    let grace = section.defaulted(
        Key(
            "graceSeconds",
            "How long something released stays before it may be collected.",
        ),
        &POSITIVE_SECONDS,
        300,
    );
    Some(Gc {
        interval: interval?,
        grace: grace?,
    })
}
