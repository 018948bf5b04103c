//! What one replica shows another to read its fills (A1, ENGINE §3.4): a minute's token for one blob.

use std::collections::HashSet;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quayside_oci::Digest;
use serde::{Deserialize, Serialize};

use super::key::SigningKeys;
use crate::clock::Millis;

/// How long a token is good, in seconds.
const LIFETIME_SECONDS: i64 = 60;
const AUDIENCE: &str = "peer";
const ISSUER: &str = "quayside";

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
}

/// Signs and verifies what replicas ask each other with.
pub(crate) struct PeerTokens {
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    validation: Validation,
}

impl PeerTokens {
    /// The first key signs, all verify.
    pub(crate) fn new(keys: &SigningKeys) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        // The library asks the machine's clock; ours may be another.
        validation.validate_exp = false;
        validation.required_spec_claims = HashSet::from(["aud", "exp", "iss", "sub"].map(str::to_owned));
        Self {
            signing: EncodingKey::from_secret(keys.first()),
            verifying: keys.all().map(DecodingKey::from_secret).collect(),
            validation,
        }
    }

    /// A token for the bytes of one blob.
    pub(crate) fn issue(&self, digest: &Digest, now: Millis) -> Option<String> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: digest.as_str().to_owned(),
            exp: now / 1_000 + LIFETIME_SECONDS,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).ok()
    }

    /// For which blob a token of ours is good now.
    pub(crate) fn verify(&self, token: &str, now: Millis) -> Option<Digest> {
        let claims = self.verifying.iter().find_map(|key| {
            jsonwebtoken::decode::<Claims>(token, key, &self.validation)
                .ok()
                .map(|data| data.claims)
        })?;
        (now / 1_000 < claims.exp)
            .then(|| claims.sub.parse().ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::Tokens;

    const NOW: Millis = 1_000_000;

    fn keys(bytes: &[&str]) -> SigningKeys {
        let lines: Vec<_> = bytes.iter().map(|byte| byte.repeat(32)).collect();
        SigningKeys::parse(&lines.join("\n")).unwrap()
    }

    fn digest() -> Digest {
        format!("sha256:{}", "ab".repeat(32)).parse().unwrap()
    }

    /// A1: a peer's token is good for one blob, for a minute.
    #[test]
    fn a_token_is_good_for_one_blob_and_a_minute() {
        let tokens = PeerTokens::new(&keys(&["01"]));
        let token = tokens.issue(&digest(), NOW).unwrap();
        assert_eq!(tokens.verify(&token, NOW + 59_999), Some(digest()));
        assert_eq!(tokens.verify(&token, NOW + 60_000), None);
    }

    /// A1: all keys verify, foreign ones do not.
    #[test]
    fn a_token_of_an_older_key_is_good_and_one_of_a_foreign_key_is_not() {
        let old = PeerTokens::new(&keys(&["01"]));
        let token = old.issue(&digest(), NOW).unwrap();
        assert!(
            PeerTokens::new(&keys(&["02", "01"]))
                .verify(&token, NOW)
                .is_some()
        );
        assert!(PeerTokens::new(&keys(&["02"])).verify(&token, NOW).is_none());
    }

    /// A1: what clients get from the token service opens no peer port, whatever the registry is called; unsigned
    /// tokens neither.
    #[test]
    fn tokens_of_clients_and_unsigned_ones_are_refused() {
        let keys = keys(&["01"]);
        let clients = Tokens::new(&keys, AUDIENCE.to_owned());
        let peers = PeerTokens::new(&keys);
        let token = clients.issue("alice", Vec::new(), NOW).unwrap();
        assert!(peers.verify(&token, NOW).is_none());
        let ours = peers.issue(&digest(), NOW).unwrap();
        assert!(clients.verify(&ours, NOW).is_none());
        // {"alg":"none","typ":"JWT"}
        let payload = ours.split('.').nth(1).unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        assert!(peers.verify(&unsigned, NOW).is_none());
    }
}
