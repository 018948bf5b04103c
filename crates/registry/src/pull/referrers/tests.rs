use super::*;

fn merged(pages: &[&'static str], filters: Option<&str>, artifact_type: Option<&str>) -> Option<Value> {
    let referrers = Referrers {
        pages: pages
            .iter()
            .map(|page| Bytes::from_static(page.as_bytes()))
            .collect(),
        filters_applied: filters.map(str::to_owned),
    };
    let listing = merge(&referrers, artifact_type)?;
    Some(serde_json::from_slice(&listing.body).unwrap())
}

const A: &str =
    r#"{"schemaVersion":2,"manifests":[{"artifactType":"a","digest":"1"}],"annotations":{"x":"y"}}"#;
const B: &str = r#"{"schemaVersion":2,"manifests":[{"artifactType":"b","digest":"2"}]}"#;

/// L2: one page that needs no filtering is passed on as it is.
#[test]
fn passes_a_page_on_as_it_is() {
    let same: Value = serde_json::from_str(A).unwrap();
    assert_eq!(merged(&[A], None, None).unwrap(), same);
    assert_eq!(merged(&[A], Some("artifactType"), Some("b")).unwrap(), same);
}

/// L2: what upstream did not filter is filtered here, and pages become one.
#[test]
fn filters_what_upstream_did_not_and_joins_pages() {
    let digests = |merged: Option<Value>| {
        let merged = merged.unwrap();
        assert_eq!(merged["mediaType"], media_type::OCI_INDEX);
        let manifests = merged["manifests"].as_array().unwrap();
        manifests
            .iter()
            .map(|entry| entry["digest"].to_string())
            .collect::<String>()
    };
    assert_eq!(digests(merged(&[A, B], None, None)), "\"1\"\"2\"");
    assert_eq!(digests(merged(&[A, B], None, Some("b"))), "\"2\"");
    assert_eq!(digests(merged(&[A, B], Some("other"), Some("c"))), "");
    let null = r#"{"schemaVersion":2,"manifests":null}"#;
    assert_eq!(digests(merged(&[null], None, None)), "");
}

/// L2: a 200 that is no index is what some registries say for a 404.
#[test]
fn what_is_no_index_is_no_listing() {
    for page in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"schemaVersion":1,"manifests":[]}"#,
        r#"{"manifests":[]}"#,
    ] {
        assert_eq!(merged(&[page], None, None), None, "{page}");
        assert_eq!(merged(&[A, page], None, None), None, "{page}");
    }
}
