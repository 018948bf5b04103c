//! What is asked of the database, one file per transaction. Each file is written for both engines.

pub(crate) mod admit;
pub(crate) mod begin;
pub(crate) mod candidates;
pub(crate) mod collect;
pub(crate) mod count;
pub(crate) mod fill;
pub(crate) mod forecast;
pub(crate) mod garbage;
pub(crate) mod inspect;
pub(crate) mod lease;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod organization;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod recount;
pub(crate) mod referrers;
pub(crate) mod release;
pub(crate) mod renew;
pub(crate) mod repair;
pub(crate) mod room;
pub(crate) mod scrub;
pub(crate) mod setting;
pub(crate) mod sweep;
pub(crate) mod usage;
pub(crate) mod wanted;
