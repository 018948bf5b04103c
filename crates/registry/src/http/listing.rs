//! Lists: tags and catalog (L1).

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use quayside_metadata::{CatalogPage, TagPage};
use quayside_oci::{ErrorCode, FullName};
use serde_json::json;

use super::Response;
use super::answer::json;
use super::context::Context;
use super::error::Problem;
use crate::auth::access::{CATALOG, Decision, visible};
use crate::pull::error::PullError;

const MAX_PAGE: u32 = 1_000;

struct Page {
    limit: u32,
    after: Option<String>,
}

fn page(query: Option<&str>) -> Result<Page, Problem> {
    let mut page = Page {
        limit: MAX_PAGE,
        after: None,
    };
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "n" => page.limit = limit(&value)?,
            "last" => page.after = Some(value.into_owned()),
            _ => {}
        }
    }
    Ok(page)
}

fn limit(value: &str) -> Result<u32, Problem> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "n has to be a number, 0 or more";
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::PaginationNumberInvalid,
            message,
        ));
    }
    // More digits than fit are over the limit too.
    Ok(value.parse().unwrap_or(MAX_PAGE).min(MAX_PAGE))
}

fn linked(mut response: Response, path: &str, limit: u32, last: Option<&String>) -> Response {
    let last = last.map(|last| url::form_urlencoded::byte_serialize(last.as_bytes()).collect::<String>());
    let link = last.map(|last| format!("<{path}?n={limit}&last={last}>; rel=\"next\""));
    if let Some(Ok(link)) = link.map(|link| HeaderValue::from_str(&link)) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// Live tags of a repository, sorted.
pub(crate) async fn tags(context: &Context<'_>, name: &FullName) -> Result<Response, Problem> {
    let authorized = context.authorize(name).await?;
    let (page, engine) = (page(context.query)?, &context.front.engine);
    let repository = authorized.served.spec.remote.local_repository(&name.repository);
    let (id, now) = (authorized.served.id, engine.now());
    // What pulls have just revived or renewed is live.
    engine.renewals.flush(&engine.metadata).await;
    // One more than asked for tells whether there is a next page.
    let tags = engine
        .metadata
        .tags(
            id,
            repository.as_str(),
            now,
            page.after.as_deref(),
            page.limit + 1,
        )
        .await;
    let mut tags = match tags.map_err(PullError::from)? {
        TagPage::Page(tags) => tags,
        TagPage::Unknown => {
            return Err(Problem::not_found(
                ErrorCode::NameUnknown,
                "the repository has no live tags here",
            ));
        }
    };
    let more = tags.len() > page.limit as usize;
    tags.truncate(page.limit as usize);
    let response = json(Bytes::from(
        json!({ "name": name.to_string(), "tags": tags }).to_string(),
    ));
    Ok(linked(
        response,
        &format!("/v2/{name}/tags/list"),
        page.limit,
        tags.last().filter(|_| more),
    ))
}

/// Repositories with live tags that the caller may pull.
pub(crate) async fn catalog(context: &Context<'_>) -> Result<Response, Problem> {
    let caller = context.caller(Some(CATALOG)).await?;
    let (page, snapshot, engine) = (
        page(context.query)?,
        context.front.snapshot.load_full(),
        &context.front.engine,
    );
    let organizations = snapshot.by_name.values().map(|served| (&*served.spec, served.id));
    let visible = visible(organizations, &caller).map_err(|decision| match decision {
        Decision::InsufficientScope => context.insufficient_scope(CATALOG),
        _ => context.challenge(Some(CATALOG)),
    })?;
    engine.renewals.flush(&engine.metadata).await;
    let found = engine
        .metadata
        .catalog(&visible, engine.now(), page.after.as_deref(), page.limit + 1)
        .await;
    let CatalogPage { mut names, searched } = found.map_err(PullError::from)?;
    let more = names.len() > page.limit as usize;
    names.truncate(page.limit as usize);
    let response = json(Bytes::from(json!({ "repositories": names }).to_string()));
    let last = if more { names.last() } else { searched.as_ref() };
    Ok(linked(response, "/v2/_catalog", page.limit, last))
}
