//! What all workers have in common.

use futures::future::BoxFuture;

use super::{GcError, Report};

/// How a unit of work went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more to do now.
    More,
    /// There is nothing left to do now.
    Done,
}

/// Something that is done in the background, one bounded unit at a time.
pub(crate) trait Worker: Send {
    /// Does one unit and adds what it did to the report. It may be dropped at any moment and repeated.
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>>;
}
