//! What is asked of the database, one file per transaction. Each file is written for both engines.

pub(crate) mod admit;
pub(crate) mod count;
pub(crate) mod fill;
pub(crate) mod list;
pub(crate) mod organization;
pub(crate) mod read;
pub(crate) mod recount;
pub(crate) mod referrers;
// Nothing expires or is pruned yet; until then the contract suite is the one that releases, to prove
// that an admission takes back.
#[cfg(test)]
pub(crate) mod release;
pub(crate) mod renew;
pub(crate) mod setting;
pub(crate) mod usage;
pub(crate) mod wanted;
