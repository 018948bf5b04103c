//! Reading from another registry.
