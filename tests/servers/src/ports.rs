//! Ports for programs that have to be told one.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

/// Below the range from which the kernel hands out ports by itself, so nobody gets one of these by chance.
const FIRST: u16 = 12_000;
/// Tests that run side by side in processes of their own take so many at a time.
const BLOCK: u16 = 32;
const BLOCKS: u16 = 500;

/// Ports that no other test has.
struct Block {
    next: u16,
    end: u16,
    /// Locked as long as this process lives.
    _lock: File,
}

/// An address on the loopback interface that nobody listens on, a different one each time.
///
/// # Panics
/// If all of them are taken.
pub fn free() -> SocketAddr {
    static BLOCKS_OF_THIS_PROCESS: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let mut blocks = BLOCKS_OF_THIS_PROCESS.lock().unwrap();
    loop {
        let port = blocks.last_mut().and_then(|block| {
            let port = (block.next < block.end).then_some(block.next)?;
            block.next += 1;
            Some(port)
        });
        let Some(port) = port else {
            blocks.push(take());
            continue;
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        // Somebody who is no test may have it.
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn take() -> Block {
    let folder = std::env::temp_dir().join("quayside-test-ports");
    fs::create_dir_all(&folder).unwrap();
    // Not everybody begins at the first.
    let start = std::process::id() % u32::from(BLOCKS);
    let start = u16::try_from(start).unwrap_or(0);
    (0..BLOCKS)
        .map(|number| (start + number) % BLOCKS)
        .find_map(|number| {
            let lock = File::create(folder.join(number.to_string())).ok()?;
            lock.try_lock().ok()?;
            let next = FIRST + number * BLOCK;
            let end = next + BLOCK;
            Some(Block {
                next,
                end,
                _lock: lock,
            })
        })
        .expect("a free block of ports")
}
