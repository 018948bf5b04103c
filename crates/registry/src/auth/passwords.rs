//! A2: who has the right password. What was checked is remembered for a while; who fails too often is not even
//! heard.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use moka::sync::Cache;
use quayside_config::User;
use quayside_oci::OrganizationName;
use secrecy::{ExposeSecret as _, SecretString};

use super::failures::{Failures, Source};
use super::password::Hashes;
use super::queue::Queue;
use super::{AuthError, Who};
use crate::clock::{Clock, Millis, millis};
use crate::organizations::Snapshot;

/// How long a good password is remembered, and a bad one.
const GOOD: Duration = Duration::from_mins(1);
const BAD: Duration = Duration::from_secs(5);
const REMEMBERED: u64 = 10_000;

/// Checks the passwords of users and robots.
pub(crate) struct Passwords {
    users: Vec<User>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
    queue: Queue,
    memory: Arc<Memory>,
    /// Makes keys of secrets. Of this process alone, so that nothing that is kept in memory can be tried out.
    fingerprint: hmac::Key,
}

struct Memory {
    verdicts: Cache<[u8; 32], Verdict>,
    failures: Mutex<Failures>,
}

/// What a check came to.
#[derive(Debug, Clone)]
struct Verdict {
    who: Option<Who>,
    since: Millis,
    until: Millis,
    generation: u64,
}

impl Verdict {
    /// A clock that was set back makes no verdict last longer.
    fn is_fresh(&self, now: Millis, generation: u64) -> bool {
        self.generation == generation && (self.since..self.until).contains(&now)
    }
}

/// One attempt to log in, with its secrets made into keys.
#[derive(Clone)]
struct Attempt {
    credential: [u8; 32],
    source: Source,
    client: IpAddr,
    /// The login if there is such a one. What else is typed there may be a password, which no log repeats (A6).
    login: Option<String>,
}

impl Passwords {
    pub(crate) fn new(
        users: Vec<User>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let fingerprint = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| anyhow::anyhow!("draw a random key"))?;
        Ok(Self {
            users,
            snapshot,
            clock,
            queue: Queue::default(),
            memory: Arc::new(Memory {
                verdicts: Cache::builder().max_capacity(REMEMBERED).build(),
                failures: Mutex::default(),
            }),
            fingerprint,
        })
    }

    /// Whether there is such a login, whatever its password.
    pub(crate) fn exists(&self, who: &Who) -> bool {
        match who {
            Who::Anonymous => true,
            Who::User(name) => self.users.iter().any(|user| user.name == *name),
            Who::Robot(organization, name) => {
                let snapshot = self.snapshot.load();
                snapshot
                    .get(organization)
                    .is_some_and(|served| served.spec.robots.iter().any(|robot| robot.name == *name))
            }
        }
    }

    /// Who logs in with this password from this address.
    pub(crate) async fn check(
        &self,
        login: &str,
        password: SecretString,
        client: IpAddr,
    ) -> Result<Who, AuthError> {
        let attempt = self.attempt(login, &password, client);
        if let Some(answer) = self.recall(&attempt) {
            return answer;
        }
        let (now, snapshot) = (self.clock.now(), self.snapshot.load_full());
        let who = Who::parse(login).filter(|who| *who != Who::Anonymous);
        let hashes = self.hashes(login, who.as_ref(), &snapshot, now);
        if let Some(until) = hashes.quick_match(&password) {
            return self
                .memory
                .conclude(&attempt, who, until, now, snapshot.generation);
        }
        let turn = self.queue.turn().await.ok_or(AuthError::Busy)?;
        // Who waited here with the same credentials, or failed from the same place, may be known by now.
        if let Some(answer) = self.recall(&attempt) {
            return answer;
        }
        let (memory, generation) = (Arc::clone(&self.memory), snapshot.generation);
        // The result is written down even if the client has gone: leaving early is no way to fail in secret.
        let checking = move || {
            let _turn = turn;
            let until = hashes.slow_match(&password);
            let who = until.and(who);
            memory.conclude(&attempt, who, until.unwrap_or(Millis::MAX), now, generation)
        };
        tokio::task::spawn_blocking(checking)
            .await
            .unwrap_or(Err(AuthError::Busy))
    }

    fn attempt(&self, login: &str, password: &SecretString, client: IpAddr) -> Attempt {
        let key = |parts: &[&[u8]]| {
            let mut context = hmac::Context::with_key(&self.fingerprint);
            for part in parts {
                context.update(&part.len().to_le_bytes());
                context.update(part);
            }
            context.sign().as_ref().try_into().unwrap_or_default()
        };
        Attempt {
            credential: key(&[
                b"credential",
                login.as_bytes(),
                password.expose_secret().as_bytes(),
            ]),
            source: key(&[b"source", login.as_bytes(), client.to_string().as_bytes()]),
            client,
            login: Who::parse(login)
                .filter(|who| self.exists(who))
                .map(|who| who.login()),
        }
    }

    /// The answer, if no hash is needed for it.
    fn recall(&self, attempt: &Attempt) -> Option<Result<Who, AuthError>> {
        let (now, generation) = (self.clock.now(), self.snapshot.load().generation);
        let known = self.memory.verdicts.get(&attempt.credential);
        let known = known.filter(|verdict| verdict.is_fresh(now, generation));
        if let Some(Verdict { who: Some(who), .. }) = &known {
            return Some(Ok(who.clone()));
        }
        let mut failures = self.memory.failures();
        if let Some(wait) = failures.wait(&attempt.source, now) {
            return Some(Err(AuthError::TooManyFailures { wait }));
        }
        known?;
        failures.count_attempt(attempt, now);
        Some(Err(AuthError::WrongPassword))
    }

    /// What the password of a login is compared with.
    fn hashes(&self, login: &str, who: Option<&Who>, snapshot: &Snapshot, now: Millis) -> Hashes {
        match who {
            Some(Who::User(name)) => Hashes {
                right: self
                    .users
                    .iter()
                    .filter(|user| user.name == *name)
                    .map(|user| (user.password_hash.clone(), Millis::MAX))
                    .collect(),
                decoy: self.decoy(login),
                comparisons: 1,
            },
            Some(Who::Robot(organization, name)) => Hashes {
                right: robot_hashes(snapshot, organization, name, now),
                decoy: None,
                comparisons: 2,
            },
            Some(Who::Anonymous) | None => Hashes::default(),
        }
    }

    /// The hash of some user, always the same for one login: one that does not exist costs what one of those that
    /// do would cost.
    fn decoy(&self, login: &str) -> Option<SecretString> {
        let tag = hmac::sign(&self.fingerprint, login.as_bytes());
        let number = tag
            .as_ref()
            .iter()
            .take(4)
            .fold(0, |number: usize, byte| number << 8 | usize::from(*byte));
        let user = self.users.get(number.checked_rem(self.users.len())?)?;
        Some(user.password_hash.clone())
    }
}

impl Memory {
    fn failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a check came to, and answers with it. `until` is when the matching hash lapses.
    fn conclude(
        &self,
        attempt: &Attempt,
        who: Option<Who>,
        until: Millis,
        now: Millis,
        generation: u64,
    ) -> Result<Who, AuthError> {
        let span = if who.is_some() { GOOD } else { BAD };
        let verdict = Verdict {
            who: who.clone(),
            since: now,
            until: now.saturating_add(millis(span)).min(until),
            generation,
        };
        self.verdicts.insert(attempt.credential, verdict);
        who.ok_or_else(|| {
            self.failures().count_attempt(attempt, now);
            AuthError::WrongPassword
        })
    }
}

impl Failures {
    fn count_attempt(&mut self, attempt: &Attempt, now: Millis) {
        if self.count(attempt.source, now) {
            let login = attempt.login.as_deref();
            tracing::warn!(client = %attempt.client, login, "too many failed attempts to log in");
        }
    }
}

/// The hashes of a robot that have not lapsed.
fn robot_hashes(
    snapshot: &Snapshot,
    organization: &OrganizationName,
    name: &str,
    now: Millis,
) -> Vec<(SecretString, Millis)> {
    let robots = snapshot
        .get(organization)
        .into_iter()
        .flat_map(|served| &served.spec.robots);
    let hashes = robots
        .filter(|robot| robot.name == name)
        .flat_map(|robot| &robot.password_hashes);
    let hashes = hashes.map(|hash| {
        let lapse = hash.not_after.map(jiff::Timestamp::as_millisecond);
        (hash.hash.clone(), lapse.unwrap_or(Millis::MAX))
    });
    hashes.filter(|(_, lapse)| now < *lapse).collect()
}

#[cfg(test)]
mod tests;
