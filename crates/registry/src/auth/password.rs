//! Checking passwords against argon2id, bcrypt and `$sha256$` hashes (A2).

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use aws_lc_rs::digest;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::clock::Millis;

/// An argon2id hash of nothing that anybody knows.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cXVheXNpZGUtbm9ib2R5$8mI6cVgDhvDq0YHyfM6D0N5k1V7s3O5qJ0mJ3sJ9dXk";

const SHA256: &str = "$sha256$";

/// The hashes of one login's passwords, each with the moment from which on it is wrong.
#[derive(Clone, Default)]
pub(crate) struct Hashes {
    pub(crate) right: Vec<(SecretString, Millis)>,
    /// What a password is compared with if there is nothing else that costs time, so that nobody can tell by the
    /// time whether a login exists. Never right.
    pub(crate) decoy: Option<SecretString>,
    /// How many comparisons a wrong password costs at least, for the same reason. A password that is being replaced
    /// has two hashes.
    pub(crate) comparisons: usize,
}

impl Hashes {
    /// Until when the password is good by a hash that costs nothing to check; `None` if by none.
    pub(crate) fn quick_match(&self, password: &SecretString) -> Option<Millis> {
        let mut quick = self
            .right
            .iter()
            .filter_map(|(hash, until)| Some((hash.expose_secret().strip_prefix(SHA256)?, until)));
        quick
            .find(|(hex, _)| is_sha256(password, hex))
            .map(|(_, until)| *until)
    }

    /// Until when the password is good by any other hash. Takes up to a second of a core and some megabytes, and
    /// is not much quicker if there is no such hash.
    pub(crate) fn slow_match(&self, password: &SecretString) -> Option<Millis> {
        let slow = self
            .right
            .iter()
            .filter(|(hash, _)| !hash.expose_secret().starts_with(SHA256));
        let mut found = None;
        let mut compared = 0;
        for (hash, until) in slow {
            compared += 1;
            if matches(password, hash.expose_secret()) {
                found = found.max(Some(*until));
            }
        }
        let decoy = self.decoy.as_ref().map_or(NOBODY, |decoy| decoy.expose_secret());
        while found.is_none() && compared < self.comparisons.max(1) {
            compared += 1;
            matches(password, decoy);
        }
        found
    }
}

fn is_sha256(password: &SecretString, hex: &str) -> bool {
    let actual = digest::digest(&digest::SHA256, password.expose_secret().as_bytes());
    decode_hex(hex).is_some_and(|expected| actual.as_ref().ct_eq(&expected).into())
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn matches(password: &SecretString, hash: &str) -> bool {
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
    use argon2::PasswordHasher as _;

    use super::*;

    // printf right | sha256sum
    const QUICK: &str = "$sha256$27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";

    fn hashes(texts: &[&str]) -> Hashes {
        Hashes {
            right: texts
                .iter()
                .zip(1..)
                .map(|(text, until)| (SecretString::from(*text), until))
                .collect(),
            decoy: None,
            comparisons: 1,
        }
    }

    /// A2: each kind of hash knows its password and no other.
    #[test]
    fn knows_the_right_password_for_every_kind_of_hash() {
        let argon2 = Argon2::default().hash_password(b"right").unwrap().to_string();
        let bcrypt = bcrypt::hash("right", 4).unwrap();
        let kinds = ["$2a$", "$2b$", "$2y$"].map(|kind| bcrypt.replacen("$2b$", kind, 1));
        for hash in [&argon2].into_iter().chain(&kinds) {
            assert_eq!(hashes(&[hash]).slow_match(&"right".into()), Some(1), "{hash}");
            assert_eq!(hashes(&[hash]).slow_match(&"wrong".into()), None, "{hash}");
            assert_eq!(hashes(&[hash]).quick_match(&"right".into()), None, "{hash}");
        }
        assert_eq!(hashes(&[QUICK]).quick_match(&"right".into()), Some(1));
        assert_eq!(hashes(&[QUICK]).quick_match(&"wrong".into()), None);
        assert_eq!(hashes(&[QUICK]).slow_match(&"right".into()), None);
    }

    /// A2: of several passwords any is right, and the hash that matches says how long.
    #[test]
    fn the_hash_that_matches_says_until_when() {
        let bcrypt = bcrypt::hash("old", 4).unwrap();
        let both = hashes(&["$2b$04$x", &bcrypt, QUICK]);
        assert_eq!(both.slow_match(&"old".into()), Some(2));
        assert_eq!(both.quick_match(&"right".into()), Some(3));
    }

    /// A2: a login that does not exist costs what a wrong password costs, and no password is right for it.
    #[test]
    fn compares_with_a_decoy_when_there_is_nothing_else() {
        let parsed = PasswordHash::new(NOBODY).unwrap();
        let real = Argon2::default().hash_password(b"x").unwrap();
        assert_eq!(parsed.algorithm, real.algorithm);
        assert_eq!(
            parsed.params.to_string(),
            real.params.to_string(),
            "costs what our own hashes cost"
        );
        assert_eq!(hashes(&[]).slow_match(&"".into()), None);
        let decoy = Hashes {
            right: Vec::new(),
            decoy: Some(bcrypt::hash("right", 4).unwrap().into()),
            comparisons: 1,
        };
        assert_eq!(decoy.slow_match(&"right".into()), None);
    }
}
