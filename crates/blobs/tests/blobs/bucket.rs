//! A store in a bucket: what its server may do to it.

mod depot;
mod listing;
mod outage;
mod presign;
mod reading;
mod start;

pub(crate) use self::depot::Depot;
