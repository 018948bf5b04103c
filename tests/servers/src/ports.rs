//! Ports for programs that have to be told one.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel hands out ports by itself, so nobody gets one of these by chance.
const FIRST: u16 = 12_000;
const COUNT: u16 = 16_000;

/// An address on the loopback interface that nobody listens on, a different one each time.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests that run side by side in processes of their own begin at different places, a few ports apart.
    let start = u16::try_from(std::process::id().wrapping_mul(16) % u32::from(COUNT)).unwrap_or(0);
    (0..COUNT)
        .map(|_| FIRST + (NEXT.fetch_add(1, Ordering::Relaxed) % COUNT + start) % COUNT)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}
