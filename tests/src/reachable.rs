//! A house for clients that follow its challenges.

use serde_json::json;

use crate::house::{House, HouseBuilder};
use crate::ports;

/// A house that knows its own address beforehand, so that the token service it names is where it is (A1).
///
/// # Panics
/// If no port is free.
pub fn house() -> HouseBuilder {
    let address = json!(ports::free().to_string());
    House::builder()
        .config("/listen", address.clone())
        .config("/SERVER_HOSTNAME", address)
}
