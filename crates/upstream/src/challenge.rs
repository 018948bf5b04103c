//! `WWW-Authenticate`: several headers, several challenges in one header, quoted commas. Pure.

use std::iter::Peekable;
use std::str::Chars;

/// One way to authenticate that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(crate) scheme: String,
    /// Names in lower case; a value that stands alone (token68) has an empty name.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of that name which is not empty.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, v)| v.as_str())
    }
}

/// Reads all challenges of all header values, skipping what is malformed.
pub(crate) fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    values.into_iter().flat_map(parse_one).collect()
}

fn parse_one(value: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut input = value.chars().peekable();
    loop {
        skip(&mut input, |c| c == ',' || is_space(c));
        if input.peek().is_none() {
            return found;
        }
        let word = take(&mut input, is_token);
        if word.is_empty() {
            // Not a word: whatever it is, it cannot start anything.
            input.next();
            continue;
        }
        skip(&mut input, is_space);
        if let (Some('='), Some(challenge)) = (input.peek(), found.last_mut()) {
            input.next();
            let text = parameter_value(&mut input);
            challenge.parameters.push((word.to_ascii_lowercase(), text));
            continue;
        }
        let parameters = token68(&mut input)
            .map(|text| (String::new(), text))
            .into_iter()
            .collect();
        found.push(Challenge {
            scheme: word.to_ascii_lowercase(),
            parameters,
        });
    }
}

fn parameter_value(input: &mut Peekable<Chars<'_>>) -> String {
    skip(input, is_space);
    if input.peek() == Some(&'"') {
        input.next();
        return quoted(input);
    }
    // More generous than the grammar: realms without quotes have slashes and colons.
    take(input, |c| c != ',' && c != '"' && !is_space(c))
}

/// The rest of a quoted string; one that never ends goes to the end.
fn quoted(input: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = input.next() {
        match c {
            '"' => break,
            '\\' => text.extend(input.next()),
            _ => text.push(c),
        }
    }
    text
}

/// A single value instead of parameters (`Negotiate abc==`), if that is what comes next.
fn token68(input: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut ahead = input.clone();
    let mut text = take(&mut ahead, |c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
    text.push_str(&take(&mut ahead, |c| c == '='));
    skip(&mut ahead, is_space);
    if text.is_empty() || ahead.peek().is_some_and(|c| *c != ',') {
        return None;
    }
    *input = ahead;
    Some(text)
}

fn take(input: &mut Peekable<Chars<'_>>, wanted: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    while let Some(c) = input.next_if(|c| wanted(*c)) {
        text.push(c);
    }
    text
}

fn skip(input: &mut Peekable<Chars<'_>>, unwanted: impl Fn(char) -> bool) {
    while input.next_if(|c| unwanted(*c)).is_some() {}
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests;
