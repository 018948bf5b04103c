//! An HTTP proxy in front of an S3 server that fails where a test says so. Signatures pass it unharmed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::background::Background;
use crate::ports;

mod operation;
mod serve;

pub use operation::Operation;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It reaches the server only after this time, or when the door is healed; also if who sent it has gone then.
    Stall(Duration),
    /// The server does it at once, and the answer comes this much later, or when the door is healed.
    StallAnswer(Duration),
    /// The connection is closed without an answer, and the server never hears of it.
    Drop,
    /// The server does it, and the connection is closed instead of an answer.
    LoseAnswer,
    /// The connection is closed after this many bytes of the answer's body.
    Cut(u64),
    /// Both bodies go at this many bytes a second.
    Slow(u64),
    /// The server never hears of it; the answer is 503 `SlowDown`.
    SlowDown,
    /// The server never hears of it; the answer is 403 `AccessDenied`.
    Denied,
}

/// A request that came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is asked.
    pub operation: Operation,
    /// The path, as it was sent: `/<bucket>/<key>`.
    pub path: String,
    /// The header `Range`, empty if there is none.
    pub range: String,
}

#[derive(Debug)]
struct Rule {
    operation: Option<Operation>,
    fault: Fault,
    /// Absent: until the door is healed.
    times: Option<u32>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// How often the door was healed.
    healed: watch::Sender<u64>,
}

impl Shared {
    /// Notes a request and says what goes wrong with it: the oldest rule that fits. With it comes what tells that the
    /// door is healed.
    fn meet(&self, seen: Seen) -> (Option<Fault>, watch::Receiver<u64>) {
        let healed = self.healed.subscribe();
        (self.fault_of(seen), healed)
    }

    fn fault_of(&self, seen: Seen) -> Option<Fault> {
        let operation = seen.operation;
        self.seen.lock().unwrap().push(seen);
        let mut rules = self.rules.lock().unwrap();
        let fits = |rule: &Rule| rule.operation.is_none_or(|only| only == operation);
        let place = rules.iter().position(fits)?;
        let fault = rules[place].fault;
        if let Some(times) = &mut rules[place].times {
            *times -= 1;
            if *times == 0 {
                rules.remove(place);
            }
        }
        Some(fault)
    }
}

/// A running door. It opens on a free port of 127.0.0.1 and closes when it is dropped.
#[derive(Debug)]
pub struct S3Door {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<Background>,
}

impl S3Door {
    /// A door that lets everything through.
    pub fn in_front_of(server: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            server,
            rules: Mutex::default(),
            seen: Mutex::default(),
            healed: watch::Sender::new(0),
        });
        let mut door = Self {
            shared,
            address: ports::free(),
            accepting: None,
        };
        door.open();
        door
    }

    /// Where it listens; stays the same when it is closed and opened.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks off all connections and refuses new ones.
    pub fn close(&mut self) {
        self.accepting = None;
    }

    /// Ends [`Self::close`].
    pub fn open(&mut self) {
        let shared = self.shared.clone();
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        let accepting = Background::accept(listener, move |stream, _| {
            serve::connection(stream, shared.clone())
        });
        self.accepting = Some(accepting);
    }

    /// From now on this goes wrong with every such request, until the door is healed. Of several rules that fit a
    /// request, the oldest counts.
    pub fn break_all(&self, operation: Operation, fault: Fault) {
        self.add(Some(operation), fault, None);
    }

    /// As [`Self::break_all`], for the next `times` such requests only.
    pub fn break_next(&self, times: u32, operation: Operation, fault: Fault) {
        assert!(times > 0, "a rule for no request");
        self.add(Some(operation), fault, Some(times));
    }

    /// As [`Self::break_all`], whatever is asked.
    pub fn break_everything(&self, fault: Fault) {
        self.add(None, fault, None);
    }

    fn add(&self, operation: Option<Operation>, fault: Fault, times: Option<u32>) {
        let rule = Rule {
            operation,
            fault,
            times,
        };
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// Ends all rules, and lets go on what is stalled.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.healed.send_modify(|times| *times += 1);
    }

    /// Everything that was asked, in order; that with which something went wrong as well.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often something was asked.
    pub fn count(&self, operation: Operation) -> usize {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.operation == operation).count()
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Instant;

    use super::*;
    use crate::Versitygw;
    use crate::versitygw::Versions;

    const SECOND: Duration = Duration::from_secs(1);

    /// All that comes back on a connection of its own.
    fn ask(door: &S3Door, line: &str) -> String {
        let mut stream = TcpStream::connect(door.address()).unwrap();
        let (host, close) = (door.address(), "connection: close\r\n");
        write!(
            stream,
            "{line} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{close}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        // A connection that was dropped may end with an error.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// O2: every fault does what its description says, for as many requests as it was asked to, and not to others.
    #[test]
    fn a_request_meets_the_fault_that_was_made_for_it() {
        let server = Versitygw::start();
        server.create_bucket("blobs", Versions::Off);
        let door = S3Door::in_front_of(server.address());
        let (get, head) = ("GET /blobs/a", "HEAD /blobs/a");
        // The server answers who does not sign.
        assert!(ask(&door, get).contains("AccessDenied"));
        door.break_next(1, Operation::GetObject, Fault::SlowDown);
        assert!(ask(&door, head).starts_with("HTTP/1.1 403"));
        assert!(ask(&door, get).contains("<Code>SlowDown</Code>"));
        assert!(ask(&door, get).starts_with("HTTP/1.1 403"));
        for fault in [Fault::Drop, Fault::LoseAnswer] {
            door.break_all(Operation::GetObject, fault);
            assert_eq!(ask(&door, get), "", "{fault:?}");
            door.heal();
        }
        door.break_all(Operation::GetObject, Fault::Cut(10));
        let cut = ask(&door, get);
        assert_eq!(cut.split_once("\r\n\r\n").map(|(_, body)| body.len()), Some(10));
        door.heal();
        for fault in [
            Fault::Stall(SECOND / 5),
            Fault::StallAnswer(SECOND / 5),
            Fault::Slow(1000),
        ] {
            door.break_next(1, Operation::GetObject, fault);
            let start = Instant::now();
            assert!(ask(&door, get).ends_with("</Error>"), "{fault:?}");
            assert!(start.elapsed() >= SECOND / 5, "{fault:?}");
        }
        assert_eq!(door.count(Operation::HeadObject), 1);
        assert_eq!(door.count(Operation::GetObject), 9);
    }

    /// G3: a request of somebody who died meanwhile arrives nevertheless.
    #[test]
    fn what_is_stalled_arrives_without_who_sent_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = S3Door::in_front_of(listener.local_addr().unwrap());
        door.break_everything(Fault::Stall(60 * SECOND));
        let mut stream = TcpStream::connect(door.address()).unwrap();
        write!(
            stream,
            "POST /blobs?delete HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nthese"
        )
        .unwrap();
        while door.count(Operation::DeleteObjects) == 0 {
            std::thread::yield_now();
        }
        drop(stream);
        door.heal();
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"these") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        assert!(request.starts_with(b"POST /blobs?delete HTTP/1.1\r\n"));
    }

    /// O2: a door that is closed refuses, and opens on the same port.
    #[test]
    fn a_closed_door_refuses_connections() {
        let server = Versitygw::start();
        let mut door = S3Door::in_front_of(server.address());
        door.close();
        assert!(TcpStream::connect(door.address()).is_err());
        door.open();
        assert!(ask(&door, "GET /").starts_with("HTTP/1.1 403"));
    }
}
