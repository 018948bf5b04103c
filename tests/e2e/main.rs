//! End-to-end tests: the registry over HTTP, against scripted and real upstreams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod access_matrix;
mod accounting;
mod background;
mod blobs;
mod clients;
mod configuration;
mod digests;
mod disk_faults;
mod formats;
mod freshness;
mod herd;
mod hostile;
mod lifetime;
mod listing;
mod logins;
mod names;
mod neighbours;
mod operation;
mod outages;
mod probes;
mod prune_plan;
mod quota;
mod referrers;
mod renewals;
mod scene;
mod scrub;
mod sharing;
mod storage;
mod torture;
mod transfers;
mod upstream_faults;
mod upstreams;
mod wanted;
mod why;
