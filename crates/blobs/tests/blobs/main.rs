//! The promises of this crate, seen from outside.
