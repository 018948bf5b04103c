//! Bytes by key: storage backends and the growing spool.
