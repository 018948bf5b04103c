use proptest::prelude::*;

use super::*;

fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
    Challenge {
        scheme: scheme.to_owned(),
        parameters: parameters
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

#[test]
fn keeps_commas_within_quotes_together() {
    let header =
        r#"Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push""#;
    let expected = challenge(
        "bearer",
        &[
            ("realm", "https://auth.example.com/token"),
            ("service", "r"),
            ("scope", "repository:a/b:pull,push"),
        ],
    );
    assert_eq!(parse([header]), [expected]);
}

#[test]
fn reads_several_challenges_of_one_header_and_of_several() {
    let both = [
        challenge("basic", &[("realm", "a, b")]),
        challenge("bearer", &[("realm", "https://t/"), ("service", "s")]),
    ];
    assert_eq!(
        parse([r#"Basic realm="a, b", Bearer realm="https://t/", service=s"#]),
        both
    );
    assert_eq!(
        parse([
            r#"Basic realm="a, b""#,
            r#"Bearer realm="https://t/",service="s""#
        ]),
        both
    );
}

#[test]
fn reads_single_values_and_schemes_without_any() {
    let read = parse([r#"Negotiate, NTLM YWJj==, Basic realm="x""#]);
    let expected = [
        challenge("negotiate", &[]),
        challenge("ntlm", &[("", "YWJj==")]),
        challenge("basic", &[("realm", "x")]),
    ];
    assert_eq!(read, expected);
}

#[test]
fn is_generous_about_spaces_case_and_missing_quotes() {
    let expected = challenge("bearer", &[("realm", "https://t/x?y"), ("service", "s")]);
    assert_eq!(
        parse(["BEARER  Realm = https://t/x?y ,, SERVICE=\t\"s\" ,"]),
        [expected]
    );
}

#[test]
fn undoes_escapes_and_survives_an_unfinished_quote() {
    assert_eq!(
        parse([r#"Basic realm="a\"b\\c""#]),
        [challenge("basic", &[("realm", r#"a"b\c"#)])]
    );
    assert_eq!(
        parse([r#"Basic realm="never ends, Bearer"#])[0].parameter("realm"),
        Some("never ends, Bearer")
    );
    assert_eq!(parse([r#"Basic realm="x\"#])[0].parameter("realm"), Some("x"));
}

#[test]
fn skips_what_is_no_challenge() {
    assert_eq!(parse(["", " , ,", "\"\"", "=", "é"]), []);
    assert_eq!(parse([r#"Bearer realm="""#])[0].parameter("realm"), None);
}

fn parameter() -> impl Strategy<Value = (String, String)> {
    ("[a-z][a-z0-9_-]{0,8}", "[ -~]{0,20}")
}

fn some_challenge() -> impl Strategy<Value = Challenge> {
    ("[a-z][a-z0-9]{0,8}", prop::collection::vec(parameter(), 1..5))
        .prop_map(|(scheme, parameters)| Challenge { scheme, parameters })
}

fn render(challenge: &Challenge) -> String {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let list: Vec<_> = challenge
        .parameters
        .iter()
        .map(|(key, value)| format!("{key}=\"{}\"", quote(value)))
        .collect();
    format!("{} {}", challenge.scheme, list.join(", "))
}

proptest! {
    #[test]
    fn reads_back_whatever_is_written_by_the_grammar(all in prop::collection::vec(some_challenge(), 0..4)) {
        let written: Vec<String> = all.iter().map(render).collect();
        let joined = written.join(", ");
        prop_assert_eq!(&parse([joined.as_str()]), &all);
        prop_assert_eq!(&parse(written.iter().map(String::as_str)), &all);
    }

    #[test]
    fn never_panics_and_always_ends(text in "\\PC{0,200}") {
        parse([text.as_str()]);
    }

    #[test]
    fn survives_every_order_of_the_characters_that_matter(text in "[a =,\"\\\\]{0,40}") {
        parse([text.as_str()]);
    }
}
