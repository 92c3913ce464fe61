//! The sockets under a cluster's connections.

use super::cluster::Cluster;
use super::connection::Connection;
use super::error::Failure;
use super::link::Target;
use super::resolver::Resolver;
use super::settings::{Endpoint, Settings};
use super::tls::{self, TlsStream};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ClientConfig;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAKER: Token = Token(usize::MAX);
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;
/// Reads and writes of a socket in one poll: bounds its length, whatever the broker sends.
const TURNS: usize = 16;

/// Owns the sockets. Nothing of it waits but [`Self::wait`].
#[derive(Debug)]
pub struct Driver {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    resolver: Resolver,
    tls: Option<Arc<ClientConfig>>,
    sockets: Vec<Option<Socket>>,
    chunk: Box<[u8]>,
    attempts: usize,
}

#[derive(Debug)]
struct Socket {
    target: Target,
    generation: u64,
    endpoint: Endpoint,
    stage: Stage,
    readable: bool,
    writable: bool,
}

#[derive(Debug)]
enum Stage {
    Resolving,
    Connecting(TcpStream),
    Connected(TcpStream, Option<TlsStream>),
}

impl Driver {
    /// Reads the TLS files, if there are any.
    ///
    /// # Errors
    /// A TLS file that is of no use, or an operating system that has no more sockets.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let tls = settings.security.tls.as_ref().map(tls::configuration);
        let waker = Waker::new(poll.registry(), WAKER).map_err(|error| error.to_string())?;
        Ok(Self {
            poll,
            events: Events::with_capacity(64),
            waker: Arc::new(waker),
            resolver: Resolver::default(),
            tls: tls.transpose().map_err(|error| error.to_string())?,
            sockets: Vec::new(),
            chunk: vec![0; CHUNK].into(),
            attempts: 0,
        })
    }

    /// Opens, connects, reads, and lets the cluster see what came. Never waits; work is bounded by the sockets.
    pub fn poll(&mut self, cluster: &mut Cluster, now: Instant) {
        self.listen(Some(Duration::ZERO));
        self.drop_stale(cluster);
        while let Some((target, endpoint, generation)) = cluster.to_open(now) {
            let stage = Stage::Resolving;
            self.open(Socket { target, generation, endpoint, stage, readable: false, writable: false }, cluster, now);
        }
        while let Some((endpoint, addresses)) = self.resolver.next_resolved() {
            self.resolved(&endpoint, &addresses, cluster, now);
        }
        self.each(cluster, now, |driver, socket, cluster| {
            driver.connect(socket, cluster, now)?;
            driver.read(socket, cluster, now)
        });
        cluster.poll(now);
    }

    /// Writes what is to be sent, as far as the sockets take it.
    pub fn flush(&mut self, cluster: &mut Cluster, now: Instant) {
        self.each(cluster, now, |_, socket, cluster| write(socket, cluster));
    }

    /// Waits until a socket or a name look-up has something, or `until`.
    pub fn wait(&mut self, now: Instant, until: Instant) {
        let more =
            self.sockets.iter().flatten().any(|socket| socket.readable && matches!(socket.stage, Stage::Connected(..)));
        let timeout = if more { Duration::ZERO } else { until.saturating_duration_since(now) };
        self.listen(Some(timeout));
    }

    fn listen(&mut self, timeout: Option<Duration>) {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => log::error!("poll: {error}"),
            _ => {}
        }
        for event in &self.events {
            if let Some(Some(socket)) = self.sockets.get_mut(event.token().0) {
                socket.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                socket.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            }
        }
    }

    fn each(
        &mut self,
        cluster: &mut Cluster,
        now: Instant,
        mut work: impl FnMut(&mut Self, &mut Socket, &mut Cluster) -> Result<(), Failure>,
    ) {
        for index in 0..self.sockets.len() {
            let Some(mut socket) = self.sockets[index].take() else { continue };
            match work(self, &mut socket, cluster) {
                Ok(()) => self.sockets[index] = Some(socket),
                Err(failure) => {
                    if cluster.is_current(socket.target, socket.generation) {
                        cluster.fail(socket.target, &failure, now);
                    }
                    self.discard(socket);
                }
            }
        }
    }

    /// Drops the sockets that the cluster has given up.
    fn drop_stale(&mut self, cluster: &Cluster) {
        for index in 0..self.sockets.len() {
            if let Some(socket) = self.sockets[index].take_if(|socket| !cluster.is_current(socket.target, socket.generation))
            {
                self.discard(socket);
            }
        }
    }

    fn discard(&self, socket: Socket) {
        match socket.stage {
            Stage::Connected(mut stream, tls) => {
                if let Some(mut tls) = tls {
                    tls.close(&mut stream);
                }
                // Fails only for a socket that is not registered, which is as well.
                let _ = self.poll.registry().deregister(&mut stream);
            }
            Stage::Connecting(mut stream) => {
                let _ = self.poll.registry().deregister(&mut stream);
            }
            Stage::Resolving => {}
        }
    }

    fn open(&mut self, socket: Socket, cluster: &mut Cluster, now: Instant) {
        let index = self.sockets.iter().position(Option::is_none).unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        let endpoint = socket.endpoint.clone();
        let target = socket.target;
        self.sockets[index] = Some(socket);
        let asked = match Resolver::literal(&endpoint) {
            Some(address) => self.start(index, &[address]),
            None => {
                let waker = self.waker.clone();
                let wake = move || waker.wake().unwrap_or_else(|error| log::error!("waker: {error}"));
                let unresolved = |reason| Failure::Resolve { host: endpoint.host.clone(), reason };
                self.resolver.ask(&endpoint, wake).map_err(unresolved)
            }
        };
        if let Err(failure) = asked {
            cluster.fail(target, &failure, now);
        }
    }

    fn resolved(
        &mut self,
        endpoint: &Endpoint,
        addresses: &Result<Vec<SocketAddr>, String>,
        cluster: &mut Cluster,
        now: Instant,
    ) {
        for index in 0..self.sockets.len() {
            let waits = |socket: &Socket| socket.endpoint == *endpoint && matches!(socket.stage, Stage::Resolving);
            let Some(target) = self.sockets[index].as_ref().filter(|socket| waits(socket)).map(|socket| socket.target)
            else {
                continue;
            };
            let unresolved = |reason| Failure::Resolve { host: endpoint.host.clone(), reason };
            let started = addresses.clone().map_err(unresolved).and_then(|addresses| self.start(index, &addresses));
            if let Err(failure) = started {
                cluster.fail(target, &failure, now);
            }
        }
    }

    /// Begins to connect. Each attempt takes the next address, so that one which is dead is passed over.
    fn start(&mut self, index: usize, addresses: &[SocketAddr]) -> Result<(), Failure> {
        let Some(Some(socket)) = self.sockets.get_mut(index) else { return Ok(()) };
        let none = || Failure::Resolve { host: socket.endpoint.host.clone(), reason: "no addresses".into() };
        let address = addresses.get(self.attempts % addresses.len().max(1)).ok_or_else(none)?;
        self.attempts = self.attempts.wrapping_add(1);
        let mut stream = TcpStream::connect(*address)?;
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        socket.stage = Stage::Connecting(stream);
        Ok(())
    }

    fn connect(&self, socket: &mut Socket, cluster: &mut Cluster, now: Instant) -> Result<(), Failure> {
        let Stage::Connecting(stream) = &socket.stage else { return Ok(()) };
        if !socket.writable {
            return Ok(());
        }
        if let Some(error) = stream.take_error()? {
            return Err(error.into());
        }
        match stream.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        stream.set_nodelay(true)?;
        let tls = self.tls.as_ref().map(|config| TlsStream::new(config, &socket.endpoint.host)).transpose()?;
        if let Stage::Connecting(stream) = std::mem::replace(&mut socket.stage, Stage::Resolving) {
            socket.stage = Stage::Connected(stream, tls);
        }
        cluster.connected(socket.target, now);
        Ok(())
    }

    fn read(&mut self, socket: &mut Socket, cluster: &mut Cluster, now: Instant) -> Result<(), Failure> {
        let Stage::Connected(stream, tls) = &mut socket.stage else { return Ok(()) };
        let Some(connection) = cluster.connection_mut(socket.target) else { return Ok(()) };
        for _ in 0..TURNS {
            if !socket.readable {
                return Ok(());
            }
            let read = match tls {
                Some(tls) => tls.read(stream, &mut self.chunk, connection, now),
                None => {
                    stream.read(&mut self.chunk).map(|read| connection.received(&self.chunk[..read], now).map(|()| read))
                }
            };
            match read {
                Ok(Ok(0)) => return Err(Failure::Closed { in_handshake: !connection.has_answered() }),
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => return Err(failure),
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn write(socket: &mut Socket, cluster: &mut Cluster) -> Result<(), Failure> {
    let Stage::Connected(stream, tls) = &mut socket.stage else { return Ok(()) };
    let Some(connection) = cluster.connection_mut(socket.target) else { return Ok(()) };
    for _ in 0..TURNS {
        if !socket.writable {
            return Ok(());
        }
        let written = match tls {
            Some(tls) => tls.write(stream, connection),
            None => write_plain(stream, connection),
        };
        match written {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn write_plain(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = connection.outgoing(&mut slices);
    if filled == 0 {
        return Ok(0);
    }
    let written = stream.write_vectored(&slices[..filled])?;
    connection.sent(written);
    Ok(written)
}
