//! Who may log in, and with what.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::kind::PATH;
use crate::names::USER_NAME;
use crate::password_hash::USER_HASH;
use crate::section::{Key, Section};

/// Users and the key that signs tokens.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Keys for tokens, a key a line (A1); `None`: one is generated and kept in the database.
    pub signing_key_file: Option<PathBuf>,
    /// Users who log in with a password; names are unique.
    pub users: Vec<User>,
}

/// One person (A2).
#[derive(Clone, Debug)]
pub struct User {
    /// The login: no `+`, no `:`, not `serviceaccount`.
    pub name: String,
    /// argon2id (`$argon2id$…`) or bcrypt (`$2a$`, `$2b$`, `$2y$`).
    pub password_hash: SecretString,
}

/// Access to the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The bearer token; `None`: one is generated beside the database file.
    pub token_file: Option<PathBuf>,
}

pub(super) fn read_auth(section: &mut Section<'_>) -> Auth {
    let signing_key_file = section.optional(
        Key("signingKeyFile", "Keys that sign tokens: one a line, at least 32 random bytes in hex; the first signs, all verify."),
        &PATH,
    );
    let mut names = BTreeSet::new();
    let users = section.sections(Key("users", "Users who log in with a password."), |user| {
        let name = user.required(Key("name", "The login; unique, without '+' and ':'."), &USER_NAME);
        let password_hash = user.required(
            Key("passwordHash", "The password's argon2id or bcrypt hash."),
            &USER_HASH,
        );
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            user.fault("name", "is the name of an earlier user");
        }
        Some(User {
            name: name?,
            password_hash: password_hash?,
        })
    });
    Auth {
        signing_key_file,
        users,
    }
}

pub(super) fn read_admin(section: &mut Section<'_>) -> Admin {
    let token_file = section.optional(Key("tokenFile", "The bearer token of the admin port."), &PATH);
    Admin { token_file }
}
