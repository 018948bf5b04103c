//! The forms in which passwords are stored (A2). Only the form is checked here; verifying is the registry's.

use secrecy::SecretString;
use serde_json::json;

use crate::kind::{Kind, text};

/// A hash of a password that a person chose: argon2id or bcrypt.
pub(crate) const USER_HASH: Kind<SecretString> = Kind {
    schema: || json!({ "type": "string", "pattern": "^\\$(argon2id\\$|2[aby]\\$)" }),
    read: |node| {
        let hash = text(node)?;
        if is_argon2id(hash) || is_bcrypt(hash) {
            Ok(hash.into())
        } else {
            Err("must be a password hash: argon2id ($argon2id$…) or bcrypt ($2a$…, $2b$…, $2y$…)".to_owned())
        }
    },
};

/// A hash of a robot's password, which may be random enough for a plain SHA-256 (in lower case afterwards).
pub(crate) const ROBOT_HASH: Kind<SecretString> = Kind {
    schema: || json!({ "type": "string", "pattern": "^\\$(argon2id\\$|2[aby]\\$|sha256\\$[0-9a-fA-F]{64}$)" }),
    read: |node| {
        let hash = text(node)?;
        if is_sha256(hash) {
            Ok(hash.to_ascii_lowercase().into())
        } else if is_argon2id(hash) || is_bcrypt(hash) {
            Ok(hash.into())
        } else {
            Err(
                "must be a password hash: $argon2id$…, $2a$…, $2b$…, $2y$… or $sha256$ and 64 hex digits"
                    .to_owned(),
            )
        }
    },
};

/// `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`, salt and hash in Base64 without padding.
fn is_argon2id(hash: &str) -> bool {
    let Some(rest) = hash.strip_prefix("$argon2id$v=19$") else {
        return false;
    };
    let parts: Vec<&str> = rest.split('$').collect();
    let [parameters, salt, output] = parts[..] else {
        return false;
    };
    let mut expected = ["m=", "t=", "p="].into_iter();
    let parameters = parameters.split(',').all(|parameter| {
        expected
            .next()
            .and_then(|name| parameter.strip_prefix(name))
            .is_some_and(|number| {
                number.bytes().all(|byte| byte.is_ascii_digit())
                    && number.parse::<u32>().is_ok_and(|number| number > 0)
            })
    }) && expected.next().is_none();
    let base64 = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
            && text.len() % 4 != 1
    };
    parameters && base64(salt) && salt.len() >= 11 && base64(output) && output.len() >= 16
}

/// `$2b$12$` and 53 characters of bcrypt's own Base64.
fn is_bcrypt(hash: &str) -> bool {
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|prefix| hash.strip_prefix(prefix));
    let Some((cost, output)) = rest.and_then(|rest| rest.split_once('$')) else {
        return false;
    };
    cost.len() == 2
        && cost.bytes().all(|byte| byte.is_ascii_digit())
        && cost.parse::<u8>().is_ok_and(|cost| (4..=31).contains(&cost))
        && output.len() == 53
        && output
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

fn is_sha256(hash: &str) -> bool {
    hash.strip_prefix("$sha256$")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    const ARGON: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
    const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

    fn accepts(kind: &Kind<SecretString>, hash: &str) -> bool {
        (kind.read)(&Node::Text(hash.to_owned())).is_ok()
    }

    /// A2: argon2id and bcrypt for everybody, SHA-256 for robots only.
    #[test]
    fn knows_the_forms_of_hashes() {
        let sha256 = format!("$sha256${}", "aB".repeat(32));
        for hash in [
            ARGON.to_owned(),
            BCRYPT.to_owned(),
            BCRYPT.replace("2y", "2a"),
            BCRYPT.replace("2y", "2b"),
        ] {
            assert!(
                accepts(&USER_HASH, &hash) && accepts(&ROBOT_HASH, &hash),
                "{hash}"
            );
        }
        assert!(!accepts(&USER_HASH, &sha256));
        assert!(accepts(&ROBOT_HASH, &sha256));
    }

    #[test]
    fn refuses_other_hashes_and_passwords_without_repeating_them() {
        for hash in [
            "",
            "hunter2",
            "$argon2i$v=19$m=1,t=1,p=1$c29tZXNhbHRzb21l$MTIzNDU2Nzg5MDEyMzQ1Ng",
            "$argon2id$v=19$m=0,t=1,p=1$c29tZXNhbHRzb21l$MTIzNDU2Nzg5MDEyMzQ1Ng",
            "$argon2id$v=19$m=1,t=1$c29tZXNhbHRzb21l$MTIzNDU2Nzg5MDEyMzQ1Ng",
            "$argon2id$v=19$m=1,t=1,p=1$c29tZXNhbHRzb21l",
            "$2y$05$short",
            "$2x$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
            "$2y$99$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
            "$sha256$abc",
            "$1$md5$hunter2",
        ] {
            for kind in [&USER_HASH, &ROBOT_HASH] {
                let error = (kind.read)(&Node::Text(hash.to_owned())).expect_err(hash);
                assert!(!error.contains("hunter2"));
            }
        }
    }
}
