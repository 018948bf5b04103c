//! The words of the OCI distribution specification as validated types.
