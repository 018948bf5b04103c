//! Cold pulls: nobody has asked for the image before.

use anyhow::ensure;

use crate::http::{Connection, Fetched, Method, Request};
use crate::image::Blob;
use crate::stage::Stage;
use crate::subject::Door;

/// Fetches a blob and compares every byte.
pub(crate) async fn compare(
    connection: &mut Connection,
    stage: &Stage,
    door: &Door,
    path: &str,
    blob: &Blob,
) -> anyhow::Result<Fetched> {
    let request = Request::new(Method::Get, door.address, path);
    let take = |offset, part: &[u8]| {
        ensure!(
            blob.content.matches(&stage.pool, offset, part),
            "wrong bytes at {offset} of {path}"
        );
        Ok(())
    };
    let fetched = connection.fetch(&request, take).await?;
    let (status, length) = (fetched.head.status, fetched.head.length);
    let size = blob.content.size;
    ensure!(
        status == 200 && length == size,
        "status {status} and {length} bytes instead of {size} of {path}"
    );
    Ok(fetched)
}
