//! Parts, sent as they come to lie in the spool.

use std::{ops::Range, pin::pin, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use quayside_failpoints::pass;

use super::{
    super::Refusal,
    Freight, Sent,
    multipart::Multipart,
    patience::{Pulse, attended},
};
use crate::StorageFault;

/// The length of a part in bytes, except for blobs so large that there would be too many; what is no larger is put
/// in one piece.
pub(super) const PART: u64 = 8 << 20;

/// How many parts a blob is cut into at most; servers take ten thousand.
const MOST: u64 = 9000;

/// How many parts of one blob are on their way at once.
const AT_ONCE: usize = 2;

/// A part that is in the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tag {
    /// Counted from 1.
    pub(super) number: i32,
    /// By which the server knows its bytes.
    pub(super) tag: String,
}

/// A part that is to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    number: i32,
    range: Range<u64>,
}

/// Sends all parts. The upload is created when the first of them is complete; dropping the future aborts it.
pub(super) async fn send(freight: Freight) -> Result<Sent, StorageFault> {
    let sent = attempt(&freight).await;
    if let Err(fault) = &sent {
        tracing::warn!(key = %freight.key, error = %fault, "upload broken off");
    }
    sent
}

async fn attempt(freight: &Freight) -> Result<Sent, StorageFault> {
    freight.spooled(PART).await?;
    pass("upload blob: first part spooled");
    let multipart = Multipart::create(freight).await?;
    pass("upload blob: created");
    let mut tags = Vec::new();
    let mut on_their_way = FuturesUnordered::new();
    for part in parts(freight.size()) {
        let mut spooled = pin!(freight.spooled(part.range.end));
        // Those on their way move only while they are waited for.
        loop {
            tokio::select! {
                spooled = &mut spooled, if on_their_way.len() < AT_ONCE => break spooled?,
                Some(tag) = on_their_way.next() => tags.push(tag?),
            }
        }
        on_their_way.push(send_part(freight, &multipart, part));
    }
    tags.extend(on_their_way.try_collect::<Vec<_>>().await?);
    tags.sort_unstable_by_key(|tag| tag.number);
    Ok(Sent { multipart, tags })
}

async fn send_part(freight: &Freight, multipart: &Multipart, part: Part) -> Result<Tag, StorageFault> {
    let mut tries = freight.uploads.patience.tries();
    loop {
        match try_part(freight, multipart, &part).await {
            Ok(tag) => {
                pass("upload blob: part sent");
                return Ok(tag);
            }
            Err(refusal) => freight
                .again(&mut tries, refusal)
                .await
                .map_err(|refusal| freight.refused("upload part of blob", refusal))?,
        }
    }
}

async fn try_part(freight: &Freight, multipart: &Multipart, part: &Part) -> Result<Tag, Refusal> {
    let Freight { uploads, object, .. } = freight;
    let place = uploads.gate.enter(uploads.patience.outage).await?;
    let pulse = Arc::new(Pulse::default());
    let call = uploads
        .bucket
        .client
        .upload_part()
        .bucket(&uploads.bucket.name)
        .key(object)
        .upload_id(multipart.id())
        .part_number(part.number)
        .content_length((part.range.end - part.range.start).cast_signed())
        .body(freight.body(part.range.clone(), &pulse));
    let answer = attended(&pulse, uploads.patience.silence, call.send()).await;
    drop(place);
    let answer = answer?.map_err(|error| Refusal::of(&error))?;
    uploads.gate.arrived();
    Ok(Tag {
        number: part.number,
        tag: answer.e_tag.unwrap_or_default(),
    })
}

/// The parts of a blob of `size` bytes, none of which is empty.
fn parts(size: u64) -> impl Iterator<Item = Part> {
    let length = PART.max(size.div_ceil(MOST));
    (1..)
        .zip(0..size.div_ceil(length))
        .map(move |(number, index)| Part {
            number,
            range: index * length..size.min((index + 1) * length),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Every byte is in one part, also the tail that readers wait for.
    #[test]
    fn cuts_a_blob_into_parts_that_servers_take() {
        let sizes = [
            PART + 1,
            16 * MIB,
            300 * MIB + 17,
            9000 * PART,
            9000 * PART + 1,
            5 << 40,
        ];
        for size in sizes {
            let parts: Vec<Part> = parts(size).collect();
            assert!(parts.len() <= 9000, "{} parts of {size}", parts.len());
            let mut end = 0;
            for (index, part) in (1..).zip(&parts) {
                assert_eq!((part.number, part.range.start), (index, end));
                assert!(part.range.end - part.range.start >= PART || part.range.end == size);
                assert!(!part.range.is_empty());
                end = part.range.end;
            }
            assert_eq!(end, size);
        }
        assert_eq!(parts(PART + 1).count(), 2);
    }
}
