//! A forwarder of TCP connections that can be cut and held.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::background::Background;
use crate::ports;

/// What a wire does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Flows,
    Held,
}

/// A running wire, on a free port of 127.0.0.1. Dropping it breaks off its connections.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    to: SocketAddr,
    traffic: Arc<watch::Sender<Traffic>>,
    accepting: Option<Background>,
}

impl Wire {
    /// A wire to `address`, where somebody may listen only later.
    pub fn to(address: SocketAddr) -> Self {
        let mut wire = Self {
            address: ports::free(),
            to: address,
            traffic: Arc::new(watch::Sender::new(Traffic::Flows)),
            accepting: None,
        };
        wire.mend();
        wire
    }

    /// Where it listens; stays the same when it is cut and mended.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks off all connections and refuses new ones.
    pub fn cut(&mut self) {
        self.accepting = None;
    }

    /// Ends [`Self::cut`].
    pub fn mend(&mut self) {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        let (to, traffic) = (self.to, self.traffic.clone());
        self.accepting = Some(Background::accept(listener, move |stream, _| {
            forward(stream, to, traffic.subscribe())
        }));
    }

    /// Lets nothing through any more, while connections are accepted and stay open.
    pub fn hold(&self) {
        self.traffic.send_replace(Traffic::Held);
    }

    /// Ends [`Self::hold`]; what was held arrives.
    pub fn release(&self) {
        self.traffic.send_replace(Traffic::Flows);
    }
}

async fn forward(stream: TcpStream, to: SocketAddr, mut traffic: watch::Receiver<Traffic>) {
    if traffic
        .wait_for(|traffic| *traffic == Traffic::Flows)
        .await
        .is_err()
    {
        return;
    }
    let Ok(onward) = TcpStream::connect(to).await else {
        return;
    };
    let _ = onward.set_nodelay(true);
    let (from_client, to_client) = stream.into_split();
    let (from_server, to_server) = onward.into_split();
    tokio::join!(
        copy(from_client, to_server, traffic.clone()),
        copy(from_server, to_client, traffic)
    );
}

/// Ends with either side; both are closed then.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut traffic: watch::Receiver<Traffic>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(length) = from.read(&mut buffer).await else {
            return;
        };
        if traffic
            .wait_for(|traffic| *traffic == Traffic::Flows)
            .await
            .is_err()
        {
            return;
        }
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// B2: a peer that can be reached, that cannot, and that hangs.
    #[test]
    fn a_wire_flows_holds_and_is_cut() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::to(server.local_addr().unwrap());
        let mut client = TcpStream::connect(wire.address()).unwrap();
        let (mut other, _) = server.accept().unwrap();
        let mut byte = [0];
        client.write_all(b"a").unwrap();
        other.read_exact(&mut byte).unwrap();
        wire.hold();
        client.write_all(b"b").unwrap();
        other.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(other.read_exact(&mut byte).is_err());
        wire.release();
        other.set_read_timeout(None).unwrap();
        other.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"b");
        wire.cut();
        assert!(!matches!(client.read(&mut byte), Ok(1..)));
        assert!(TcpStream::connect(wire.address()).is_err());
        wire.mend();
        TcpStream::connect(wire.address()).unwrap();
    }
}
