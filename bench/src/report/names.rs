//! The names of what is compared and of what is measured. The tables of [`super::targets`] and
//! [`super::document`] know these; a metric of another name appears in the table of everything.
//!
//! A name is made of the work, how it is asked for, `c<connections>` or `x<at a time>`, and, if it is not
//! the plain result, what is measured.

/// What is measured, and what it is measured against.
pub(crate) mod subject {
    pub(crate) const QUAYSIDE: &str = "quayside";
    /// nginx that serves files: the floor of the stack.
    pub(crate) const NGINX_STATIC: &str = "nginx-static";
    /// nginx with `proxy_cache` and `proxy_cache_lock`.
    pub(crate) const NGINX_CACHE: &str = "nginx-cache";
    pub(crate) const VARNISH: &str = "varnish";
    /// docker-registry 2.8 as a pull-through cache.
    pub(crate) const DISTRIBUTION_2: &str = "distribution-2.8";
    /// distribution v3 as a pull-through cache.
    pub(crate) const DISTRIBUTION_3: &str = "distribution-3";
    /// The client talks to the origin itself.
    pub(crate) const DIRECT: &str = "direct";
    /// The registry over a bucket, streamed through it.
    pub(crate) const QUAYSIDE_S3: &str = "quayside-s3";
    /// distribution v3 over a bucket, streamed through it.
    pub(crate) const DISTRIBUTION_3_S3: &str = "distribution-3-s3";
}

// Warm manifests, requests per second: `<name>.c1`, `.c16`, `.c64`; CPU of one request: `<name>.c16.cpu`;
// median latency in ms: `<name>.c16.p50`, `.p99`.
pub(crate) const MANIFEST_DIGEST_GET: &str = "manifest.digest.get";
pub(crate) const MANIFEST_DIGEST_HEAD: &str = "manifest.digest.head";
/// `revalidateSeconds: 86400`, checked recently.
pub(crate) const MANIFEST_TAG_GET: &str = "manifest.tag.get";
pub(crate) const MANIFEST_TAG_HEAD: &str = "manifest.tag.head";
/// `revalidateSeconds: 0`: every pull is answered by a check, shared or its own.
pub(crate) const MANIFEST_TAG0_GET: &str = "manifest.tag0.get";
pub(crate) const MANIFEST_TAG0_HEAD: &str = "manifest.tag0.head";
/// The same with the origin behind the link; `.c16`, and `.c16.upstream` for requests per pull.
pub(crate) const MANIFEST_TAG0_WIRE_GET: &str = "manifest.tag0.wire.get";

// Warm blobs.
/// Requests per second: `.c1`, `.c16`, `.c64`.
pub(crate) const BLOB_1KIB: &str = "blob.1KiB";
/// MiB/s: `.x1`, `.x8`; CPU s/GiB: `.x1.cpu`, `.x8.cpu`.
pub(crate) const BLOB_10MIB: &str = "blob.10MiB";
pub(crate) const BLOB_100MIB: &str = "blob.100MiB";

// Misses. Wall time in s: `<name>`; upstream bytes: `<name>.up_x`; CPU seconds: `<name>.cpu`; peak memory in
// MiB: `<name>.peak`.
pub(crate) const COLD_500_LOOPBACK: &str = "cold500.loopback";
pub(crate) const COLD_500_WIRE: &str = "cold500.wire";
/// Milliseconds to the first byte of a cold blob behind the link, its manifest included.
pub(crate) const COLD_TTFB_WIRE: &str = "cold.wire.ttfb";
/// 20 clients ask at once for one cold image of one 100 MiB layer.
pub(crate) const HERD_20: &str = "herd20";
pub(crate) const HERD_20_WIRE: &str = "herd20.wire";
/// 1000 clients, one cold 10 MiB image.
pub(crate) const CROWD_1000: &str = "crowd1000";
/// Four clients, a quarter of one cold blob each; `.partial` counts the answers 206.
pub(crate) const RANGES_4_WIRE: &str = "ranges4.wire";

// 1000 clients that stop reading a 100 MiB blob.
/// KiB per connection.
pub(crate) const STALLED_1000: &str = "stalled1000";
/// Milliseconds (median) of a manifest GET beside them, and before them.
pub(crate) const STALLED_1000_BESIDE: &str = "stalled1000.beside";
pub(crate) const STALLED_1000_BEFORE: &str = "stalled1000.before";
/// A client that leaves at half of a cold blob: upstream bytes when the next one has read it whole.
pub(crate) const ABORT_UP_X: &str = "abort.up_x";

// Memory in MiB, and the start.
pub(crate) const IDLE_RSS: &str = "idle.rss";
/// Peak while 8 clients pull eight cold 120 MB blobs.
pub(crate) const COLD_8_PEAK: &str = "cold8.peak";
/// Over idle, while 100 clients ask at once for a 4 MiB manifest.
pub(crate) const MANIFEST_4MIB_PEAK: &str = "manifest4MiB.over_idle";
/// Milliseconds from exec to the first answer.
pub(crate) const START: &str = "start";

/// The name of a metric of some work: `part(MANIFEST_DIGEST_GET, "c16")`.
pub(crate) fn part(work: &str, part: &str) -> String {
    format!("{work}.{part}")
}
