//! How long an upload waits for a bucket.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{
    super::Refusal,
    trouble::{self, Kind},
};

/// The first pause before something is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many bytes a server may take a second for when it puts the parts of an object together.
const ASSEMBLED_IN_A_SECOND: u64 = 64 << 20;

/// How long an upload waits for a bucket before it gives up. Nobody reads or writes the slower for it; but room in
/// the spool is held as long.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A call on which nothing has moved for so long is broken off, after at most twice as long.
    pub silence: Duration,
    /// A call that fails is tried again for so long; one that serves a blob which still arrives, as long as that is so.
    pub outage: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(20),
            outage: Duration::from_mins(1),
        }
    }
}

impl Patience {
    /// The same for a call at which the server has `size` bytes to put together before it answers.
    pub(super) fn to_assemble(self, size: u64) -> Self {
        let more = Duration::from_secs(size / ASSEMBLED_IN_A_SECOND);
        Self {
            silence: self.silence + more,
            outage: self.outage + more,
        }
    }

    pub(super) fn tries(self) -> Tries {
        Tries {
            outage: self.outage,
            deadline: Instant::now() + self.outage,
            pause: PAUSE,
        }
    }
}

/// Something that counts up as long as there is progress.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits for `call` as long as `pulse` beats at least once in `silence`.
pub(super) async fn attended<T>(
    pulse: &Pulse,
    silence: Duration,
    call: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let mut call = pin!(call);
    loop {
        let before = pulse.count();
        match timeout(silence, &mut call).await {
            Ok(done) => return Ok(done),
            Err(_) if pulse.count() != before => {}
            Err(_) => return Err(Refusal::Timeout),
        }
    }
}

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Tries {
    outage: Duration,
    deadline: Instant,
    pause: Duration,
}

impl Tries {
    /// Nobody waits for the end of the call yet.
    pub(super) fn have_time(&mut self) {
        self.deadline = Instant::now() + self.pause + self.outage;
    }

    /// Waits before the next try, unless the refusal stays or such ones have come for too long.
    pub(super) async fn again(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if trouble::kind(&refusal) != Kind::Passing || Instant::now() + self.pause > self.deadline {
            return Err(refusal);
        }
        tracing::debug!(error = %refusal, "use bucket again");
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O2: what moves, however slowly, is waited for; what does not is broken off.
    #[tokio::test(start_paused = true)]
    async fn waits_as_long_as_there_is_progress() {
        let silence = Duration::from_secs(20);
        let pulse = Pulse::default();
        let slow = async {
            for _ in 0..100 {
                sleep(Duration::from_secs(19)).await;
                pulse.beat();
            }
            7
        };
        assert_eq!(attended(&pulse, silence, slow).await.unwrap(), 7);
        let begun = Instant::now();
        let hung = attended(&pulse, silence, std::future::pending::<()>()).await;
        assert!(matches!(hung, Err(Refusal::Timeout)));
        assert_eq!(begun.elapsed(), silence);
    }
}
