//! Varnish: a cache in memory.

use std::process::Command;

use super::{Door, Kind, Subject, Tags, await_answer, version_of};
use crate::process::Process;
use crate::site::{Link, Site, write};

/// Debian installs it where the path of people does not lead.
const PROGRAM: &str = "/usr/sbin/varnishd";

pub(super) fn start(site: &Site) -> anyhow::Result<Subject> {
    let directory = site.directory("varnish")?;
    let (loopback, wire) = (site.address(), site.address());
    let rules = format!(
        r#"vcl 4.1;
        backend loopback {{ .host = "127.0.0.1"; .port = "{}"; }}
        backend wire {{ .host = "127.0.0.1"; .port = "{}"; }}
        sub vcl_recv {{
            if (local.socket == "wire") {{ set req.backend_hint = wire; }} else {{ set req.backend_hint = loopback; }}
            return (hash);
        }}
        sub vcl_hash {{ hash_data(req.url); return (lookup); }}
        sub vcl_backend_response {{
            set beresp.ttl = 7d;
            set beresp.do_stream = true;
            return (deliver);
        }}"#,
        site.origin.port(),
        site.wire.port()
    );
    let rules = write(&directory, "rules.vcl", &rules)?;
    let mut command = Command::new(PROGRAM);
    command
        .args(["-F", "-j", "none", "-T", "none", "-s", "malloc,6G", "-n"])
        .arg(directory.join("state"));
    command.arg("-f").arg(rules);
    for (name, address) in [("loopback", loopback), ("wire", wire)] {
        command.arg("-a").arg(format!("{name}={address},HTTP"));
    }
    // A client occupies a thread, so a thousand of them need as many.
    for parameter in [
        "thread_pool_min=100",
        "thread_pool_max=2000",
        "send_timeout=3600",
        "idle_send_timeout=3600",
    ] {
        command.args(["-p", parameter]);
    }
    let mut process = Process::start("varnish", command, &directory)?;
    await_answer(&mut process, loopback)?;
    let door = |link, address| Door {
        link,
        tags: Tags::Remembered,
        address,
        prefix: "/v2/".to_owned(),
        process: 0,
    };
    let doors = vec![door(Link::Loopback, loopback), door(Link::Wire, wire)];
    Ok(Subject::new(Kind::Varnish, vec![process], doors))
}

pub(super) fn version() -> Option<String> {
    version_of(PROGRAM, "-V")
}
