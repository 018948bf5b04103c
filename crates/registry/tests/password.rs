//! `quayside-registry password`, as a person and as a program use it (A2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use quayside_oci::{Algorithm, Digest};

const PROGRAM: &str = env!("CARGO_BIN_EXE_quayside-registry");

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn password(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("password").args(arguments);
    run(command, input)
}

/// The same on a terminal of its own, where each line is typed once its prompt is there. What was shown, and the
/// exit status.
fn on_terminal(lines: [&str; 2]) -> (String, Option<i32>) {
    let mut command = Command::new("script");
    command.args([
        "--quiet",
        "--return",
        "--command",
        &format!("{PROGRAM} password"),
        "/dev/null",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    for (prompt, line) in ["Password: ", "Again: "].into_iter().zip(lines) {
        while !text(&seen).ends_with(prompt) {
            let mut byte = [0];
            screen.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        writeln!(keys, "{line}").unwrap();
    }
    screen.read_to_end(&mut seen).unwrap();
    (text(&seen), child.wait().unwrap().code())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

fn verifies(hash: &str, password: &str) -> bool {
    let parsed = PasswordHash::new(hash).unwrap();
    Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok()
}

/// A2: from the standard input, with or without the line's end.
#[test]
fn hashes_a_password_from_the_standard_input() {
    for input in ["correct horse", "correct horse\n"] {
        let output = password(&[], input);
        assert!(output.status.success(), "{output:?}");
        let hash = text(&output.stdout);
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert!(verifies(hash.trim_end(), "correct horse"));
        assert!(!verifies(hash.trim_end(), "correct horse\n"));
    }
}

/// A2, A6: what is no password is refused, and not repeated.
#[test]
fn refuses_what_is_no_password() {
    for input in ["", "\n", "canary\nsecond line\n", "canary\u{7}"] {
        let output = password(&[], input);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(text(&output.stdout), "");
        assert!(!text(&output.stderr).contains("canary"), "{output:?}");
    }
}

/// A2: 256 random bits, and the hash that `robots` takes for them.
#[test]
fn draws_a_password_for_a_robot() {
    let draw = || {
        let output = password(&["--robot"], "");
        assert!(output.status.success(), "{output:?}");
        let text = text(&output.stdout);
        let (password, hash) = text.trim_end().split_once('\n').unwrap();
        let password = password.strip_prefix("password: ").unwrap().to_owned();
        (password, hash.strip_prefix("hash: ").unwrap().to_owned())
    };
    let ((one, hash), (other, _)) = (draw(), draw());
    assert_ne!(one, other);
    // 32 bytes in Base64 without padding.
    assert_eq!(one.len(), 43);
    let digest = Digest::of(Algorithm::Sha256, one.as_bytes());
    assert_eq!(hash, format!("$sha256${}", digest.hex()));
}

/// A2, A6: on a terminal it is asked for twice and never shown.
#[test]
fn asks_twice_on_a_terminal_and_shows_nothing() {
    let (seen, code) = on_terminal(["correct horse", "correct horse"]);
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains("horse"), "{seen}");
    assert!(verifies(seen.lines().last().unwrap(), "correct horse"), "{seen}");

    let (seen, code) = on_terminal(["correct horse", "wrong horse"]);
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("the two passwords differ"), "{seen}");
    assert!(!seen.contains("$argon2id$") && !seen.contains("horse"), "{seen}");
}
