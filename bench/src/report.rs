//! What was measured, and what it says: samples in, medians, ratios, targets, tables and plots out.
//!
//! Everything but [`machine`] and the writing of files is pure, so that a number in `docs/benchmarks.md`
//! can be traced to the samples in the JSON file beside it.

pub(crate) mod command;
pub(crate) mod document;
pub(crate) mod limits;
pub(crate) mod machine;
pub(crate) mod names;
pub(crate) mod plot;
pub(crate) mod results;
pub(crate) mod table;
pub(crate) mod targets;

pub(crate) use machine::Machine;
pub(crate) use results::{Better, Results, Unit};
