//! Checking passwords against argon2id, bcrypt and `$sha256$` hashes, off the runtime (A2).

use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use aws_lc_rs::digest;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::clock::Millis;

/// Verifications that run at once: each costs up to 100 ms of a core and some megabytes.
const AT_ONCE: usize = 2;

/// An argon2id hash of nothing that anybody knows: an unknown login takes as long as a wrong password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cXVheXNpZGUtbm9ib2R5$8mI6cVgDhvDq0YHyfM6D0N5k1V7s3O5qJ0mJ3sJ9dXk";

/// Verifies passwords, a bounded number at a time.
pub(crate) struct Verifier {
    permits: Arc<Semaphore>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Verifier {
    /// Until when the first matching hash is good, in milliseconds since the epoch; `None` if none matches.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        hashes: Vec<(SecretString, Millis)>,
    ) -> Option<Millis> {
        let quick = hashes
            .iter()
            .find(|(hash, _)| matches_sha256(&password, hash.expose_secret()));
        if let Some((_, until)) = quick {
            return Some(*until);
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let slow = move || {
            let _permit = permit;
            if hashes.is_empty() {
                matches_slowly(&password, NOBODY);
            }
            hashes
                .iter()
                .find(|(hash, _)| matches_slowly(&password, hash.expose_secret()))
                .map(|(_, until)| *until)
        };
        tokio::task::spawn_blocking(slow).await.ok().flatten()
    }
}

fn matches_sha256(password: &SecretString, hash: &str) -> bool {
    let Some(expected) = hash.strip_prefix("$sha256$") else {
        return false;
    };
    let actual = digest::digest(&digest::SHA256, password.expose_secret().as_bytes());
    decode_hex(expected).is_some_and(|expected| actual.as_ref().ct_eq(&expected).into())
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn matches_slowly(password: &SecretString, hash: &str) -> bool {
    let password = password.expose_secret();
    if hash.starts_with("$argon2id$") {
        let parsed = PasswordHash::new(hash);
        return parsed.is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        });
    }
    hash.starts_with("$2") && bcrypt::verify(password, hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(texts: &[&str]) -> Vec<(SecretString, Millis)> {
        texts
            .iter()
            .zip(1..)
            .map(|(text, until)| (SecretString::from(*text), until))
            .collect()
    }

    /// A2: each kind of hash knows its password and no other; the matching hash says how long it is good.
    #[tokio::test]
    async fn knows_the_right_password_for_every_kind_of_hash() {
        use argon2::PasswordHasher as _;
        let argon2 = Argon2::default().hash_password(b"right").unwrap().to_string();
        let bcrypt = bcrypt::hash("right", 4).unwrap();
        // printf right | sha256sum
        let sha256 = "$sha256$27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";
        let verifier = Verifier::default();
        for hash in [argon2.as_str(), bcrypt.as_str(), sha256] {
            assert_eq!(
                verifier.verify("right".into(), hashes(&[hash])).await,
                Some(1),
                "{hash}"
            );
            assert_eq!(
                verifier.verify("wrong".into(), hashes(&[hash])).await,
                None,
                "{hash}"
            );
        }
        assert_eq!(
            verifier
                .verify("right".into(), hashes(&["$2b$04$x", &argon2]))
                .await,
            Some(2)
        );
        assert_eq!(verifier.verify("right".into(), vec![]).await, None);
    }
}
