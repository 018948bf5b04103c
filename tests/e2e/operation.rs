//! SPEC §11: what somebody sees and does who runs the registry.

mod admin;
mod database;
mod logs;
mod metrics;
mod stop;
mod storage_id;
mod tls;
mod tools;
