//! Reading an object.

use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::get_object::GetObjectOutput,
    primitives::SdkBody,
};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body::Body as _;
use tokio::time::{Sleep, sleep};

use super::{Object, Refusal, client::once};
use crate::ReadError;

const ACTION: &str = "read object";

/// How long bytes may fail to come before the rest is asked for anew. An answer may take as long to begin.
const STALL: Duration = Duration::from_secs(3);

/// The first pause before the rest is asked for anew; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the rest is asked for without a byte coming (B3).
const ATTEMPTS: u32 = 5;

/// How often silence is waited for without a byte coming: a bucket that hangs is to be a fault in less than ten seconds,
/// so that its readers can be served in another way (O2).
const SILENCES: u32 = 2;

/// Reads a range of an object, and reads on where it broke off.
///
/// The pieces are those in which they come. Nothing is read from the connection before it is asked for.
pub(crate) struct Reader {
    object: Arc<Object>,
    state: State,
    trouble: Trouble,
}

enum State {
    /// The rest has to be asked for.
    Idle,
    Asking(BoxFuture<'static, Result<SdkBody, Broken>>),
    Receiving {
        body: SdkBody,
        /// Runs out if nothing comes.
        stall: Option<Pin<Box<Sleep>>>,
    },
    Resting(Pin<Box<Sleep>>),
}

/// What has gone wrong since the last byte.
#[derive(Default)]
struct Trouble {
    attempts: u32,
    silences: u32,
}

/// Why no bytes come.
enum Broken {
    /// The object is gone, or is another one.
    Lost,
    /// This may get better.
    For(Refusal),
}

impl Reader {
    pub(crate) fn new(object: Arc<Object>) -> Self {
        Self {
            object,
            state: State::Idle,
            trouble: Trouble::default(),
        }
    }

    /// The next bytes from `position` on, which is before `end`. Has to be called with the position after the bytes
    /// that it gave before.
    pub(crate) fn poll(
        &mut self,
        position: u64,
        end: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, ReadError>> {
        loop {
            let broken = match &mut self.state {
                State::Idle => {
                    self.state = State::Asking(ask(Arc::clone(&self.object), position, end).boxed());
                    continue;
                }
                State::Asking(answer) => match ready!(answer.as_mut().poll(context)) {
                    Ok(body) => {
                        self.state = State::Receiving { body, stall: None };
                        continue;
                    }
                    Err(broken) => broken,
                },
                State::Receiving { body, stall } => match ready!(receive(body, stall, context)) {
                    Ok(piece) => {
                        self.trouble = Trouble::default();
                        return Poll::Ready(Ok(cut(piece, end - position)));
                    }
                    Err(refusal) => Broken::For(refusal),
                },
                State::Resting(rest) => {
                    ready!(rest.as_mut().poll(context));
                    self.state = State::Idle;
                    continue;
                }
            };
            self.state = State::Idle;
            match self.rest_after(broken) {
                Ok(rest) => self.state = State::Resting(Box::pin(rest)),
                Err(Broken::For(refusal)) => {
                    let fault = self.object.bucket.refused(ACTION, refusal);
                    return Poll::Ready(Err(ReadError::Storage(fault)));
                }
                Err(Broken::Lost) => {
                    self.object.ends_early();
                    let (offset, expected) = (position, end);
                    return Poll::Ready(Err(ReadError::Truncated { offset, expected }));
                }
            }
        }
    }

    /// The pause before the next attempt, if there is to be one.
    fn rest_after(&mut self, broken: Broken) -> Result<Sleep, Broken> {
        let Broken::For(refusal) = broken else {
            return Err(broken);
        };
        let trouble = &mut self.trouble;
        trouble.silences += u32::from(matches!(refusal, Refusal::Timeout));
        if trouble.attempts == ATTEMPTS || trouble.silences == SILENCES {
            return Err(Broken::For(refusal));
        }
        tracing::debug!(%refusal, attempts = trouble.attempts, "resume reading an object");
        let pause = PAUSE * 2_u32.pow(trouble.attempts);
        trouble.attempts += 1;
        Ok(sleep(pause))
    }
}

/// Asks for the bytes from `position` to before `end`.
async fn ask(object: Arc<Object>, position: u64, end: u64) -> Result<SdkBody, Broken> {
    let bucket = &object.bucket;
    let mut get = bucket
        .prompt
        .get_object()
        .bucket(&bucket.name)
        .key(&object.name)
        .set_if_match(object.tag.clone());
    if (position, end) != (0, object.size) {
        get = get.range(format!("bytes={position}-{}", end - 1));
    }
    let answer = get.customize().config_override(once()).send().await;
    let answer = answer.map_err(|error| match (&error, error.code()) {
        (SdkError::ServiceError(_), Some("NoSuchKey" | "PreconditionFailed" | "InvalidRange")) => {
            Broken::Lost
        }
        _ => Broken::For(Refusal::of(&error)),
    })?;
    match Sent::of(&answer) {
        Some(sent) if sent.of != object.size => Err(Broken::Lost),
        Some(sent) if (sent.from, sent.length) == (position, end - position) => Ok(answer.body.into_inner()),
        _ => {
            let other = "other bytes than were asked for";
            Err(Broken::For(Refusal::Nonsense(other.to_owned())))
        }
    }
}

/// Which bytes an answer says that it brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sent {
    from: u64,
    length: u64,
    /// The length of the whole object.
    of: u64,
}

impl Sent {
    fn of(answer: &GetObjectOutput) -> Option<Self> {
        let length = u64::try_from(answer.content_length()?).ok()?;
        let Some(range) = answer.content_range() else {
            return Some(Self {
                from: 0,
                length,
                of: length,
            });
        };
        let (bytes, of) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (from, _) = bytes.split_once('-')?;
        Some(Self {
            from: from.parse().ok()?,
            length,
            of: of.parse().ok()?,
        })
    }
}

/// The next bytes of an answer, of which there are some.
fn receive(
    body: &mut SdkBody,
    stall: &mut Option<Pin<Box<Sleep>>>,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, Refusal>> {
    loop {
        match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) if !piece.is_empty() => {
                    *stall = None;
                    return Poll::Ready(Ok(piece));
                }
                _ => {}
            },
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Refusal::broken(&*error))),
            Poll::Ready(None) => {
                let end = Refusal::Nonsense("fewer bytes than it had promised".to_owned());
                return Poll::Ready(Err(end));
            }
            Poll::Pending => {
                let stall = stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
                ready!(stall.as_mut().poll(context));
                return Poll::Ready(Err(Refusal::Timeout));
            }
        }
    }
}

fn cut(mut piece: Bytes, wanted: u64) -> Bytes {
    piece.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    piece
}
