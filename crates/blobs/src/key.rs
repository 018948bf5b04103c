//! Where a blob lies in storage.

use std::{fmt, sync::Arc};

use quayside_oci::{Algorithm, Digest};
use thiserror::Error;

/// The longest token that a key may carry, in bytes.
const MAX_TOKEN: usize = 64;

/// The last component of every key. A folder per fill keeps a key from being the prefix folder of another one,
/// which stores that map keys to paths cannot hold.
const LEAF: &str = "data";

/// The place of one blob in storage: `<algorithm>/<aa>/<hex>/<token>/data`.
///
/// `aa` are the first two digits of `hex`, the digest in full (B9); the token belongs to one fill, so that no
/// key is ever written twice (G3). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StorageKey(Arc<str>);

/// Why a text is not a [`StorageKey`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum KeyError {
    /// The token is empty, longer than 64 bytes, or has other characters than `a-z` and `0-9`.
    #[error("read storage key: the token is not 1 to 64 characters of a-z and 0-9")]
    Token,
    /// The text does not have the shape `<algorithm>/<aa>/<hex>/<token>/data`.
    #[error("read storage key: not of the form <algorithm>/<aa>/<hex>/<token>/data")]
    Shape,
}

impl StorageKey {
    /// The key under which the fill named `token` stores the blob `digest`.
    pub fn new(digest: &Digest, token: &str) -> Result<Self, KeyError> {
        if !is_token(token) {
            return Err(KeyError::Token);
        }
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        Ok(Self(
            format!("{algorithm}/{}/{hex}/{token}/{LEAF}", &hex[..2]).into(),
        ))
    }

    /// Reads back what [`StorageKey::as_str`] gave. Anything else is refused, above all whatever a path could
    /// be led astray with: `..`, empty components, absolute paths, NUL.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let parts: Vec<&str> = text.splitn(6, '/').collect();
        let [algorithm, shard, hex, token, LEAF] = parts[..] else {
            return Err(KeyError::Shape);
        };
        let known = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|known| known.as_str() == algorithm);
        let digits = known.ok_or(KeyError::Shape)?.hex_len();
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != digits || !hex.bytes().all(is_hex) || shard != &hex[..2] {
            return Err(KeyError::Shape);
        }
        if !is_token(token) {
            return Err(KeyError::Token);
        }
        Ok(Self(text.into()))
    }

    /// The key as text, as it is written to the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if this is a place for the bytes of `digest`.
    pub fn is_for(&self, digest: &Digest) -> bool {
        let mut parts = self.0.split('/');
        parts.next() == Some(digest.algorithm().as_str()) && parts.nth(1) == Some(digest.hex())
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether a text can be the token of a key, and so the name of a spool file.
pub(crate) fn is_token(token: &str) -> bool {
    (1..=MAX_TOKEN).contains(&token.len())
        && token
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest() -> Digest {
        Digest::of(Algorithm::Sha256, b"a layer")
    }

    /// B9: the full hex digest is a component of the key.
    #[test]
    fn holds_the_full_digest_and_the_token() {
        let key = StorageKey::new(&digest(), "t0").unwrap();
        let hex = digest().hex().to_owned();
        assert_eq!(key.as_str(), format!("sha256/{}/{hex}/t0/data", &hex[..2]));
        assert_eq!(StorageKey::parse(key.as_str()), Ok(key.clone()));
        assert!(key.is_for(&digest()));
        assert!(!key.is_for(&Digest::of(Algorithm::Sha256, b"another")));
        assert!(!key.is_for(&Digest::of(Algorithm::Sha512, b"a layer")));
    }

    #[test]
    fn holds_sha512_digests() {
        let key = StorageKey::new(&Digest::of(Algorithm::Sha512, b"x"), "t").unwrap();
        assert!(key.as_str().starts_with("sha512/"));
        assert_eq!(StorageKey::parse(key.as_str()), Ok(key));
    }

    #[test]
    fn refuses_tokens_that_are_no_path_component() {
        let long = "a".repeat(65);
        for token in ["", ".", "..", "a/b", "a-b", "A", "a\0", "a.b", "ä", long.as_str()] {
            assert_eq!(
                StorageKey::new(&digest(), token),
                Err(KeyError::Token),
                "{token:?}"
            );
        }
    }

    #[test]
    fn refuses_texts_that_lead_a_path_astray() {
        let good = StorageKey::new(&digest(), "t0").unwrap();
        let hex = digest().hex().to_owned();
        let texts = [
            String::new(),
            format!("/{good}"),
            format!("{good}/"),
            format!("{good}/.."),
            format!("./{good}"),
            format!("{good}\0"),
            format!("sha256/{}/{hex}/../data", &hex[..2]),
            format!("sha256/../{hex}/t0/data"),
            format!("sha256//{hex}/t0/data"),
            format!("sha256/{}/{hex}/t0/other", &hex[..2]),
            format!("sha256/{}/{hex}//data", &hex[..2]),
            format!("sha256/zz/{hex}/t0/data"),
            format!("md5/{}/{hex}/t0/data", &hex[..2]),
            format!("sha512/{}/{hex}/t0/data", &hex[..2]),
            good.as_str().to_uppercase(),
        ];
        for text in texts {
            assert!(StorageKey::parse(&text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parses_nothing_but_its_own_texts(text in "(sha256|sha512|[./a-f0]{0,8})?[./a-z0-9\\PC]{0,220}") {
            if let Ok(key) = StorageKey::parse(&text) {
                prop_assert_eq!(key.as_str(), text.as_str());
                prop_assert!(!text.contains("..") && !text.contains("//") && !text.starts_with('/'));
            }
        }
    }
}
