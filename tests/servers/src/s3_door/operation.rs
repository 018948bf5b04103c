//! What is asked of an S3 server, told from the request line.

use http::Method;

/// An operation of S3, as far as anybody here tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `GET /bucket?list-type=2…`.
    ListObjects,
    /// `GET /bucket?uploads`.
    ListUploads,
    /// `GET /bucket/key?uploadId=…`.
    ListParts,
    /// `GET /bucket/key`, of a range as well.
    GetObject,
    /// `HEAD /bucket/key`.
    HeadObject,
    /// `PUT /bucket/key`.
    PutObject,
    /// `DELETE /bucket/key`.
    DeleteObject,
    /// `POST /bucket?delete`.
    DeleteObjects,
    /// `POST /bucket/key?uploads`.
    CreateUpload,
    /// `PUT /bucket/key?partNumber=…&uploadId=…`.
    UploadPart,
    /// `POST /bucket/key?uploadId=…`.
    CompleteUpload,
    /// `DELETE /bucket/key?uploadId=…`.
    AbortUpload,
    /// What concerns a bucket as a whole, like `HEAD /bucket` and `GET /bucket?versioning`.
    Bucket,
}

impl Operation {
    /// The operation that a request to a path-style address is.
    pub(super) fn of(method: &Method, path: &str, query: &str) -> Self {
        let names: Vec<&str> = query
            .split('&')
            .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
            .collect();
        let has = |name: &str| names.contains(&name);
        let of_object = path
            .trim_start_matches('/')
            .split_once('/')
            .is_some_and(|(_, key)| !key.is_empty());
        match (method.as_str(), of_object) {
            ("GET", false) if has("uploads") => Self::ListUploads,
            ("GET", false) if has("list-type") || has("prefix") => Self::ListObjects,
            ("POST", false) if has("delete") => Self::DeleteObjects,
            ("GET", true) if has("uploadId") => Self::ListParts,
            ("GET", true) => Self::GetObject,
            ("HEAD", true) => Self::HeadObject,
            ("PUT", true) if has("uploadId") => Self::UploadPart,
            ("PUT", true) => Self::PutObject,
            ("DELETE", true) if has("uploadId") => Self::AbortUpload,
            ("DELETE", true) => Self::DeleteObject,
            ("POST", true) if has("uploads") => Self::CreateUpload,
            ("POST", true) => Self::CompleteUpload,
            _ => Self::Bucket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O2: rules name operations, so each has to be told from the others.
    #[test]
    fn operations_are_told_apart_by_method_path_and_query() {
        let cases = [
            (Method::GET, "/b", "list-type=2&prefix=x", Operation::ListObjects),
            (Method::GET, "/b/", "uploads=&prefix=x", Operation::ListUploads),
            (Method::GET, "/b", "versioning", Operation::Bucket),
            (Method::HEAD, "/b", "", Operation::Bucket),
            (Method::POST, "/b/", "delete", Operation::DeleteObjects),
            (Method::GET, "/b/a/b", "x-id=GetObject", Operation::GetObject),
            (Method::GET, "/b/a/b", "uploadId=u", Operation::ListParts),
            (Method::HEAD, "/b/a", "", Operation::HeadObject),
            (Method::PUT, "/b/a", "x-id=PutObject", Operation::PutObject),
            (
                Method::PUT,
                "/b/a",
                "partNumber=1&uploadId=u",
                Operation::UploadPart,
            ),
            (Method::POST, "/b/a", "uploads", Operation::CreateUpload),
            (Method::POST, "/b/a", "uploadId=u", Operation::CompleteUpload),
            (Method::DELETE, "/b/a", "uploadId=u", Operation::AbortUpload),
            (Method::DELETE, "/b/a", "", Operation::DeleteObject),
        ];
        for (method, path, query, operation) in cases {
            assert_eq!(
                Operation::of(&method, path, query),
                operation,
                "{method} {path}?{query}"
            );
        }
    }
}
