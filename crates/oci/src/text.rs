//! What the validated string types share.

/// How many characters of a refused value an error message repeats.
const SHOWN: usize = 64;

/// A refused value as it may appear in an error message or a log line: quoted, control characters
/// escaped, cut after [`SHOWN`] characters, so that a hostile request cannot fill or forge either.
pub(crate) fn quoted(value: &str) -> String {
    let mut characters = value.chars();
    let shown: String = characters.by_ref().take(SHOWN).collect();
    let cut = if characters.next().is_some() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_debug())
}

/// The traits of a newtype over `Arc<str>` that has an inherent `parse`.
macro_rules! text_type {
    ($type:ident, $error:ty) => {
        impl $type {
            /// The text, exactly as it appears in a URL.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}
pub(crate) use text_type;
