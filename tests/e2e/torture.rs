//! G3, ENGINE §1.4: the real program, ended at any moment and at every step, and what the next one makes of it.

mod failpoints;
mod killed;
mod shelf;
mod stopped;
