//! Ports for programs that have to be told one.

pub use quayside_test_servers::ports::free;
