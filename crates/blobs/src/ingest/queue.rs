//! The way from the task that receives bytes to the thread that writes them: a queue bounded by bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, UnboundedReceiver, UnboundedSender},
};

/// How many bytes may wait to be written.
const CAPACITY: u32 = 1 << 20;

/// The longest piece that is queued whole, in bytes: readers see a large chunk from its first piece on.
const PIECE: usize = 256 << 10;

/// What a piece counts at least, in bytes: a short slice may hold on to a large buffer.
const LEAST: u32 = 16 << 10;

/// The thread at the other end has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Closed;

/// The end that queues.
#[derive(Debug)]
pub(super) struct Sender {
    pieces: UnboundedSender<Piece>,
    room: Arc<Semaphore>,
}

/// The end that writes.
#[derive(Debug)]
pub(super) struct Receiver {
    pieces: UnboundedReceiver<Piece>,
}

/// Bytes in the queue, with the room they take there.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

pub(super) fn queue() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(CAPACITY as usize));
    (Sender { pieces: sender, room }, Receiver { pieces: receiver })
}

impl Sender {
    /// Queues a first part of `chunk`, as soon as there is room for it, and gives its length. Dropping the future
    /// queues nothing. A thread that goes takes its pieces with it, so that nobody waits for their room in vain.
    pub(super) async fn send_part(&self, chunk: &mut Bytes) -> Result<usize, Closed> {
        let length = chunk.len().min(PIECE);
        let weight = u32::try_from(length).unwrap_or(CAPACITY).max(LEAST);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(weight)
            .await
            .map_err(|_| Closed)?;
        let piece = Piece {
            bytes: chunk.split_to(length),
            _room: room,
        };
        self.pieces.send(piece).map_err(|_| Closed)?;
        Ok(length)
    }
}

impl Receiver {
    /// Waits for a piece and collects whatever else has arrived, up to a piece's length or a little more. An
    /// empty batch is the end.
    pub(super) fn collect(&mut self, batch: &mut Vec<Piece>) {
        let Some(first) = self.pieces.blocking_recv() else {
            return;
        };
        let mut length = first.bytes.len();
        batch.push(first);
        while length < PIECE {
            let Ok(piece) = self.pieces.try_recv() else { return };
            length += piece.bytes.len();
            batch.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn takes_about_a_mebibyte_and_then_waits() {
        let (sender, mut receiver) = queue();
        let mut chunk = Bytes::from(vec![1; 3 << 20]);
        let mut queued = 0;
        while let Some(sent) = sender.send_part(&mut chunk).now_or_never() {
            queued += sent.unwrap();
        }
        assert_eq!((queued, chunk.len()), (1 << 20, 2 << 20));
        let mut batch = Vec::new();
        receiver.collect(&mut batch);
        assert_eq!(batch.len(), 1);
        batch.clear();
        assert_eq!(sender.send_part(&mut chunk).now_or_never(), Some(Ok(PIECE)));
    }

    #[test]
    fn bounds_the_number_of_short_pieces() {
        let (sender, _receiver) = queue();
        let mut queued = 0;
        while sender
            .send_part(&mut Bytes::from_static(b"x"))
            .now_or_never()
            .is_some()
        {
            queued += 1;
        }
        assert_eq!(queued, 64);
    }

    #[test]
    fn hands_over_what_has_arrived_in_one_batch() {
        let (sender, mut receiver) = queue();
        for _ in 0..5 {
            sender
                .send_part(&mut Bytes::from_static(b"xy"))
                .now_or_never()
                .unwrap()
                .unwrap();
        }
        let mut batch = Vec::new();
        receiver.collect(&mut batch);
        assert_eq!(batch.len(), 5);
        drop(sender);
        batch.clear();
        receiver.collect(&mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn wakes_who_waits_for_room_when_the_writer_goes() {
        let (sender, receiver) = queue();
        let mut chunk = Bytes::from(vec![1; 2 << 20]);
        while sender.send_part(&mut chunk).now_or_never().is_some() {}
        drop(receiver);
        assert_eq!(sender.send_part(&mut chunk).now_or_never(), Some(Err(Closed)));
    }
}
