//! O1: how requests were answered, counted for the organization that they were for.

use http::{HeaderMap, StatusCode, header};
use quayside_oci::{FullName, Route, RouteError};

use super::Response;
use super::context::Context;
use super::error::Problem;
use crate::metrics::{Outcome, RequestKind};
use crate::pull::{CacheStatus, Method};

/// An answer with content, and how the content was come by.
pub(crate) type Answered = Result<(Response, CacheStatus), Problem>;

/// A GET of a manifest is a pull; a HEAD is none.
pub(crate) fn manifest(
    context: &Context<'_>,
    name: &FullName,
    answered: Answered,
) -> Result<Response, Problem> {
    let counts = context.method == Method::Get;
    count(context, name, answered, |served, outcome| {
        if counts {
            served.metrics.pulls.count(outcome);
        }
    })
}

pub(crate) fn blob(context: &Context<'_>, name: &FullName, answered: Answered) -> Result<Response, Problem> {
    count(context, name, answered, |served, outcome| {
        served.metrics.blobs.count(outcome);
    })
}

/// What is asked of an organization that is not served is not counted: such names are as many as people like.
fn count(
    context: &Context<'_>,
    name: &FullName,
    answered: Answered,
    count: impl FnOnce(&crate::organizations::Served, Outcome),
) -> Result<Response, Problem> {
    let snapshot = context.front.snapshot.load();
    let served = snapshot.get(&name.organization);
    let outcome = match &answered {
        Ok((_, status)) => Some(Outcome::from(*status)),
        Err(problem) => outcome(problem, context.headers),
    };
    if let (Some(served), Some(outcome)) = (served, outcome) {
        count(served, outcome);
    }
    answered.map(|(mut response, _)| {
        if let Some(served) = served {
            response.body_mut().count_in(served.metrics.served_bytes.clone());
        }
        response
    })
}

/// `None`: the client was only told to log in, or to get a token for this repository; most do so and come back.
fn outcome(problem: &Problem, headers: &HeaderMap) -> Option<Outcome> {
    match problem.status() {
        StatusCode::FORBIDDEN => Some(Outcome::Denied),
        StatusCode::UNAUTHORIZED => {
            let last_word = headers.contains_key(header::AUTHORIZATION) && !problem.asks_for_another_token();
            last_word.then_some(Outcome::Denied)
        }
        _ => Some(Outcome::Error),
    }
}

impl From<CacheStatus> for Outcome {
    fn from(status: CacheStatus) -> Self {
        match status {
            CacheStatus::Hit => Self::Hit,
            CacheStatus::Miss => Self::Miss,
            CacheStatus::Revalidated => Self::Revalidated,
            CacheStatus::Stale => Self::Stale,
        }
    }
}

/// Under which kind a request's duration is counted.
pub(crate) fn kind(route: &Result<Route, RouteError>) -> RequestKind {
    match route {
        Ok(Route::Base) => RequestKind::Base,
        Ok(Route::Token) => RequestKind::Token,
        Ok(Route::Manifest { .. }) => RequestKind::Manifest,
        Ok(Route::Blob { .. }) => RequestKind::Blob,
        Ok(Route::Tags { .. }) => RequestKind::Tags,
        Ok(Route::Catalog) => RequestKind::Catalog,
        Ok(Route::Referrers { .. }) => RequestKind::Referrers,
        Ok(Route::Upload) | Err(_) => RequestKind::Other,
    }
}
