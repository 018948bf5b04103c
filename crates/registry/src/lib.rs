//! The pull-through registry: an OCI distribution endpoint that answers from its cache, and fills the cache
//! from the upstreams of its organizations.
//!
//! `http` reads requests and writes answers, `auth` says who asks and what they may, `pull` decides and carries out,
//! `organizations` keeps what is served in step with its file, `gc` ends what nobody pulls any more, `quota` says what
//! makes room for what is pulled. `app` puts them together.

mod app;
mod auth;
mod chain;
mod clock;
pub mod gc;
mod http;
mod human;
mod leader;
mod metrics;
mod open;
mod organizations;
mod pull;
pub mod quota;
mod reload;
pub mod scrub;
mod storage_id;
pub mod tools;
mod why;

pub use app::Server;
pub use clock::{Clock, ManualClock, Millis, NEVER, SystemClock};
pub use open::migrate;
pub use storage_id::{Adopted, adopt as adopt_storage};
pub use why::{Image, ImageError};
