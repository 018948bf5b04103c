//! What was measured, and what it says: samples in, medians, ratios, targets, tables and plots out.
//!
//! Everything but [`machine`] and the writing of files is pure, so that a number in `docs/benchmarks.md`
//! can be traced to the samples in the JSON file beside it.

pub(crate) mod machine;
pub(crate) mod names;
pub(crate) mod results;

pub(crate) use machine::Machine;
pub(crate) use results::{Better, Results, Unit};
