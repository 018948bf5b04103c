//! Work that goes on beside a test, whatever kind of test that is.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A thread that runs asynchronous work. Dropping it breaks off all of it.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Serves every connection to `listener` with a task of its own.
    pub(crate) fn accept<Task>(
        listener: StdListener,
        mut serve: impl FnMut(TcpStream, SocketAddr) -> Task + Send + 'static,
    ) -> Self
    where
        Task: Future<Output = ()> + Send + 'static,
    {
        Self::run(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                // An error is that of one connection that has gone already.
                let Ok((stream, peer)) = listener.accept().await else {
                    continue;
                };
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, peer));
            }
        })
    }

    /// Runs one task and all that it spawns.
    pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself, and its panic has been printed.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
