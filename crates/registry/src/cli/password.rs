//! `password`: hashes that config.yaml and the organizations file take (A2).

use std::io::{IsTerminal as _, Read as _, Write as _, stderr, stdin, stdout};

use anyhow::{Context as _, bail, ensure};
use argon2::{Argon2, PasswordHasher as _};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quayside_oci::{Algorithm, Digest};
use rustix::termios::{self, LocalModes, OptionalActions};
use secrecy::{ExposeSecret as _, SecretString};

/// A password is a line, and no longer than anything that still fits into a request's head.
const LONGEST: u64 = 4096;
/// The bytes of a robot's password: nobody guesses them, so a plain SHA-256 is hash enough.
const RANDOM_BYTES: usize = 32;

/// Prints the argon2id hash of a password that is typed twice, or given on the standard input.
pub(super) fn hash() -> anyhow::Result<()> {
    let password = if stdin().is_terminal() {
        typed_twice()?
    } else {
        given()?
    };
    let hash = argon2id(&password)?;
    writeln!(stdout(), "{hash}").context("print the hash")
}

/// Prints a fresh password for a robot, and its hash.
pub(super) fn draw() -> anyhow::Result<()> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("draw a random password"))?;
    let password = URL_SAFE_NO_PAD.encode(bytes);
    let hash = sha256(&password);
    writeln!(stdout(), "password: {password}\nhash: {hash}").context("print the password")
}

fn argon2id(password: &SecretString) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
    Ok(hash.context("hash the password")?.to_string())
}

fn sha256(password: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, password.as_bytes());
    format!("$sha256${}", digest.hex())
}

fn given() -> anyhow::Result<SecretString> {
    let mut text = String::new();
    let read = stdin().lock().take(LONGEST + 1).read_to_string(&mut text);
    read.context("read the password from the standard input")?;
    line(&text)
}

fn typed_twice() -> anyhow::Result<SecretString> {
    // Before the prompt, so that nothing that follows it is shown.
    let _hidden = Hidden::begin()?;
    let first = typed("Password: ")?;
    let second = typed("Again: ")?;
    if first.expose_secret() != second.expose_secret() {
        bail!("the two passwords differ");
    }
    Ok(first)
}

fn typed(prompt: &str) -> anyhow::Result<SecretString> {
    let mut terminal = stderr();
    write!(terminal, "{prompt}").context("prompt for the password")?;
    terminal.flush().context("prompt for the password")?;
    let mut text = String::new();
    let read = stdin().read_line(&mut text);
    // The line's end was not echoed either.
    writeln!(terminal).context("prompt for the password")?;
    read.context("read the password from the terminal")?;
    line(&text)
}

/// What a person or a program gave as the password: one line, of which the end does not count.
fn line(text: &str) -> anyhow::Result<SecretString> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    ensure!(!line.is_empty(), "the password is empty");
    ensure!(
        line.len() as u64 <= LONGEST,
        "the password is longer than {LONGEST} bytes"
    );
    ensure!(
        !line.contains(char::is_control),
        "the password is more than one line, or has control characters in it"
    );
    Ok(SecretString::from(line))
}

/// The terminal does not show what is typed for as long as this lives.
struct Hidden {
    before: termios::Termios,
}

impl Hidden {
    fn begin() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(stdin()).context("read the terminal's settings")?;
        let mut settings = before.clone();
        settings.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(stdin(), OptionalActions::Flush, &settings)
            .context("switch the terminal's echo off")?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to try.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A2: the hash is one that the configuration takes, salted anew each time.
    #[test]
    fn prints_argon2id_with_a_new_salt_each_time() {
        let hash = || argon2id(&"correct horse".into()).unwrap();
        let (one, other) = (hash(), hash());
        assert_ne!(one, other);
        for hash in [one, other] {
            let config = format!(
                "SERVER_HOSTNAME: a.example\nauth: {{ users: [ {{ name: alice, passwordHash: '{hash}' }} ] }}"
            );
            assert!(quayside_config::Config::parse(&config).is_ok(), "{hash}");
        }
    }

    /// A2: `$sha256$` and the SHA-256 of the password in hex.
    #[test]
    fn hashes_what_was_drawn_with_sha256() {
        // printf right | sha256sum
        assert_eq!(
            sha256("right"),
            "$sha256$27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"
        );
    }

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for text in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(line(text).unwrap().expose_secret(), "secret");
        }
        assert_eq!(line(" a b \n").unwrap().expose_secret(), " a b ");
        let long = "x".repeat(5000);
        for text in ["", "\n", "one\ntwo\n", "a\0b", long.as_str()] {
            assert!(line(text).is_err(), "{text:?}");
        }
    }
}
