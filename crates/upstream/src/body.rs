//! Reading bodies: with patience per byte and overall, and never more than asked for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};

use crate::client::send::{self, Answer};
use crate::error::UpstreamError;
use crate::observer::Event;

/// When a transfer counts as too slow to go on with: fewer than `bytes_per_second` on average over
/// `window` of waiting. Time that the reader spends elsewhere does not count.
#[derive(Debug, Clone, Copy)]
pub struct DripLimit {
    /// The least acceptable average.
    pub bytes_per_second: u64,
    /// Over how much waiting it is taken.
    pub window: Duration,
}

impl Default for DripLimit {
    /// 10 KiB/s over 2 minutes.
    fn default() -> Self {
        Self {
            bytes_per_second: 10 << 10,
            window: Duration::from_mins(2),
        }
    }
}

/// Measures the pace of one transfer.
#[derive(Debug)]
struct Pace {
    limit: DripLimit,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(limit: DripLimit) -> Self {
        Self {
            limit,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How much waiting is left until the average is looked at.
    fn left(&self) -> Duration {
        self.limit.window.saturating_sub(self.waited)
    }

    /// Counts `bytes` that took `waited` to come; false if that is too slow.
    fn keeps_up(&mut self, bytes: usize, waited: Duration) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < self.limit.window {
            return true;
        }
        let least = self
            .limit
            .bytes_per_second
            .saturating_mul(self.limit.window.as_secs().max(1));
        let enough = self.bytes >= least;
        self.waited = Duration::ZERO;
        self.bytes = 0;
        enough
    }
}

/// The bytes of a blob as they arrive.
#[derive(Debug)]
pub struct BlobBody {
    answer: Option<Answer>,
    pace: Pace,
    read_timeout: Duration,
}

impl BlobBody {
    pub(crate) fn new(answer: Answer, read_timeout: Duration, drip: DripLimit) -> Self {
        Self {
            answer: Some(answer),
            pace: Pace::new(drip),
            read_timeout,
        }
    }

    /// The next bytes, never empty; nothing once the body is complete, or after an error.
    ///
    /// [`UpstreamError::Broken`] if the connection ended early, also if fewer bytes came than the
    /// answer announced; [`UpstreamError::Timeout`] if nothing came for the read timeout or too
    /// little for the drip limit. Either can be resumed from what was received (B3).
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes, UpstreamError>> {
        let answer = self.answer.as_mut()?;
        let chunk = read(answer, &mut self.pace, self.read_timeout).await;
        if !matches!(chunk, Ok(Some(_))) {
            self.answer = None;
        }
        chunk.transpose()
    }
}

/// One chunk that is not empty, or the end.
async fn read(
    answer: &mut Answer,
    pace: &mut Pace,
    read_timeout: Duration,
) -> Result<Option<Bytes>, UpstreamError> {
    let slow = |answer: &Answer| UpstreamError::Timeout {
        host: answer.host.clone(),
    };
    let mut silent = Duration::ZERO;
    loop {
        let started = Instant::now();
        let patience = read_timeout.saturating_sub(silent).min(pace.left());
        let read = timeout(patience, answer.response.chunk()).await;
        let waited = started.elapsed();
        silent += waited;
        match read {
            Err(_) if silent >= read_timeout => return Err(slow(answer)),
            Err(_) if pace.keeps_up(0, waited) => {}
            Err(_) => return Err(slow(answer)),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(chunk))) if !pace.keeps_up(chunk.len(), waited) => return Err(slow(answer)),
            Ok(Ok(Some(chunk))) if chunk.is_empty() => {}
            Ok(Ok(Some(chunk))) => {
                let (host, bytes) = (&*answer.host, chunk.len());
                answer.observer.tell(Event::Received { host, bytes });
                return Ok(Some(chunk));
            }
            Ok(Err(error)) => return Err(send::broken(&answer.host, error)),
        }
    }
}

/// A whole body of at most `limit` bytes.
pub(crate) async fn read_whole(
    mut answer: Answer,
    limit: usize,
    read_timeout: Duration,
    drip: DripLimit,
) -> Result<Bytes, UpstreamError> {
    let too_large = UpstreamError::TooLarge {
        host: answer.host.clone(),
        limit,
    };
    if answer
        .response
        .content_length()
        .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large);
    }
    let mut pace = Pace::new(drip);
    let mut whole = BytesMut::new();
    while let Some(chunk) = read(&mut answer, &mut pace, read_timeout).await? {
        if whole.len() + chunk.len() > limit {
            return Err(too_large);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// ENGINE 3.3, B3
    #[test]
    fn gives_up_a_transfer_that_drips_and_keeps_one_that_is_merely_slow() {
        let mut drip = Pace::new(DripLimit::default());
        let mut slow = Pace::new(DripLimit::default());
        let lasted = (1..=240).take_while(|_| drip.keeps_up(1000, SECOND)).count();
        assert_eq!(lasted, 119, "judged after two minutes of waiting");
        assert!((1..=600).all(|_| slow.keeps_up(10 << 10, SECOND)));
    }

    /// ENGINE 3.3: only the disk slows a fill, and that is not the upstream's fault.
    #[test]
    fn does_not_count_the_time_that_the_reader_spends_elsewhere() {
        let mut pace = Pace::new(DripLimit::default());
        assert!((1..=100_000).all(|_| pace.keeps_up(1, Duration::ZERO)));
    }

    /// ENGINE 3.3
    #[test]
    fn forgets_a_fast_beginning() {
        let mut pace = Pace::new(DripLimit::default());
        assert!(pace.keeps_up(1 << 30, 120 * SECOND));
        assert!(!pace.keeps_up(1000, 120 * SECOND));
    }
}
