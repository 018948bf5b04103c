use proptest::prelude::*;

use super::*;

const EMPTY_SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const EMPTY_SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
    47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

/// N3: sha256 and sha512.
#[test]
fn accepts_both_supported_algorithms() {
    for (text, algorithm) in [
        (EMPTY_SHA256, Algorithm::Sha256),
        (EMPTY_SHA512, Algorithm::Sha512),
    ] {
        let digest = Digest::parse(text).unwrap();
        assert_eq!(digest.algorithm(), algorithm);
        assert_eq!(digest.hex().len(), algorithm.hex_len());
        assert_eq!(digest.to_string(), text);
        assert!(digest.matches(b""));
        assert!(!digest.matches(b"something"));
    }
}

/// N3: anything that is not the grammar, or another algorithm, is refused.
#[test]
fn refuses_what_is_no_supported_digest() {
    let upper = EMPTY_SHA256.to_uppercase().replace("SHA256", "sha256");
    let refused = [
        String::new(),
        ":".to_owned(),
        "sha256".to_owned(),
        "sha256:".to_owned(),
        EMPTY_SHA256[..70].to_owned(),
        format!("{EMPTY_SHA256}0"),
        format!("{} ", &EMPTY_SHA256[..70]),
        upper,
        EMPTY_SHA256.replace("sha256", "sha512"),
        EMPTY_SHA256.replace("sha256", "SHA256"),
        EMPTY_SHA256.replace("sha256", "sha384"),
        EMPTY_SHA256.replace("sha256", "md5"),
        EMPTY_SHA256.replace("sha256:", "sha256+b64:"),
        EMPTY_SHA256.replace("sha256:", ":"),
        EMPTY_SHA256.replace("e3b0", "../."),
        EMPTY_SHA256.replace("e3b0", "e3b\0"),
        format!("sha256:{}", "é".repeat(32)),
    ];
    for text in refused {
        assert!(Digest::parse(&text).is_err(), "{text:?} was accepted");
    }
}

/// N3: a message about hostile input is short and has no control characters.
#[test]
fn repeats_only_the_beginning_of_what_it_refuses() {
    let hostile = format!("sha256:\r\n\u{1b}[2J{}", "x".repeat(10_000));
    let message = Digest::parse(&hostile).unwrap_err().to_string();
    assert!(message.len() < 300, "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

proptest! {
    /// M12: a hash does not depend on how the bytes arrived.
    #[test]
    fn hashes_pieces_like_the_whole(pieces: Vec<Vec<u8>>, long: bool) {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let mut hasher = Hasher::new(algorithm);
        for piece in &pieces {
            hasher.update(piece);
        }
        let digest = hasher.clone().finish();
        prop_assert_eq!(&digest, &Digest::of(algorithm, &pieces.concat()));
        prop_assert_eq!(&digest, &Digest::parse(digest.as_str()).unwrap());
        prop_assert_eq!(digest, hasher.finish());
    }

    /// N3: no text makes the parser panic, and what it accepts it gives back unchanged.
    #[test]
    fn survives_any_text(text in "(sha(256|512)?)?[:a-f0-9]{0,140}|\\PC*") {
        if let Ok(digest) = Digest::parse(&text) {
            prop_assert_eq!(digest.as_str(), text);
        }
    }
}
