//! The words of the OCI distribution specification as validated types.
//!
//! Everything that a client or an upstream registry sends passes through one of these types before
//! anything else sees it (SPEC N3, M12): a value that exists follows the grammar, so it is safe in a
//! path, a key, a query or a log line. Nothing here does IO, and nothing panics on any input.

mod digest;
mod error;
mod manifest;
pub mod media_type;
mod name;
mod reference;
mod route;
mod text;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::ErrorCode;
pub use manifest::{BlobRef, Descriptor, Kind, MAX_BLOB_BYTES, MAX_MANIFEST_BYTES, Manifest, ManifestError};
pub use name::{FullName, MAX_NAME_BYTES, NameError, OrganizationName, RepositoryName};
pub use reference::{MAX_TAG_BYTES, Reference, Tag, TagError};
pub use route::{Route, RouteError};
