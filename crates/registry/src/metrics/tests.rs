use std::time::Duration;

use quayside_upstream::Event;

use super::{Metrics, Outcome, RequestKind};

/// One answer of ten bytes.
fn answers(metrics: &Metrics, host: &str) {
    metrics.hosts.hear(Event::Answered {
        host,
        status: 200,
        remaining: Some(76),
    });
    metrics.hosts.hear(Event::Received { host, bytes: 10 });
}

fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.encode().unwrap();
    text.lines()
        .filter(|line| line.starts_with(name))
        .map(str::to_owned)
        .collect()
}

/// O1: exactly these names; whoever has dashboards depends on them.
#[test]
fn names_are_those_of_the_specification() {
    let metrics = Metrics::new();
    let acme = metrics.organization("acme");
    acme.set_quota(Some(7));
    answers(&metrics, "registry.example.com");
    let text = metrics.encode().unwrap();
    for name in [
        "quayside_pulls_total{organization=\"acme\",result=\"revalidated\"} 0",
        "quayside_blob_requests_total{organization=\"acme\",result=\"hit\"} 0",
        "quayside_upstream_requests_total{host=\"registry.example.com\",code=\"200\"} 1",
        "quayside_upstream_ratelimit_remaining{host=\"registry.example.com\"} 76",
        "quayside_served_bytes_total{organization=\"acme\"} 0",
        "quayside_pruned_total{organization=\"acme\"} 0",
        "quayside_refused_total{organization=\"acme\"} 0",
        "quayside_fetched_bytes_total{host=\"registry.example.com\"} 10",
        "quayside_fills_in_flight 0",
        "quayside_usage_bytes{organization=\"acme\"} 0",
        "quayside_quota_bytes{organization=\"acme\"} 7",
        "quayside_collected_bytes_total 0",
        "quayside_garbage_bytes 0",
        "quayside_request_duration_seconds_count{kind=\"manifest\"} 0",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
}

/// O1: an organization that is loaded again counts on; one that is gone leaves no series behind.
#[test]
fn counters_live_as_long_as_their_organization() {
    let metrics = Metrics::new();
    metrics.organization("acme").pulls.count(Outcome::Hit);
    let again = metrics.organization("acme");
    again.pulls.count(Outcome::Hit);
    again.set_quota(Some(1));
    again.set_quota(None);
    metrics.organization("other");
    let hits = "quayside_pulls_total{organization=\"acme\",result=\"hit\"}";
    assert_eq!(lines(&metrics, hits), [format!("{hits} 2")]);
    assert_eq!(lines(&metrics, "quayside_quota_bytes"), Vec::<String>::new());
    metrics.keep_organizations(|name| name == "other");
    let text = metrics.encode().unwrap();
    assert!(!text.contains("acme") && text.contains("other"), "{text}");
}

/// O1: every outcome and every kind of request counts under its own name.
#[test]
fn outcomes_and_kinds_are_not_mixed_up() {
    let metrics = Metrics::new();
    let acme = metrics.organization("acme");
    let outcomes = [
        (Outcome::Hit, "hit"),
        (Outcome::Miss, "miss"),
        (Outcome::Revalidated, "revalidated"),
        (Outcome::Stale, "stale"),
        (Outcome::Denied, "denied"),
        (Outcome::Error, "error"),
    ];
    for (count, (outcome, name)) in (1..).zip(outcomes) {
        (0..count).for_each(|_| acme.blobs.count(outcome));
        let series = format!("quayside_blob_requests_total{{organization=\"acme\",result=\"{name}\"}}");
        assert_eq!(lines(&metrics, &series), [format!("{series} {count}")]);
    }
    metrics.requests.took(RequestKind::Blob, Duration::from_secs(2));
    metrics
        .requests
        .took(RequestKind::Other, Duration::from_millis(1));
    let count = |kind: &str| {
        lines(
            &metrics,
            &format!("quayside_request_duration_seconds_count{{kind=\"{kind}\"}}"),
        )
    };
    assert!(count("blob")[0].ends_with(" 1") && count("other")[0].ends_with(" 1"));
    assert!(count("token")[0].ends_with(" 0"));
}

/// O1: an upstream cannot make as many series as it likes by redirecting to ever new hosts.
#[test]
fn hosts_beyond_a_number_are_counted_together() {
    let metrics = Metrics::new();
    for number in 0..1_000 {
        answers(&metrics, &format!("cdn-{number}.example.com"));
    }
    assert!(lines(&metrics, "quayside_fetched_bytes_total").len() <= 257);
    let others = lines(&metrics, "quayside_fetched_bytes_total{host=\"other\"}");
    assert_eq!(
        others,
        [format!(
            "quayside_fetched_bytes_total{{host=\"other\"}} {}",
            (1_000 - 256) * 10
        )]
    );
}
