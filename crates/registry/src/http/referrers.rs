//! What refers to a manifest (L2).

use http::header::{self, HeaderName};
use http::{HeaderValue, Response as HttpResponse};
use quayside_oci::{Digest, FullName, media_type};
use url::form_urlencoded;

use super::Response;
use super::answer::json;
use super::context::Context;
use super::error::Problem;
use super::manifests::warning;
use crate::pull::referrers::Request;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(crate) async fn answer(
    context: &Context<'_>,
    name: &FullName,
    digest: Digest,
) -> Result<Response, Problem> {
    let authorized = context.authorize(name).await?;
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(context.query.unwrap_or_default().as_bytes());
        let value = fields
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned());
        value.filter(|value| !value.is_empty())
    };
    let request = Request {
        served: &authorized.served,
        repository: authorized.served.spec.remote.local_repository(&name.repository),
        viewer: authorized.viewer,
        subject: digest,
        artifact_type: field("artifactType"),
        after: field("last"),
    };
    let listing = context.front.engine.referrers(&request).await?;
    let mut response: HttpResponse<_> = json(listing.body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type::OCI_INDEX),
    );
    if request.artifact_type.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(warning) = listing.warning.as_deref().and_then(warning) {
        headers.insert(header::WARNING, warning);
    }
    if let Some(next) = listing.next {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("last", &next);
        query.extend_pairs(
            request
                .artifact_type
                .iter()
                .map(|wanted| ("artifactType", wanted)),
        );
        let (subject, query) = (&request.subject, query.finish());
        let link = format!("</v2/{name}/referrers/{subject}?{query}>; rel=\"next\"");
        headers.extend(HeaderValue::from_str(&link).ok().map(|link| (header::LINK, link)));
    }
    Ok(response)
}
