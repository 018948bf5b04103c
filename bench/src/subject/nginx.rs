//! nginx: as a server of files, and as a cache.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::{Door, Kind, Subject, Tags, await_answer, version_of};
use crate::content::Pool;
use crate::image::{Image, MANIFEST_TYPE, TAG};
use crate::process::Process;
use crate::site::{Link, Site, write};

/// Debian installs it where the path of people does not lead.
const PROGRAM: &str = "/usr/sbin/nginx";

/// What both have in common. The limit of requests of a connection would close it in the middle of a run.
const COMMON: &str = "
    access_log off;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    open_file_cache max=10000 inactive=1h;
    open_file_cache_valid 60s;
    reset_timedout_connection on;
    send_timeout 1h;
    server_tokens off;
";

/// Serves files that [`publish`] writes.
pub(super) fn start_static(site: &Site) -> anyhow::Result<Subject> {
    let directory = site.directory("nginx-static")?;
    let files = directory.join("files");
    std::fs::create_dir(&files).context("create a directory for files")?;
    let address = site.address();
    let server = format!(
        "server {{
            listen {address} backlog=4096;
            root {};
            default_type application/octet-stream;
            location ~ /manifests/ {{ default_type {MANIFEST_TYPE}; }}
        }}",
        files.display()
    );
    let doors = vec![door(Link::Loopback, address)];
    let mut subject = start(Kind::NginxStatic, &directory, &server, doors)?;
    subject.files = Some(files);
    Ok(subject)
}

/// Fetches what it does not have, one client for all, and keeps it.
pub(super) fn start_cache(site: &Site) -> anyhow::Result<Subject> {
    let directory = site.directory("nginx-cache")?;
    let mut servers = format!(
        "proxy_cache_path {} levels=1:2 keys_zone=all:50m max_size=100g inactive=7d use_temp_path=off;
         proxy_cache all;
         proxy_cache_key $uri;
         proxy_cache_valid 200 7d;
         proxy_cache_lock on;
         proxy_cache_lock_timeout 1h;
         proxy_cache_lock_age 1h;
         proxy_http_version 1.1;
         proxy_set_header Connection '';
         proxy_buffers 16 64k;
         proxy_buffer_size 64k;
         proxy_busy_buffers_size 128k;
         proxy_read_timeout 1h;
        ",
        directory.join("cache").display()
    );
    let mut doors = Vec::new();
    for link in [Link::Loopback, Link::Wire] {
        let (address, upstream) = (site.address(), site.upstream(link));
        // Writing to a String does not fail.
        let _ = writeln!(
            servers,
            "upstream {link:?} {{ server {upstream}; keepalive 64; }}
             server {{ listen {address} backlog=4096; location / {{ proxy_pass http://{link:?}; }} }}"
        );
        doors.push(door(link, address));
    }
    start(Kind::NginxCache, &directory, &servers, doors)
}

pub(super) fn version() -> Option<String> {
    version_of(PROGRAM, "-v")
}

/// Writes an image where [`start_static`] finds it.
pub(super) fn publish(files: &Path, image: &Image, pool: &Pool) -> anyhow::Result<()> {
    let home = files.join("v2").join(&image.repository);
    let put = |kind: &str, name: &str, bytes: &[u8]| {
        let directory = home.join(kind);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(name), bytes)
    };
    let put_all = || {
        put("manifests", TAG, &image.manifest)?;
        put("manifests", &image.digest, &image.manifest)?;
        image
            .blobs
            .iter()
            .try_for_each(|blob| put("blobs", &blob.digest, &blob.content.bytes(pool)))
    };
    put_all().context("write the files of an image")
}

fn start(kind: Kind, directory: &Path, servers: &str, doors: Vec<Door>) -> anyhow::Result<Subject> {
    let home = directory.display();
    let mut config = format!(
        "user root;
         daemon off;
         worker_processes auto;
         worker_rlimit_nofile {};
         pid {home}/pid;
         error_log {home}/error.log;
         events {{ worker_connections 8192; }}
         http {{ {COMMON}
        ",
        crate::namespace::open_files()
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(config, "{kind}_temp_path {home}/{kind};");
    }
    let _ = writeln!(config, "{servers} }}");
    let config = write(directory, "nginx.conf", &config)?;
    let mut command = Command::new(PROGRAM);
    command
        .arg("-c")
        .arg(config)
        .arg("-p")
        .arg(directory)
        .arg("-e")
        .arg("stderr");
    let mut process = Process::start("nginx", command, directory)?;
    for door in &doors {
        await_answer(&mut process, door.address)?;
    }
    Ok(Subject::new(kind, vec![process], doors))
}

fn door(link: Link, address: SocketAddr) -> Door {
    Door {
        link,
        tags: Tags::Remembered,
        address,
        prefix: "/v2/".to_owned(),
        process: 0,
    }
}
