//! The HTTP thread: health, readiness, metrics.
//!
//! One thread, [`CONNECTIONS_MAX`](server::CONNECTIONS_MAX) connections, no worker, no allocation that a client could make grow:
//! `mio` tells which socket has something, `httparse` reads the request, everything else is a table. The thread sleeps until a
//! client comes; a tick does not wake it.
//!
//! `tiny_http` 0.12 was measured first and cannot hold this: it takes a thread and two file descriptors for every connection,
//! without bound or time-out. With 1,000 idle connections: 1,001 threads, 2,004 descriptors, 3.0 GB of address space and 14.7 MB
//! resident (2.1 MB before). The first `accept` that fails, as with no descriptor left, ends its listener for good.

mod connection;
mod http;
mod limiter;
mod metrics;
mod pages;
mod server;
pub mod snapshot;

use crate::config::HealthCheck;
use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;
use server::Server;
use snapshot::Snapshot;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The HTTP server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot serve /health on {address}: {source}; {}", advice(.source))]
    Bind {
        /// What `[health_check]` asks for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no thread to be had.
    #[error("cannot start the thread of /health: {0}")]
    Thread(#[source] io::Error),
}

/// What the reader of a [`StartError::Bind`] can do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the program that has the port or set another one: [health_check] port or HEALTH_CHECK_PORT (0 takes a free one)"
        }
        io::ErrorKind::AddrNotAvailable => "set [health_check] bind to an address of this machine",
        io::ErrorKind::PermissionDenied => "set [health_check] port to 1024 or above, or 0 for a free one",
        _ => "see [health_check] bind and port",
    }
}

/// A snapshot and when the main loop published it.
#[derive(Debug)]
struct Published {
    at: Instant,
    snapshot: Snapshot,
}

/// The running server. Dropping it closes every connection and ends the thread.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    requests_per_second: Arc<AtomicU32>,
    latest: Sender<Published>,
    unread: Receiver<Published>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Starts the server; `first` is what it shows until something is published.
///
/// # Errors
/// [`StartError`]: the address cannot be listened on, or there is no thread to be had.
pub fn start(config: &HealthCheck, now: Instant, first: Snapshot) -> Result<Handle, StartError> {
    let address = SocketAddr::new(config.bind, config.port);
    let (latest, unread) = bounded(1);
    let first = Published { at: now, snapshot: first };
    let requests_per_second = Arc::new(AtomicU32::new(config.requests_per_second));
    let (server, waker, addr) = Server::bind(address, Arc::clone(&requests_per_second), first, unread.clone())
        .map_err(|source| StartError::Bind { address, source })?;
    let thread = thread::Builder::new().name("health".to_owned()).spawn(move || server.run()).map_err(StartError::Thread)?;
    Ok(Handle { addr, requests_per_second, latest, unread, waker, thread: Some(thread) })
}

impl Handle {
    /// Where it listens: the port the operating system chose, if the configuration says 0.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes how often a client may ask, from its next request on. Returns whether that is a change.
    pub fn set_requests_per_second(&self, requests: u32) -> bool {
        self.requests_per_second.swap(requests, Ordering::Relaxed) != requests
    }

    /// Shows `snapshot` from now on, and that the main loop is alive at `now`. Never waits, wakes nobody: the channel holds the
    /// latest one only, and the thread looks into it when a request comes.
    pub fn publish(&self, now: Instant, snapshot: Snapshot) {
        // With the unread one out of the way and no other sender there is room. The thread taking it first is as well.
        let _ = self.unread.try_recv();
        let _ = self.latest.try_send(Published { at: now, snapshot });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A thread that was not woken would never end: then it is left to the end of the process.
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}
