//! The scopes that clients ask tokens for (A1): `<type>:<name>:<action>[,<action>…]`. Pure.

use std::fmt;

/// One asked scope. What is malformed is kept as far as it can be read: it is granted nothing, and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) kind: String,
    /// May hold colons: a host with a port.
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Scope {
    pub(crate) fn parse(text: &str) -> Self {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let (name, actions) = rest.rsplit_once(':').unwrap_or_default();
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions: actions.split(',').map(str::to_owned).collect(),
        }
    }

    /// Whether the action is asked for, by its name or with all others.
    pub(crate) fn asks(&self, action: &str) -> bool {
        self.actions.iter().any(|asked| asked == action || asked == "*")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}:{}",
            self.kind,
            self.name,
            self.actions.join(",")
        )
    }
}

/// The scopes of a query or a form; one parameter may hold several, separated by spaces.
pub(crate) fn of_form(form: &str) -> Vec<Scope> {
    let parameters = url::form_urlencoded::parse(form.as_bytes()).filter(|(key, _)| key == "scope");
    let scopes = parameters.flat_map(|(_, value)| {
        let words = value.split(' ').filter(|word| !word.is_empty());
        words.map(Scope::parse).collect::<Vec<_>>()
    });
    scopes.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A1: both ways of asking for several, and what each part means.
    #[test]
    fn reads_the_scopes_of_a_form() {
        let form =
            "service=x&scope=repository%3Aa%2Fb%3Apull%2Cpush+registry:catalog:*&scope=repository:h:1/c:pull";
        let scopes = of_form(form);
        let written: Vec<_> = scopes.iter().map(ToString::to_string).collect();
        assert_eq!(
            written,
            [
                "repository:a/b:pull,push",
                "registry:catalog:*",
                "repository:h:1/c:pull"
            ]
        );
        assert!(scopes[0].asks("pull") && !scopes[0].asks("delete"));
        assert!(scopes[1].asks("pull"));
        assert_eq!(scopes[2].name, "h:1/c");
    }

    proptest! {
        /// A1: what is written by the grammar is read back.
        #[test]
        fn parses_back_any_scope(
            kind in "[a-z]{1,10}(\\([a-z]{1,5}\\))?",
            name in "([a-z0-9.]{1,9}:[0-9]{1,5}/)?[a-z0-9._/-]{1,30}",
            actions in prop::collection::vec("[a-z*]{1,6}", 1..4),
        ) {
            let scope = Scope { kind, name, actions };
            prop_assert_eq!(Scope::parse(&scope.to_string()), scope.clone());
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("scope", &scope.to_string())
                .finish();
            prop_assert_eq!(of_form(&form), [scope]);
        }

        /// A1: no form makes the parser panic, and what it reads of a scope is part of what was sent.
        #[test]
        fn parses_any_form(form in "((&|scope=|%[0-9a-f]{0,2}|[:, ]|repository|\\PC){0,4}){0,8}") {
            for scope in of_form(&form) {
                prop_assert!(!scope.kind.contains(':'));
                prop_assert!(scope.actions.iter().all(|action| !action.contains([',', ':'])));
            }
        }
    }
}
