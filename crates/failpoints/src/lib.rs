//! Points at which the tests make a process die, to see what the next one finds (G3).
//!
//! A build with the feature `enabled` reads two variables of its environment; every other build knows neither.
//! [`DIE_AT`] names the point after which the process aborts, as if its power was lost; [`RECORD_IN`] names a file
//! that every point which is passed is appended to, one a line. So a test learns from one run which points there are,
//! and a new statement has its points without being listed anywhere.

use std::any::type_name;
use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable with the point to die at.
pub const DIE_AT: &str = "QUAYSIDE_FAILPOINT";
/// The variable with the file to list the points in.
pub const RECORD_IN: &str = "QUAYSIDE_FAILPOINT_RECORD";

/// Comes past a point, and no further if it is the one to die at.
#[inline]
pub fn pass(point: &str) {
    if cfg!(feature = "enabled") {
        record(point);
        if std::env::var_os(DIE_AT).is_some_and(|name| name == point) {
            std::process::abort();
        }
    }
}

fn record(point: &str) {
    let Some(path) = std::env::var_os(RECORD_IN) else {
        return;
    };
    let line = format!("{point}\n");
    let file = OpenOptions::new().create(true).append(true).open(path);
    // A list that lacks a point must not be taken for complete.
    if file.and_then(|mut file| file.write_all(line.as_bytes())).is_err() {
        std::process::abort();
    }
}

/// The points of one transaction: one after each of its statements, and one after it was committed.
#[derive(Debug)]
pub struct Steps {
    transaction: &'static str,
    passed: u32,
}

impl Steps {
    /// Those of the transaction that `Work` runs: a closure, of which the function around it gives the name.
    #[inline]
    pub fn of<Work>() -> Self {
        let transaction = if cfg!(feature = "enabled") {
            function_around(type_name::<Work>())
        } else {
            ""
        };
        Self {
            transaction,
            passed: 0,
        }
    }

    /// A statement was run.
    #[inline]
    pub fn ran(&mut self, action: &str) {
        if cfg!(feature = "enabled") {
            self.passed += 1;
            pass(&format!("{} {} {action}", self.transaction, self.passed));
        }
    }

    /// It was committed.
    #[inline]
    pub fn committed(&self) {
        if cfg!(feature = "enabled") {
            pass(&format!("{} committed", self.transaction));
        }
    }
}

/// `crate::Type::function::{{closure}}::{{closure}}`: the function.
fn function_around(closure: &'static str) -> &'static str {
    let segments = closure.rsplit("::");
    segments
        .into_iter()
        .find(|segment| !segment.starts_with('{'))
        .unwrap_or(closure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps_of<Work>(_: &Work) -> Steps {
        Steps::of::<Work>()
    }

    #[test]
    fn a_closure_is_called_after_the_function_around_it() {
        let inner = || || ();
        let name = function_around(type_name_of(&inner()));
        assert_eq!(name, "a_closure_is_called_after_the_function_around_it");
        assert_eq!(function_around("free"), "free");
        assert_eq!(function_around("{closure}"), "{closure}");
    }

    fn type_name_of<T>(_: &T) -> &'static str {
        type_name::<T>()
    }

    /// What is shipped has no points.
    #[test]
    fn without_the_feature_nothing_is_counted() {
        let mut steps = steps_of(&|| ());
        steps.ran("insert");
        assert_eq!(steps.passed, u32::from(cfg!(feature = "enabled")));
    }
}
