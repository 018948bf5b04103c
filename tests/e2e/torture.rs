//! G3, ENGINE §1.4: the real program, ended at any moment and at every step, and what the next one makes of it.
// Seeds and counts of a run, which nextest shows when it fails.
#![allow(clippy::print_stderr)]

mod failpoints;
mod killed;
mod shelf;
mod stopped;
