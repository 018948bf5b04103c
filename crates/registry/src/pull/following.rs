//! Sending what is still arriving.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use quayside_blobs::{Frames, ReadError, Spool};

use super::Engine;
use super::blobs::BodyError;
use super::passthrough::PassThrough;
use super::resume::Order;

/// A client that follows a spool, and goes on without it if storage fails on the way (O2).
pub(super) struct Following {
    engine: Arc<Engine>,
    order: Order,
    spool: Arc<Spool>,
    rest: Range<u64>,
    reading: Reading,
}

enum Reading {
    Spool(Frames),
    Passing(Box<PassThrough>),
    Over,
}

impl Following {
    pub(super) fn new(engine: Arc<Engine>, order: Order, spool: Arc<Spool>, range: Range<u64>) -> Self {
        let reading = Reading::Spool(spool.follow(range.clone()));
        Self {
            engine,
            order,
            spool,
            rest: range,
            reading,
        }
    }

    pub(super) async fn step(mut self) -> Option<(Result<Bytes, BodyError>, Self)> {
        let next = self.next().await?;
        if next.is_err() {
            self.reading = Reading::Over;
        }
        Some((next, self))
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match &mut self.reading {
                Reading::Over => return None,
                Reading::Passing(passing) => {
                    return passing.next().await.map_err(BodyError::Pull).transpose();
                }
                Reading::Spool(frames) => match frames.next().await? {
                    Ok(frame) => {
                        self.rest.start += frame.len() as u64;
                        return Some(Ok(frame));
                    }
                    Err(ReadError::Failed(failure)) if failure.is_local_storage() => {}
                    Err(error) => return Some(Err(BodyError::Read(error))),
                },
            }
            let prefix = self.spool.follow(0..self.spool.released());
            let gates = &self.engine.passthrough;
            match PassThrough::take_over(gates, self.order.clone(), prefix, self.rest.clone()).await {
                Ok(passing) => self.reading = Reading::Passing(Box::new(passing)),
                Err(error) => return Some(Err(BodyError::Pull(error))),
            }
        }
    }
}
