//! Buffers for frames, used again instead of being zeroed anew.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers up to this length in bytes are not worth keeping.
const SHORT: usize = 16 << 10;

/// The lengths of buffers that are kept, each with how many of them at most: 9 MiB in all.
const CLASSES: [(usize, usize); 3] = [(64 << 10, 64), (128 << 10, 8), (256 << 10, 16)];

/// The buffers that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: [Mutex<Vec<Vec<u8>>>; CLASSES.len()],
}

/// A piece of memory that goes back to where it came from when it is dropped.
pub(crate) struct Buffer {
    memory: Vec<u8>,
    /// How much of the memory is to be written to, and later was.
    length: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// A buffer of `length` bytes.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let memory = match class_for(length) {
            None => vec![0; length],
            Some(class) => self
                .lock(class)
                .pop()
                .unwrap_or_else(|| vec![0; CLASSES[class].0]),
        };
        Buffer {
            memory,
            length,
            home: Arc::clone(self),
        }
    }

    fn put_back(&self, memory: Vec<u8>) {
        let Some(class) = CLASSES.iter().position(|(length, _)| *length == memory.len()) else {
            return;
        };
        let mut free = self.lock(class);
        if free.len() < CLASSES[class].1 {
            free.push(memory);
        }
    }

    fn lock(&self, class: usize) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.free[class].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn class_for(length: usize) -> Option<usize> {
    if length <= SHORT {
        None
    } else {
        CLASSES.iter().position(|(longest, _)| length <= *longest)
    }
}

impl Buffer {
    /// Where to write to.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }

    /// The same buffer, of which only the first `length` bytes count.
    pub(crate) fn filled(mut self, length: usize) -> Self {
        self.length = self.length.min(length);
        self
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.put_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(buffers: &Buffers) -> usize {
        (0..CLASSES.len()).map(|class| buffers.lock(class).len()).sum()
    }

    #[test]
    fn uses_buffers_again() {
        let buffers = Arc::new(Buffers::default());
        let first = buffers.take(40 << 10);
        let address = first.memory.as_ptr();
        assert_eq!(first.as_ref().len(), 40 << 10);
        drop(bytes::Bytes::from_owner(first.filled(3)));
        let second = buffers.take(64 << 10);
        assert_eq!(
            (second.memory.as_ptr(), second.as_ref().len()),
            (address, 64 << 10)
        );
    }

    #[test]
    fn takes_no_large_buffer_for_a_short_frame() {
        let buffers = Arc::new(Buffers::default());
        assert_eq!(buffers.take(1000).memory.len(), 1000);
        assert_eq!(kept(&buffers), 0);
    }

    #[test]
    fn keeps_a_bounded_number_of_buffers() {
        let buffers = Arc::new(Buffers::default());
        drop((0..100).map(|_| buffers.take(256 << 10)).collect::<Vec<_>>());
        assert_eq!(kept(&buffers), 16);
    }
}
