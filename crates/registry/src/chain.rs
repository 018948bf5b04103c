//! Errors in the log: with what caused them, on one line.

use std::error::Error;
use std::fmt;

/// An error and its causes, outermost first. A cause that an outer message repeats already is left out.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !text.contains(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        formatter.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("store blob")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("write spool file: no space left")]
    struct Inner(#[source] std::io::Error);

    /// O1, O2: a log line says why, not only what.
    #[test]
    fn names_every_cause_once() {
        let error = Outer(Inner(std::io::Error::other("no space left")));
        assert_eq!(
            Chain(&error).to_string(),
            "store blob: write spool file: no space left"
        );
    }
}
