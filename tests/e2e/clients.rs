//! Real clients pull through the registry from real upstreams.

mod conformance;
mod containerd;
mod crane;
mod login;
mod podman;
mod program;
mod puller;
mod pulls;
mod run;
mod scene;
mod skopeo;
mod upstreams;
