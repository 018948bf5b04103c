//! The one call that makes an object of a blob.
//!
//! Its answer may get lost. Then the bucket is asked: an object of the right length at a key that is ours alone is
//! the blob.

use std::sync::{Arc, atomic::Ordering};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use quayside_failpoints::pass;

use super::{
    super::{Refusal, client::once},
    CONTENT_TYPE, Freight, Sent,
    multipart::Multipart,
    parts::Tag,
    patience::{Patience, Pulse, attended},
    trouble::{Kind, kind},
};
use crate::StoreError;

/// Makes an object of the parts.
pub(super) async fn complete(freight: &Freight, sent: Sent) -> Result<(), StoreError> {
    let Sent { multipart, tags } = sent;
    let patience = freight.uploads.patience.to_assemble(freight.size());
    pass("upload blob: parts sent");
    write(freight, patience, |condition| {
        try_complete(freight, (patience, condition), &multipart, &tags)
    })
    .await?;
    pass("upload blob: completed");
    multipart.completed();
    Ok(())
}

/// Makes an object of a blob that is no larger than a part.
pub(super) async fn put(freight: &Freight) -> Result<(), StoreError> {
    pass("put blob: begun");
    write(freight, freight.uploads.patience, |condition| {
        try_put(freight, condition)
    })
    .await?;
    pass("put blob: done");
    Ok(())
}

/// The condition of a write: that there is no object yet. Absent once the server has said that it knows none.
type Condition = Option<&'static str>;

/// Tries `call` until the object is there, or cannot be. It is never written twice: `call` is to make one try, for a
/// second one may be refused because of what the first one did.
async fn write<F>(
    freight: &Freight,
    patience: Patience,
    call: impl Fn(Condition) -> F,
) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), Refusal>>,
{
    let mut tries = patience.tries();
    let mut may_be_there = false;
    loop {
        let condition = condition(freight);
        let Err(refusal) = call(condition).await else {
            return Ok(());
        };
        match kind(&refusal) {
            Kind::Taken if !may_be_there => {
                let key = freight.key.clone();
                return Err(StoreError::KeyTaken { key });
            }
            Kind::Unknown if condition.is_some() => {
                freight.uploads.unconditional.store(true, Ordering::Relaxed);
                continue;
            }
            Kind::Passing | Kind::NoUpload | Kind::Taken => {
                may_be_there = true;
                if is_there(freight).await {
                    return Ok(());
                }
            }
            Kind::Unknown | Kind::Lasting => {}
        }
        let waited = tries.again(refusal).await;
        waited.map_err(|refusal| StoreError::Storage(freight.refused("store blob", refusal)))?;
    }
}

async fn try_complete(
    freight: &Freight,
    (patience, condition): (Patience, Condition),
    multipart: &Multipart,
    tags: &[Tag],
) -> Result<(), Refusal> {
    let parts = tags.iter().map(|tag| {
        CompletedPart::builder()
            .part_number(tag.number)
            .e_tag(&tag.tag)
            .build()
    });
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(parts.collect()))
        .build();
    let bucket = &freight.uploads.bucket;
    let call = bucket
        .client
        .complete_multipart_upload()
        .bucket(&bucket.name)
        .key(&freight.object)
        .upload_id(multipart.id())
        .multipart_upload(parts)
        .set_if_none_match(condition.map(str::to_owned))
        .customize()
        .config_override(once());
    let answer = attended(&Pulse::default(), patience.silence, call.send()).await;
    answer?.map_err(|error| Refusal::of(&error))?;
    Ok(())
}

async fn try_put(freight: &Freight, condition: Condition) -> Result<(), Refusal> {
    let uploads = &freight.uploads;
    let place = uploads.gate.enter(uploads.patience.outage).await?;
    let pulse = Arc::new(Pulse::default());
    let call = uploads
        .bucket
        .client
        .put_object()
        .content_type(CONTENT_TYPE)
        .bucket(&uploads.bucket.name)
        .key(&freight.object)
        .content_length(freight.size().cast_signed())
        .set_checksum_sha256(freight.checksum())
        .set_if_none_match(condition.map(str::to_owned))
        .body(freight.body(0..freight.size(), &pulse))
        .customize()
        .config_override(once());
    let answer = attended(&pulse, uploads.patience.silence, call.send()).await;
    drop(place);
    answer?.map_err(|error| Refusal::of(&error))?;
    uploads.gate.arrived();
    Ok(())
}

/// Whether the object is there in full. Only asked when the answer to a write is in doubt.
async fn is_there(freight: &Freight) -> bool {
    let (bucket, silence) = (&freight.uploads.bucket, freight.uploads.patience.silence);
    let call = bucket
        .client
        .head_object()
        .bucket(&bucket.name)
        .key(&freight.object);
    let answer = attended(&Pulse::default(), silence, call.send()).await;
    matches!(answer, Ok(Ok(head)) if head.content_length == Some(freight.size().cast_signed()))
}

/// No key is ever written twice (G3): servers that know conditions refuse it themselves.
fn condition(freight: &Freight) -> Condition {
    let unconditional = freight.uploads.unconditional.load(Ordering::Relaxed);
    (!unconditional).then_some("*")
}
