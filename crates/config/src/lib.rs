//! The shape, defaults and validation of config.yaml and of the organizations file (SPEC C1, C3).
//!
//! Nothing here reads a file or a clock: text goes in, typed settings or a complete list of faults come
//! out. Both files are read from one generic tree by one small reader ([`section`]), because a derived
//! deserializer stops at the first fault and a person who edits a file wants all of them.

mod fault;
mod hostname;
mod kind;
mod names;
pub mod organizations;
mod password_hash;
mod section;
mod settings;
mod tree;

pub use fault::{Fault, Faults};
pub use settings::{
    Admin, AllowedHost, Auth, Config, Database, Filesystem, Gc, Peer, S3, S3KeyFiles, Scheme, Spool, Storage,
    Tls, UpstreamSettings, User, schema,
};
pub use tree::SyntaxError;
