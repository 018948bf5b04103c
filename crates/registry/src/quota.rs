//! How much an organization may hold, and what goes so that it stays below that (SPEC §5).

mod admission;

pub use admission::{Planning, QuotaPlanner};
