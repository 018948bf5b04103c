//! The pull-through registry.
