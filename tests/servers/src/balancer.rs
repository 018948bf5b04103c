//! A plain TCP load balancer, like a Service of Kubernetes: round robin over what is ready, nothing understood.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::background::Background;

/// How often a backend is asked whether it is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// How long one may take to answer, and to accept a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// What connections are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where connections go.
    pub address: SocketAddr,
    /// Where `GET /readyz` says whether they may.
    pub probe: SocketAddr,
}

#[derive(Debug)]
struct Member {
    backend: Backend,
    ready: bool,
    connections: Vec<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    turn: usize,
}

impl State {
    fn member(&mut self, address: SocketAddr) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.backend.address == address)
    }

    /// Who is ready, beginning with whose turn it is.
    fn order(&mut self) -> Vec<SocketAddr> {
        let ready = self.members.iter().filter(|member| member.ready);
        let mut order: Vec<SocketAddr> = ready.map(|member| member.backend.address).collect();
        if !order.is_empty() {
            self.turn = (self.turn + 1) % order.len();
            order.rotate_left(self.turn);
        }
        order
    }
}

type Shared = Arc<Mutex<State>>;

/// A running balancer. It stops when it is dropped, and its connections end.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    state: Shared,
    _accepting: Background,
    _probing: Background,
}

impl Balancer {
    /// A balancer without backends; it closes every connection at once until one is ready.
    pub fn start(address: SocketAddr) -> Self {
        let state = Shared::default();
        let listener = std::net::TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("listen on {address}: {error}"));
        let shared = state.clone();
        let accepting = Background::accept(listener, move |stream, _| {
            let state = shared.clone();
            async move { forward(stream, &state).await }
        });
        let probing = Background::run(probe(state.clone()));
        Self {
            address,
            state,
            _accepting: accepting,
            _probing: probing,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives connections to this one as well, whenever it is ready.
    pub fn add(&self, backend: Backend) {
        self.state.lock().unwrap().members.push(Member {
            backend,
            ready: false,
            connections: Vec::new(),
        });
    }

    /// Gives it no more connections. Those that it has go on.
    pub fn remove(&self, address: SocketAddr) {
        let mut state = self.state.lock().unwrap();
        state.members.retain(|member| member.backend.address != address);
    }

    /// Breaks off every connection that it has.
    pub fn cut(&self, address: SocketAddr) {
        let mut state = self.state.lock().unwrap();
        let connections = state
            .member(address)
            .map(|member| std::mem::take(&mut member.connections));
        for connection in connections.into_iter().flatten() {
            connection.abort();
        }
    }

    /// Who gets connections at the moment.
    pub fn ready(&self) -> Vec<SocketAddr> {
        let state = self.state.lock().unwrap();
        let ready = state.members.iter().filter(|member| member.ready);
        ready.map(|member| member.backend.address).collect()
    }
}

async fn forward(mut client: TcpStream, state: &Shared) {
    let order = state.lock().unwrap().order();
    for address in order {
        // Who does not accept it has died since the last probe; the next one gets the connection.
        let Ok(Ok(mut backend)) = timeout(PATIENCE, TcpStream::connect(address)).await else {
            continue;
        };
        let _ = backend.set_nodelay(true);
        let copy = tokio::spawn(async move {
            let size = 256 << 10;
            // Ends with an error when one of the sides breaks off, and then so does the other.
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut backend, 8 << 10, size).await;
        });
        if let Some(member) = state.lock().unwrap().member(address) {
            member.connections.retain(|connection| !connection.is_finished());
            member.connections.push(copy.abort_handle());
        }
        return;
    }
}

async fn probe(state: Shared) {
    let mut tick = interval(PROBE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let members: Vec<Backend> = {
            let state = state.lock().unwrap();
            state.members.iter().map(|member| member.backend).collect()
        };
        let mut probes = tokio::task::JoinSet::new();
        for backend in members {
            let ask = async move { timeout(PATIENCE, is_ready(backend.probe)).await };
            probes.spawn(async move { (backend.address, matches!(ask.await, Ok(Ok(true)))) });
        }
        while let Some(Ok((address, ready))) = probes.join_next().await {
            if let Some(member) = state.lock().unwrap().member(address) {
                member.ready = ready;
            }
        }
    }
}

async fn is_ready(probe: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(probe).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {probe}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut beginning = [0; 12];
    stream.read_exact(&mut beginning).await?;
    Ok(&beginning == b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::ports;
    use crate::process::wait;

    /// A backend that says its name on every connection, and that is ready or not.
    fn backend(name: u8, ready: &Arc<AtomicBool>) -> Backend {
        let [service, probe] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let backend = Backend {
            address: service.local_addr().unwrap(),
            probe: probe.local_addr().unwrap(),
        };
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in service.incoming().map_while(Result::ok) {
                stream.write_all(&[name]).unwrap();
                open.push(stream);
            }
        });
        let ready = ready.clone();
        std::thread::spawn(move || {
            for mut stream in probe.incoming().map_while(Result::ok) {
                let status = if ready.load(Ordering::Relaxed) { 200 } else { 503 };
                // Who asks may not wait for the answer.
                let _ = write!(stream, "HTTP/1.1 {status} X\r\n\r\n");
            }
        });
        backend
    }

    /// A connection and who is at its end.
    fn connect(balancer: &Balancer) -> (TcpStream, u8) {
        let mut stream = TcpStream::connect(balancer.address()).unwrap();
        let mut name = [0];
        stream.read_exact(&mut name).unwrap();
        (stream, name[0])
    }

    /// C4: connections go to those in turn that are ready, stay where they are, and end when they are cut.
    #[test]
    fn connections_go_in_turn_to_who_is_ready() {
        let ready = [true, false].map(|ready| Arc::new(AtomicBool::new(ready)));
        let backends = [backend(b'a', &ready[0]), backend(b'b', &ready[1])];
        let balancer = Balancer::start(ports::free());
        for backend in backends {
            balancer.add(backend);
        }
        wait("the first is ready", || balancer.ready() == [backends[0].address]);
        assert_eq!([(); 3].map(|()| connect(&balancer).1), *b"aaa");
        ready[1].store(true, Ordering::Relaxed);
        wait("both are ready", || balancer.ready().len() == 2);
        let mut names = [(); 4].map(|()| connect(&balancer).1);
        names.sort_unstable();
        assert_eq!(names, *b"aabb");

        balancer.remove(backends[1].address);
        let (mut kept, name) = connect(&balancer);
        assert_eq!(name, b'a');
        ready[0].store(false, Ordering::Relaxed);
        wait("nobody is ready", || balancer.ready().is_empty());
        kept.set_read_timeout(Some(PROBE_INTERVAL)).unwrap();
        assert!(kept.read(&mut [0]).is_err(), "the connection goes on");
        balancer.cut(backends[0].address);
        kept.set_read_timeout(None).unwrap();
        assert!(
            !matches!(kept.read(&mut [0]), Ok(1..)),
            "the connection has ended"
        );
    }
}
