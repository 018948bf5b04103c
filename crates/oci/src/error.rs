//! The error codes of the distribution specification, and the few that registries add to it.

use std::fmt;

/// The `code` of an error document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// No manifest of the repository names this blob.
    BlobUnknown,
    /// An upload could not be made or continued.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The caller may not do this.
    Denied,
    /// The digest does not follow the grammar, or the content does not hash to it.
    DigestInvalid,
    /// A manifest names a manifest or a blob that is not there.
    ManifestBlobUnknown,
    /// The reference or the manifest itself is not valid.
    ManifestInvalid,
    /// No such manifest.
    ManifestUnknown,
    /// The name does not follow the grammar.
    NameInvalid,
    /// No such repository.
    NameUnknown,
    /// `n` of a listing is not a number.
    PaginationNumberInvalid,
    /// The length given and the length of the content differ.
    SizeInvalid,
    /// Too many requests, here or upstream.
    TooManyRequests,
    /// Credentials are wanted.
    Unauthorized,
    /// Something that has to answer first does not.
    Unavailable,
    /// Something went wrong that has no code.
    Unknown,
    /// The operation does not exist here.
    Unsupported,
}

/// Every code, what it looks like on the wire, and what it says when nobody knows better.
const TABLE: [(ErrorCode, &str, &str); 17] = [
    (ErrorCode::BlobUnknown, "BLOB_UNKNOWN", "blob unknown to registry"),
    (
        ErrorCode::BlobUploadInvalid,
        "BLOB_UPLOAD_INVALID",
        "blob upload invalid",
    ),
    (
        ErrorCode::BlobUploadUnknown,
        "BLOB_UPLOAD_UNKNOWN",
        "blob upload unknown to registry",
    ),
    (
        ErrorCode::Denied,
        "DENIED",
        "requested access to the resource is denied",
    ),
    (
        ErrorCode::DigestInvalid,
        "DIGEST_INVALID",
        "digest invalid, or content does not match it",
    ),
    (
        ErrorCode::ManifestBlobUnknown,
        "MANIFEST_BLOB_UNKNOWN",
        "manifest references unknown content",
    ),
    (ErrorCode::ManifestInvalid, "MANIFEST_INVALID", "manifest invalid"),
    (ErrorCode::ManifestUnknown, "MANIFEST_UNKNOWN", "manifest unknown"),
    (ErrorCode::NameInvalid, "NAME_INVALID", "invalid repository name"),
    (
        ErrorCode::NameUnknown,
        "NAME_UNKNOWN",
        "repository name not known to registry",
    ),
    (
        ErrorCode::PaginationNumberInvalid,
        "PAGINATION_NUMBER_INVALID",
        "invalid number of results requested",
    ),
    (
        ErrorCode::SizeInvalid,
        "SIZE_INVALID",
        "provided length did not match content length",
    ),
    (ErrorCode::TooManyRequests, "TOOMANYREQUESTS", "too many requests"),
    (ErrorCode::Unauthorized, "UNAUTHORIZED", "authentication required"),
    (ErrorCode::Unavailable, "UNAVAILABLE", "service unavailable"),
    (ErrorCode::Unknown, "UNKNOWN", "unknown error"),
    (
        ErrorCode::Unsupported,
        "UNSUPPORTED",
        "the operation is unsupported",
    ),
];

impl ErrorCode {
    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The code as error documents spell it, `BLOB_UNKNOWN`.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// A sentence for people, for want of a better one.
    pub fn message(self) -> &'static str {
        self.row().2
    }

    /// The code that an upstream's error document names, if it is one of these.
    pub fn parse(text: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == text).map(|row| row.0)
    }

    fn row(self) -> (Self, &'static str, &'static str) {
        TABLE
            .into_iter()
            .find(|row| row.0 == self)
            .unwrap_or((Self::Unknown, "UNKNOWN", "unknown error"))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
