//! Tokens of the token service: who, and which of the asked scopes were granted (A1).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::key::SigningKeys;
use crate::clock::Millis;

/// How long a token is good, in seconds.
pub(crate) const LIFETIME_SECONDS: i64 = 300;
/// How many tokens are remembered as verified.
const REMEMBERED: u64 = 10_000;
const ISSUER: &str = "quayside";

/// One asked scope and what of it was granted, possibly nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
    access: Vec<Grant>,
}

/// A token of ours, read.
#[derive(Debug)]
pub(crate) struct Verified {
    /// A login, or empty for nobody.
    pub(crate) subject: String,
    pub(crate) access: Arc<[Grant]>,
    /// In seconds since the epoch.
    expires: i64,
}

/// Signs and verifies tokens.
pub(crate) struct Tokens {
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    audience: String,
    /// What was verified, by the SHA-256 of the token: a client sends the same one with every request. The keys never
    /// change, so all that a verification can come to later is that the token has expired.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

impl Tokens {
    /// Tokens for the service `audience`; the first key signs, all verify.
    pub(crate) fn new(keys: &SigningKeys, audience: String) -> Self {
        Self {
            signing: EncodingKey::from_secret(keys.first()),
            verifying: keys.all().map(DecodingKey::from_secret).collect(),
            audience,
            verified: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(Duration::from_secs(LIFETIME_SECONDS.unsigned_abs()))
                .build(),
        }
    }

    /// A token for `subject` (a login, or empty for nobody).
    pub(crate) fn issue(&self, subject: &str, access: Vec<Grant>, now: Millis) -> Option<String> {
        let iat = now / 1_000;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: self.audience.clone(),
            sub: subject.to_owned(),
            iat,
            exp: iat + LIFETIME_SECONDS,
            access,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).ok()
    }

    /// What a token of ours says, if it is still good.
    pub(crate) fn verify(&self, token: &str, now: Millis) -> Option<Arc<Verified>> {
        let key = digest::digest(&digest::SHA256, token.as_bytes());
        let key = key.as_ref().try_into().ok()?;
        let verified = if let Some(verified) = self.verified.get(&key) {
            verified
        } else {
            let verified = Arc::new(self.read(token)?);
            self.verified.insert(key, Arc::clone(&verified));
            verified
        };
        (now / 1_000 < verified.expires).then_some(verified)
    }

    /// Checks the signature and all claims but the time.
    fn read(&self, token: &str) -> Option<Verified> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[ISSUER]);
        // The library asks the machine's clock; ours may be another.
        validation.validate_exp = false;
        let claims = self.verifying.iter().find_map(|key| {
            jsonwebtoken::decode::<Claims>(token, key, &validation)
                .ok()
                .map(|decoded| decoded.claims)
        })?;
        Some(Verified {
            subject: claims.sub,
            access: claims.access.into(),
            expires: claims.exp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: u8, audience: &str) -> Tokens {
        Tokens::new(
            &SigningKeys::parse(&format!("{secret:02x}").repeat(32)).unwrap(),
            audience.to_owned(),
        )
    }

    fn grants() -> Vec<Grant> {
        vec![Grant {
            kind: "repository".to_owned(),
            name: "a/b".to_owned(),
            actions: vec!["pull".to_owned()],
        }]
    }

    /// A1: a token says who and what it lists, for 300 s.
    #[test]
    fn a_token_says_who_and_lists_its_scopes_for_five_minutes() {
        let tokens = tokens(1, "registry.example.com");
        let token = tokens.issue("alice", grants(), 1_000_000).unwrap();
        let verified = tokens.verify(&token, 1_000_000).unwrap();
        assert_eq!(
            (verified.subject.as_str(), verified.access.to_vec()),
            ("alice", grants())
        );
        assert!(tokens.verify(&token, 1_299_999).is_some());
        assert!(tokens.verify(&token, 1_300_000).is_none());
    }

    /// A1: foreign keys, foreign audiences and `alg: none` are no tokens of ours.
    #[test]
    fn foreign_and_unsigned_tokens_are_refused() {
        let ours = tokens(1, "registry.example.com");
        let token = ours.issue("alice", grants(), 1_000_000).unwrap();
        assert!(
            tokens(2, "registry.example.com")
                .verify(&token, 1_000_000)
                .is_none()
        );
        assert!(tokens(1, "other.example.com").verify(&token, 1_000_000).is_none());
        // {"alg":"none","typ":"JWT"}
        let payload = token.split('.').nth(1).unwrap();
        // What is remembered of one token says nothing about another.
        assert!(ours.verify(&token, 1_000_000).is_some());
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        assert!(ours.verify(&unsigned, 1_000_000).is_none());
    }

    /// A1: the first key signs and all verify, so a key can be replaced while tokens of the old one are out.
    #[test]
    fn a_token_of_an_older_key_is_still_good() {
        let (audience, old) = ("registry.example.com", tokens(1, "registry.example.com"));
        let both = format!("{}\n{}\n", "02".repeat(32), "01".repeat(32));
        let both = Tokens::new(&SigningKeys::parse(&both).unwrap(), audience.to_owned());
        let token = old.issue("alice", grants(), 1_000_000).unwrap();
        assert!(both.verify(&token, 1_000_000).is_some());
        let token = both.issue("alice", grants(), 1_000_000).unwrap();
        assert!(old.verify(&token, 1_000_000).is_none());
        assert!(tokens(2, audience).verify(&token, 1_000_000).is_some());
    }
}
