//! What refers to a manifest, as the upstream lists it (L2).

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, LINK};
use http::{HeaderMap, HeaderValue, StatusCode};
use quayside_oci::{Digest, media_type};
use url::Url;

use super::{Upstream, text};
use crate::client::send::Request;
use crate::error::UpstreamError;

/// Longest listing that is read, all pages together.
const MAX_BYTES: usize = 4 << 20;
/// Most pages that a listing may have.
const MAX_PAGES: usize = 100;

/// An upstream's referrers listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    /// Its pages, each byte for byte; at least one.
    pub pages: Vec<Bytes>,
    /// `OCI-Filters-Applied`, if the upstream filtered every page by the same.
    pub filters_applied: Option<String>,
}

impl Upstream {
    /// The upstream's listing of what refers to a manifest (L2), at most 4 MiB.
    ///
    /// A listing in pages is read to its end: not every client would ask for the rest, and one that
    /// looks for a signature must not miss it.
    pub async fn get_referrers(
        &self,
        repository: &str,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, UpstreamError> {
        let mut url = self.url(repository, "referrers", digest.as_str());
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut pages = Vec::new();
        let mut filters = Vec::new();
        let mut left = MAX_BYTES;
        loop {
            let answer = self.inner.send(&request(url.clone()), repository).await?;
            if answer.status() != StatusCode::OK {
                return Err(self.refusal(answer).await);
            }
            let next = next_page(answer.headers(), &url);
            filters.push(text(answer.headers(), "oci-filters-applied").map(str::to_owned));
            if next.is_some() && pages.len() + 1 == MAX_PAGES {
                return Err(answer.invalid(format!("a listing of more than {MAX_PAGES} pages")));
            }
            let page = self.read_whole(answer, left).await?;
            left -= page.len();
            pages.push(page);
            let Some(next) = next else { break };
            url = next;
        }
        let first = filters.first().cloned().flatten();
        Ok(Referrers {
            pages,
            filters_applied: first
                .filter(|first| filters.iter().all(|filter| filter.as_ref() == Some(first))),
        })
    }
}

fn request(url: Url) -> Request {
    let mut request = Request::get(url);
    let headers = &mut request.headers;
    headers.insert(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request
}

/// The page after this one. Of the link only the query is taken: the rest is the place that we asked, whatever
/// name the upstream knows itself by.
fn next_page(headers: &HeaderMap, page: &Url) -> Option<Url> {
    let links = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let target = links.flat_map(links_of).find_map(|(target, parameters)| {
        let next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        next.then_some(target)
    })?;
    let target = page.join(target).ok()?;
    let mut next = page.clone();
    next.set_query(target.query());
    (next != *page).then_some(next)
}

/// The targets of one `Link` header with their parameters. A comma may stand in a target.
fn links_of(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header
        .split('<')
        .skip(1)
        .filter_map(|link| link.split_once('>'))
        .map(|(target, rest)| {
            let parameters =
                rest.rsplit_once(',').map_or(
                    rest,
                    |(parameters, after)| {
                        if after.trim().is_empty() { parameters } else { rest }
                    },
                );
            (target, parameters)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(links: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(LINK, HeaderValue::from_str(link).unwrap());
        }
        let page = Url::parse("https://quay.example/v2/a/referrers/sha256:0?artifactType=x").unwrap();
        next_page(&headers, &page).map(|url| url.to_string())
    }

    /// L2: the link to the next page, in the forms that registries give it.
    #[test]
    fn finds_the_next_page() {
        let expected = Some("https://quay.example/v2/a/referrers/sha256:0?last=1,2&n=5".to_owned());
        for link in [
            "</v2/a/referrers/sha256:0?last=1,2&n=5>; rel=\"next\"",
            "<?last=1,2&n=5>;rel=next",
            "<https://inside.example:8443/v2/a/referrers/sha256:0?last=1,2&n=5>; title=\"a\"; REL=\"next\"",
            "</first?x=1>; rel=\"first\", </v2/a/referrers/sha256:0?last=1,2&n=5>; rel=\"next\"",
            "</v2/a/referrers/sha256:0?last=1,2&n=5>; rel=\"next\", </last?x=1>; rel=\"last\"",
        ] {
            assert_eq!(next(&[link]), expected, "{link}");
        }
        assert_eq!(
            next(&["</x?a>; rel=\"prev\"", "<?last=1,2&n=5>; rel=\"next\""]),
            expected
        );
    }

    /// L2: what is no link to another page is none.
    #[test]
    fn finds_no_next_page_where_there_is_none() {
        for link in [
            "",
            "nonsense",
            "<?last=1>; rel=\"prev\"",
            "<?last=1>",
            "<?artifactType=x>; rel=\"next\"",
            "<https://[::>; rel=\"next\"",
        ] {
            assert_eq!(next(&[link]), None, "{link}");
        }
    }
}
