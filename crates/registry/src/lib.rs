//! The pull-through registry: an OCI distribution endpoint that answers from its cache, and fills the cache
//! from the upstreams of its organizations.

mod app;
mod clock;

pub use app::Server;
pub use clock::{Clock, ManualClock, Millis, NEVER, SystemClock};
