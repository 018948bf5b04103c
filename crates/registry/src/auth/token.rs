//! Tokens of the token service: who, and which of the asked scopes were granted (A1).

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::key::SigningKeys;
use crate::clock::Millis;

/// How long a token is good, in seconds.
pub(crate) const LIFETIME_SECONDS: i64 = 300;
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

/// Signs and verifies tokens.
pub(crate) struct Tokens {
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    audience: String,
}

impl Tokens {
    /// Tokens for the service `audience`; the first key signs, all verify.
    pub(crate) fn new(keys: &SigningKeys, audience: String) -> Self {
        Self {
            signing: EncodingKey::from_secret(keys.first()),
            verifying: keys.all().map(DecodingKey::from_secret).collect(),
            audience,
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

    /// Subject and grants of a token of ours that is still good.
    pub(crate) fn verify(&self, token: &str, now: Millis) -> Option<(String, Arc<[Grant]>)> {
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
        (now / 1_000 < claims.exp).then(|| (claims.sub, claims.access.into()))
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
        let (who, access) = tokens.verify(&token, 1_000_000).unwrap();
        assert_eq!((who.as_str(), access.to_vec()), ("alice", grants()));
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
