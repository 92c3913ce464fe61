//! The broker behind a socket, on a thread of its own.

use super::{Broker, Session};
use mokasim::clock;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A broker that listens until it is dropped.
pub(crate) struct Served {
    /// Its state, to be looked at.
    pub(crate) broker: Arc<Mutex<Broker>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Connection {
    stream: TcpStream,
    session: Session,
    outbound: VecDeque<(Instant, Vec<u8>, bool)>,
}

impl Served {
    /// Listens on a free port of the loopback.
    pub(crate) fn start(mut broker: Broker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        broker.address.1 = listener.local_addr().unwrap().port();
        let (broker, stop) = (Arc::new(Mutex::new(broker)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (broker, stop) = (broker.clone(), stop.clone());
            move || {
                let mut connections = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true).unwrap();
                        connections.push(Connection { stream, session: Session::default(), outbound: VecDeque::new() });
                    }
                    connections.retain_mut(|connection| connection.serve(&mut broker.lock().unwrap()));
                    clock::sleep(Duration::from_millis(1));
                }
            }
        });
        Self { broker, stop, thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it panicked about has been printed; the test fails by what it missed.
            let _ = thread.join();
        }
    }
}

impl Connection {
    /// Reads, answers, writes; false when the connection is over.
    fn serve(&mut self, broker: &mut Broker) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => {
                    let now = clock::now();
                    for reply in broker.receive(&mut self.session, &chunk[..read]) {
                        let last = self.outbound.back().map_or(now, |(at, ..)| *at);
                        self.outbound.push_back((last.max(now + reply.after), reply.bytes, reply.close));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while self.outbound.front().is_some_and(|(at, ..)| *at <= clock::now()) {
            let Some((_, bytes, close)) = self.outbound.pop_front() else { break };
            // Answers are small: the socket takes them whole.
            if self.stream.write_all(&bytes).is_err() || close {
                return false;
            }
        }
        true
    }
}
