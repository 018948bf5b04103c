//! A store in a bucket: what its server may do to it.

mod ceph;
mod conditions;
pub(crate) mod depot;
mod listing;
mod outage;
mod presign;
mod reading;
mod start;
mod stub;

pub(crate) use self::depot::Depot;
