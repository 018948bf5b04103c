//! What lies in the bucket, below our prefix and where blobs belong.

use std::collections::BTreeSet;

use aws_sdk_s3::operation::{
    list_multipart_uploads::ListMultipartUploadsOutput, list_objects_v2::ListObjectsV2Output,
};

use super::{Bucket, Refusal, client::long};
use crate::{Found, Listed, StorageFault, StorageKey, Stray, StrayKind};

/// Where blobs lie, in the order of their names. Nothing else in the bucket is ever looked at (G2).
const TOPS: [&str; 2] = ["sha256/", "sha512/"];

/// How much one call lists at most.
const PAGE: usize = 1000;

/// What stands at the end of a path that means the uploads to a key. No object of ours is named so, as a key is no
/// folder.
const UPLOADS: &str = "/(upload)";

/// An upload that was begun, and neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where it leads to, below our prefix.
    pub(super) path: String,
    pub(super) id: String,
}

/// Some of the objects, in order, and whether there are more after them.
#[derive(Debug)]
struct Page {
    objects: Vec<Found>,
    more: bool,
}

impl Bucket {
    /// The first `limit` objects and uploads after the path `after`, in the order of their paths.
    pub(super) async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Found>, StorageFault> {
        let uploads = self.all_uploads().await?;
        let uploads: BTreeSet<_> = uploads.into_iter().map(|upload| upload.path).collect();
        let mut found: Vec<Found> = Vec::new();
        for top in TOPS {
            let mut cursor = match after {
                Some(after) if after.starts_with(top) => after.to_owned(),
                Some(after) if after > top => continue,
                _ => top.to_owned(),
            };
            while found.len() < limit {
                let page = self.objects(top, &cursor, limit - found.len()).await?;
                let more = page.more;
                let last = page.objects.last().map(text);
                found.extend(merged(page, &uploads, top, &cursor));
                match last {
                    Some(last) if more => cursor = last,
                    _ => break,
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// All uploads to where blobs belong.
    pub(super) async fn all_uploads(&self) -> Result<Vec<Upload>, StorageFault> {
        let mut uploads = Vec::new();
        for top in TOPS {
            let (mut key, mut id) = (None, None);
            loop {
                let page = self.uploads_page(top, key, id).await?;
                uploads.extend(page.uploads().iter().filter_map(|upload| {
                    Some(Upload {
                        path: self.path_of(upload.key()?)?.to_owned(),
                        id: upload.upload_id()?.to_owned(),
                    })
                }));
                (key, id) = (page.next_key_marker, page.next_upload_id_marker);
                if page.is_truncated != Some(true) || key.is_none() {
                    break;
                }
            }
        }
        Ok(uploads)
    }

    /// Whether something that was listed is there still, as it was found.
    pub(super) async fn is_there(&self, found: &Found) -> Result<bool, StorageFault> {
        let path = text(found);
        if let Some(path) = path.strip_suffix(UPLOADS) {
            let uploads = self.all_uploads().await?;
            return Ok(uploads.iter().any(|upload| upload.path == path));
        }
        let seen = self.look_at(&format!("{}{path}", self.prefix)).await?;
        Ok(match found {
            Found::Blob(listed) => seen.is_some_and(|seen| seen.size == listed.size),
            Found::Stray(_) => seen.is_some(),
        })
    }

    async fn objects(&self, top: &str, after: &str, limit: usize) -> Result<Page, StorageFault> {
        let call = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(format!("{}{top}", self.prefix))
            .start_after(format!("{}{after}", self.prefix))
            .max_keys(i32::try_from(limit.min(PAGE)).unwrap_or(i32::MAX));
        let answer = call.customize().config_override(long()).send().await;
        let answer = answer.map_err(|error| self.fault("list objects", &error))?;
        Ok(Page {
            objects: self.found(&answer),
            more: answer.is_truncated == Some(true),
        })
    }

    fn found(&self, answer: &ListObjectsV2Output) -> Vec<Found> {
        let objects = answer.contents().iter().filter_map(|object| {
            let path = self.path_of(object.key()?)?;
            let size = u64::try_from(object.size()?).ok()?;
            Some(match StorageKey::parse(path) {
                Ok(key) => Found::Blob(Listed { key, size }),
                Err(_) => Found::Stray(Stray {
                    path: path.into(),
                    kind: StrayKind::Foreign,
                }),
            })
        });
        objects.collect()
    }

    async fn uploads_page(
        &self,
        top: &str,
        key: Option<String>,
        id: Option<String>,
    ) -> Result<ListMultipartUploadsOutput, StorageFault> {
        let call = self
            .client
            .list_multipart_uploads()
            .bucket(&self.name)
            .prefix(format!("{}{top}", self.prefix))
            .set_key_marker(key)
            .set_upload_id_marker(id);
        match call.customize().config_override(long()).send().await {
            Ok(page) => Ok(page),
            Err(error) => match Refusal::of(&error) {
                // What a server does not list we cannot remove; that it expires is up to whoever runs the server.
                refusal if refusal.is_unknown_operation() => {
                    tracing::debug!(%refusal, "list uploads");
                    Ok(ListMultipartUploadsOutput::builder().build())
                }
                refusal => Err(self.refused("list uploads", refusal)),
            },
        }
    }
}

/// The objects of a page, and the uploads that lie between `after` and its end, in one order.
fn merged(page: Page, uploads: &BTreeSet<String>, top: &str, after: &str) -> Vec<Found> {
    let end = page.objects.last().filter(|_| page.more).map(text);
    let uploads = uploads.iter().filter(|path| path.starts_with(top)).map(|path| {
        let kind = StorageKey::parse(path).map_or(StrayKind::Foreign, StrayKind::Upload);
        let path = format!("{path}{UPLOADS}").into();
        Found::Stray(Stray { path, kind })
    });
    let mut found = page.objects;
    found.extend(uploads.filter(|upload| {
        let path = text(upload);
        path.as_str() > after && end.as_ref().is_none_or(|end| path <= *end)
    }));
    found.sort_by_cached_key(text);
    found
}

/// The path as the server orders it: by bytes, not by components.
fn text(found: &Found) -> String {
    found.path().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use quayside_oci::{Algorithm, Digest};

    use super::*;

    fn key(number: u8) -> StorageKey {
        let digest = Digest::of(Algorithm::Sha256, b"a layer");
        StorageKey::new(&digest, &format!("t{number}")).unwrap()
    }

    fn blob(number: u8) -> Found {
        let key = key(number);
        Found::Blob(Listed { key, size: 7 })
    }

    fn upload(number: u8) -> Found {
        let key = key(number);
        let path = format!("{key}{UPLOADS}").into();
        let kind = StrayKind::Upload(key);
        Found::Stray(Stray { path, kind })
    }

    /// O5: uploads stand between the objects, each exactly once whatever the pages are.
    #[test]
    fn merges_uploads_into_pages_of_objects() {
        let uploads: BTreeSet<_> = [1, 3, 5, 7].map(|number| key(number).as_str().to_owned()).into();
        let page = |numbers: &[u8], more| Page {
            objects: numbers.iter().map(|number| blob(*number)).collect(),
            more,
        };
        let first = merged(page(&[2, 3, 4], true), &uploads, "sha256/", "sha256/");
        assert_eq!(first, [upload(1), blob(2), blob(3), upload(3), blob(4)]);
        let second = merged(page(&[6], false), &uploads, "sha256/", key(4).as_str());
        assert_eq!(second, [upload(5), blob(6), upload(7)]);
        let from_the_middle = merged(page(&[4], true), &uploads, "sha256/", key(3).as_str());
        assert_eq!(from_the_middle, [upload(3), blob(4)]);
        let after_it = merged(page(&[4], true), &uploads, "sha256/", &text(&upload(3)));
        assert_eq!(after_it, [blob(4)]);
        assert_eq!(merged(page(&[], false), &uploads, "sha512/", "sha512/"), []);
    }
}
