//! One connection: a request, its answer, the next request.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer::{Answer, Body};
use super::{Origin, Stock};

/// More than any request of a cache.
const HEAD_BYTES: usize = 64 << 10;
/// One write; small enough that the count of bytes follows what was really sent.
const WRITE_BYTES: usize = 256 << 10;

/// Serves until the other side is gone.
pub(super) async fn serve(origin: Arc<Origin>, mut stream: TcpStream) {
    // Errors of a connection are the other side's business: some of them leave on purpose.
    let _ = stream.set_nodelay(true);
    let mut read = Vec::with_capacity(4096);
    loop {
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
            if read.len() > HEAD_BYTES || !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
            continue;
        };
        let head: Vec<u8> = read.drain(..end + 4).collect();
        let answer = origin.answer(&String::from_utf8_lossy(&head));
        if send(&origin, &mut stream, answer).await.is_err() {
            return;
        }
    }
}

async fn send(origin: &Origin, stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    let mut head = answer.head.into_bytes();
    match answer.body {
        Body::None => stream.write_all(&head).await,
        Body::Text(text) => {
            head.extend(text);
            stream.write_all(&head).await
        }
        Body::Manifest(stock) => {
            head.extend(&stock.image.manifest);
            stream.write_all(&head).await?;
            stock.counters.bytes(stock.image.manifest.len() as u64);
            Ok(())
        }
        Body::Blob(stock, content, part) => {
            stream.write_all(&head).await?;
            let mut offset = part.start;
            while offset < part.end {
                let left = usize::try_from(part.end - offset).unwrap_or(usize::MAX);
                let piece = content.piece(&origin.pool, offset);
                let length = piece.len().min(left).min(WRITE_BYTES);
                offset += write(stream, &stock, piece.get(..length).unwrap_or_default()).await?;
            }
            Ok(())
        }
    }
}

async fn write(stream: &mut TcpStream, stock: &Stock, bytes: &[u8]) -> std::io::Result<u64> {
    let written = stream.write(bytes).await? as u64;
    if written == 0 {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    stock.counters.bytes(written);
    Ok(written)
}
