//! Blobs as objects of a bucket.

mod bucket;
mod refusal;
mod settings;

pub(crate) use self::bucket::Bucket;
pub use self::{
    refusal::Refusal,
    settings::{PathStyle, S3Credentials, S3Settings, Versioned},
};
